"""Pages and code use the terms of reinforcement learning and planning (docs/glossary.md), not words of our own for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# word (a regular expression for one whole word or several; `_` separates words too): what to use instead.
WORDS = {
    r"lessons?": "SFT example or demonstration",
    r"judg(?:e|es|ed|ing|e?ment)": "verify and verifier for plans, evaluate for models, decide or check for the rest",
    r"seams?": "integration, or boundary",
    r"chunk(?:s|ed|ing)?": "generation batch (completions made together), micro-batch, or part",
    r"spreads?": "reward std, variance, or jitter",
    r"growth": "depth up-scaling of a model, or increase",
    r"speaks?|spoke": "rank 0 prints; a text names or refers to",
    r"places\.py": "paths.py",
    r"doors?": "entry point, or module",
    r"mend(?:s|ed|ing)?": "repair or fix",
    r"odds": "probabilities or weights",
    r"idle groups?": "groups without reward variance",
    r"reinforced": "trained by GRPO",
    r"unwell": "has an alarm",
    r"shout(?:s|ed|ing)?": "say what is large, and compared with what",
    r"whom": "name who it is",
    r"errands?": "task",
    r"laid open|lay open": "shown",
}

# Where such a word is right: other people's names, and senses of its own.
ALLOWED = (
    r"autotune_batch_and_chunks",  # a function of unsloth_zoo
    r"chunked_nll",  # a loss of TRL's SFTTrainer
    r"log-odds",
    r"\bspreads? (?:evenly|over|across)\b",  # the verb
)


def files() -> Iterator[Path]:
    for pattern in ("*.md", "docs/*.md", "data/models/*/README.md", *(f"{top}/**/*.py" for top in TOPS)):
        yield from sorted(ROOT.glob(pattern))


TOPS = ("grpo_project", "script", "tests", "environments")
PATTERN = re.compile("|".join(rf"(?<![a-z])(?P<w{number}>{word})(?![a-z])" for number, word in enumerate(WORDS)))
SUGGESTIONS = list(WORDS.values())


def found_in(text: str) -> Iterator[tuple[int, str, str]]:
    """(line from 1, word, what to use instead) of every word of WORDS outside ALLOWED."""
    for number, line in enumerate(text.lower().splitlines(), 1):
        for match in PATTERN.finditer(re.sub("|".join(ALLOWED), "", line)):
            assert match.lastgroup is not None
            yield number, match.group(), SUGGESTIONS[int(match.lastgroup[1:])]


def test_pages_and_code_use_the_fields_words() -> None:
    checked, wrong = 0, []
    for file in files():
        path = file.relative_to(ROOT).as_posix()
        if file == Path(__file__):
            continue
        checked += 1
        for line, word, instead in found_in(f"{file.stem}\n" + file.read_text(encoding="utf-8")):
            wrong.append(f"{path}:{max(line - 1, 1)}: {word!r}: use {instead}")
    assert checked > 100
    assert not wrong, "words that the field does not use here:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def make_judge(validator):  # Judges a plan", ["judge", "judges"]),
        ("The lessons\nof class LessonFile, lesson_2", ["lessons", "lesson"]),
        ("spread evenly over the run", []),
        ("the spread of rewards", ["spread"]),
        ("autotune_batch_and_chunks in chunks", ["chunks"]),
        ("Dr. Mendel amends the adjudged doorway", []),
    ],
)
def test_words_are_found_in_names_too_and_not_inside_others(text: str, words: list[str]) -> None:
    assert [word for _, word, _ in found_in(text)] == words


def test_every_word_has_a_suggestion_that_passes_itself() -> None:
    assert [suggestion for suggestion in SUGGESTIONS if list(found_in(suggestion))] == []
