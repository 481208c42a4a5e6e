"""Every command on every page is one that its script accepts, and every flag that a page names exists. Nothing is run here."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpo_project.configs.setting import OnResume, nature_of
from grpo_project.configs.settings import flag_of, settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path
    for pattern in ("*.md", "docs/*.md", "data/models/*/README.md")
    for path in ROOT.glob(pattern)
}
SCRIPTS = sorted((ROOT / "script").glob("*.py"))
# The batch file hands its arguments on to the training.
STANDS_FOR = {"configs/slurm/train.sbatch": "script/train_grpo_unsloth_stl_v2.py"}
# page: the fewest commands with a script, and the fewest flags, that it is known to hold.
HOLDS = {
    "docs/curriculum.md": (0, 10),
    "docs/gpu.md": (2, 1),
    "docs/losses.md": (1, 18),
    "docs/report.md": (4, 3),
    "docs/resume.md": (2, 10),
    "docs/scaling.md": (5, 12),
    "docs/integrations.md": (0, 20),
}
OF_OTHER_PROGRAMS = {
    "torchrun, accelerate and sbatch": {"--cpu", "--nodes", "--nproc-per-node", "--num_processes", "--standalone"},
    "vllm serve": {"--logprobs-mode", "--max-logprobs", "--weight-transfer-config"},
    "vf-validate and vf-eval": {"--client", "--env", "--no-push", "--only-gold", "--resume", "--runtime", "--sampling"},
    "lm_eval": {"--apply_chat_template", "--gen_kwargs", "--include_path", "--limit", "--metadata", "--model_args", "--tasks"},
    "inspect": {"--display", "--max-tokens"},
    "transformers serve": {"--device", "--dtype"},
    "pddl_planning.openenv_server": {"--port"},
    "the scripts that migration.md comes from": {"--dataset"},
}


SUFFIXES = "py|sh|ipynb|yaml|sbatch"
# Examples that stand for files of the reader's.
WRITTEN_BY_THE_READER = {
    "grpo_project/domains/lamplighter.py",
    "path/to/file.py",
}


class Captured(Exception):
    """Carries the parser that a script was about to use."""


@pytest.fixture(scope="module")
def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each script, taken at the moment when its main uses it."""

    def capture(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Captured(parser)

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for path in SCRIPTS:
            spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
            assert spec and spec.loader
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, spec.name, module)  # where dataclasses look for it
            spec.loader.exec_module(module)
            with patch.context() as inner, pytest.raises(Captured) as raised:
                inner.setattr(argparse.ArgumentParser, "parse_args", capture)
                module.main([])
            found[f"script/{path.name}"] = raised.value.args[0]
    return found


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """(script, arguments) of every line in a bash block that calls one, with its variables put in and `...` left out."""
    for block in re.findall(r"```bash\n(.*?)```", PAGES[page].read_text(encoding="utf-8"), re.DOTALL):
        variables: dict[str, str] = {}
        for line in block.replace("\\\n", " ").splitlines():
            if assignment := re.fullmatch(r'(\w+)="(.*)"', line.strip()):
                variables[assignment[1]] = assignment[2]
                continue
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            words = [STANDS_FOR.get(word, word) for word in shlex.split(line, comments=True) if word != "..."]
            place = next((i for i, word in enumerate(words) if re.fullmatch(r"script/\w+\.py", word)), None)
            if place is not None:
                yield words[place], words[place + 1 :]


def flags(page: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-zA-Z]\w*(?:-\w+)*(?![\w-])", PAGES[page].read_text(encoding="utf-8")))


def test_the_pages_hold_what_is_checked_here(parsers: dict[str, argparse.ArgumentParser]) -> None:
    assert len(parsers) == len(SCRIPTS) >= 12
    for page, (fewest_commands, fewest_flags) in HOLDS.items():
        assert len(list(commands(page))) >= fewest_commands, page
        assert len(flags(page)) >= fewest_flags, page
    assert sum(len(list(commands(page))) for page in PAGES) >= 40


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_script_accepts_the_commands_of_a_page(
    page: str, parsers: dict[str, argparse.ArgumentParser], capsys: pytest.CaptureFixture[str]
) -> None:
    for script, arguments in commands(page):
        assert script in parsers, f"{page} calls {script}, which does not exist"
        try:
            parsers[script].parse_args(arguments)
        except SystemExit as error:  # --help ends with 0
            assert error.code == 0, f"{page}: {script} {shlex.join(arguments)}: {capsys.readouterr().err}"


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_flag_that_a_page_names_exists(page: str, parsers: dict[str, argparse.ArgumentParser]) -> None:
    known = {option for parser in parsers.values() for option in parser._option_string_actions}
    known |= {
        flag for path in (ROOT / "script").glob("*.sh") for flag in re.findall(r"--[\w-]+", path.read_text(encoding="utf-8"))
    }
    assert flags(page) - known - set().union(*OF_OTHER_PROGRAMS.values()) == set()


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_file_and_module_that_a_page_names_exists(page: str) -> None:
    text = PAGES[page].read_text(encoding="utf-8")
    for name in re.findall(rf"(?<![\w/.-])((?:configs/|(?:[\w-]+/)+[\w-]+\.(?:{SUFFIXES})\b)[\w/.-]*)", text):
        name = name.rstrip(".")
        at = (ROOT / name, ROOT / "grpo_project" / name, PAGES[page].parent / name)
        assert name in WRITTEN_BY_THE_READER or any(path.exists() for path in at), f"{page} names {name}"
    for dotted in re.findall(r"\bgrpo_project(?:\.\w+)+", text):
        path = ROOT / dotted.replace(".", "/")
        inside = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
        module = path.is_dir() or path.with_suffix(".py").is_file()
        assert module or path.name in inside.read_text(encoding="utf-8"), f"{page} names {dotted}"


def test_the_page_on_resuming_lists_what_a_continued_run_may_change() -> None:
    page = PAGES["docs/resume.md"].read_text(encoding="utf-8")
    for name, nature in (("free", OnResume.FREE), ("per launch", OnResume.PER_LAUNCH)):
        (row,) = re.findall(rf"^\| {name} \| (.*?) \|", page, re.MULTILINE)
        expected = [flag_of(spec.name) for spec in settings() if nature_of(spec).on_resume is nature]
        assert sorted(re.findall(r"`(--\w+)`", row)) == sorted(expected)
    (row,) = re.findall(r"^\| fixed \| (.*?) \|", page, re.MULTILINE)
    fixed = {flag_of(spec.name) for spec in settings() if nature_of(spec).on_resume is OnResume.FIXED}
    assert set(re.findall(r"`(--\w+)`", row)) <= fixed
