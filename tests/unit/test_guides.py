"""Every command in README.md and the guide is run, or, where it would train for long, parsed to the last flag."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from grpo_project import __version__
from tests.pages import bash_commands

ROOT = Path(__file__).resolve().parents[2]
GUIDES = (
    "README.md",
    "GRPO_V2_README.md",
    "CONTRIBUTING.md",
    "docs/faq.md",
    "docs/migration.md",
    "docs/train_on_gpu.md",
    "docs/verifier.md",
)


# (guide, words)
COMMANDS = [(guide, words) for guide in GUIDES for words in bash_commands(ROOT / guide)]


def load(script):
    spec = importlib.util.spec_from_file_location(f"guide_{script.stem}", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_citation_names_this_version_and_license():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"\nversion: {__version__}\n" in citation
    assert f"\nlicense: {project['license']}\n" in citation
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]


def test_the_translation_has_the_same_sections_commands_and_figures():
    original, translation = (
        (ROOT / name).read_text(encoding="utf-8").split("\n## 9. ")[0]
        for name in ("GRPO_V2_README.md", "GRPO_V2_README.zh-CN.md")
    )
    blocks = re.compile(r"```\w+\n.*?```", re.DOTALL)
    assert len(blocks.findall(original)) >= 8
    assert blocks.findall(translation) == blocks.findall(original)
    sections = re.compile(r"^## (\d)\. ", re.MULTILINE)
    assert sections.findall(translation) == sections.findall(original) == list("12345678")
    # Every name in code marks, in the table of promises too, stands in both as often; only `number of domains` is a phrase.
    names = re.compile(r"`([^`\n]+)`")
    expected = [name.replace("number of domains", "domain 数") for name in names.findall(blocks.sub("", original))]
    assert sorted(names.findall(blocks.sub("", translation))) == sorted(expected)


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_link_within_the_repository_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name} links to {target}"


def test_the_index_lists_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


def test_the_guides_hold_commands():
    for guide in GUIDES:
        assert len([words for name, words in COMMANDS if name == guide]) >= 3, guide
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("words", [words for _, words in COMMANDS], ids=[" ".join(words)[:60] for _, words in COMMANDS])
def test_every_command_works(words, tmp_path):
    if words[0] == "make":
        shown = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert shown.returncode == 0 and shown.stdout, shown.stderr
        return
    assert words[0] == "python", words
    script = ROOT / words[1]
    assert script.is_file(), script
    arguments = words[2:]
    if "--help" not in arguments:
        if script.name.startswith("train_grpo"):
            given = load(script).parse_flags(arguments)  # refuses an unknown flag and text that is no number
            assert given.get("data_root", "data/four_domain") == "data/four_domain"
            return
        if script.name == "train_sft.py":
            load(script).build_parser().parse_args(arguments)
            return
        # The rest really runs, on less.
        if script.name == "generate_data.py":
            arguments = [*arguments, "--count", "3", "--workers", "1", "--out", str(tmp_path / "out")]
        if script.name == "evaluate.py":
            arguments = [*arguments, "--samples", "2"]
    done = subprocess.run([sys.executable, str(script), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout
