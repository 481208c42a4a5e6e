"""In which words a model is asked about a row: those that it was taught, where a problem brings others; and back in its plans."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from grpo_project.data import known_domains, known_names, neutral_symbols
from grpo_project.data.rows import Row, RowTable
from grpo_project.prompting import COMPACT, SCHEMAS


@dataclass(frozen=True)
class Words:
    """What stands in plans: own word to asked word, of actions and of objects, which may share a name."""

    actions: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)

    def asked(self, plan: str) -> str:
        """A plan in the words in which a model is asked."""
        return _exchanged(plan, self.actions, self.objects)

    def own(self, answer: str) -> str:
        """An answer in the problem's own words again. What it says that nobody asked about stays what it is, unless it is an own
        word by chance: that gets a mark, so that a name which the model made up is none of the problem's."""
        return _exchanged(answer, *map(_back, (self.actions, self.objects)))

    def __bool__(self) -> bool:
        return bool(self.actions or self.objects)


def in_asked_words(row: Row, style: str, match_domains: bool = False) -> tuple[Row, Words]:
    """The row, reference plan included, as a model of this prompt style is asked about it, and which words were exchanged.

    compact: objects that the vocabulary does not know get names that it has; match_domains: and a known domain under other names
    is told in the known ones. schemas: everything under neutral symbols, unless it is already. The row itself, and no words, for
    the other styles. Raises DataError for a problem with more names than there are symbols, and ConfigError for a domain that the
    style schemas cannot say.
    """
    words = Words()
    if style == SCHEMAS and row.meta.get("prompt_style") != style:
        row, names = neutral_symbols.in_neutral_symbols(row)
        words = Words(names.actions, names.objects)
    elif style == COMPACT:
        row, actions = known_domains.in_known_domain(row) if match_domains else (row, {})
        row, objects = known_names.in_known_names(row)
        words = Words(actions, objects)
    if words and row.response is not None:
        row = replace(row, response=words.asked(row.response))
    return row, words


class AskedTable(RowTable):
    """`own` in the words of `words`, row by row and at the same indices: what a model is asked. Its verdicts are those on `own`,
    with answers brought back, and its domains are those of `own`, also where several are told as one."""

    def __init__(self, own: RowTable, rows: Sequence[Row], words: Sequence[Words]) -> None:
        super().__init__(own.origin, list(dict.fromkeys(row.scenario for row in rows)), rows, own.bad_rows, own.fingerprint)
        self.own, self.words = own, tuple(words)
        self.domains, self._indices = own.domains, own._indices

    def own_answer(self, index: int, answer: str) -> str:
        """An answer to row `index` in that row's own words."""
        return self.words[index].own(answer)


def table_in_asked_words(table: RowTable, style: str, match_domains: bool = False) -> AskedTable:
    """The table with every row as `in_asked_words` has it. Raises what it does."""
    asked = [in_asked_words(row, style, match_domains) for row in table.rows]
    return AskedTable(table, [row for row, _ in asked], [words for _, words in asked])


def _back(words: Mapping[str, str]) -> dict[str, str]:
    asked_words = set(words.values())
    made_up = {own: f"unknown-{own}" for own in words if own not in asked_words}
    return made_up | {asked: own for own, asked in words.items()}


def _exchanged(text: str, actions: Mapping[str, str], objects: Mapping[str, str]) -> str:
    """A word behind a bracket is an action; one without may be either, an object first; one in a mark such as <think> is none."""

    def other(found: re.Match[str]) -> str:
        bracket, word = found[1] or "", found[2]
        if word is None:
            return found[0]
        either = (actions, objects) if bracket else (objects, actions)
        return bracket + next((words[word.lower()] for words in either if word.lower() in words), word)

    return re.sub(r"</?\w+>|(\(\s*)?([\w-]+)", other, text)
