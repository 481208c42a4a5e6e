"""The domain of docs/own_domain.md is written beside the others in a copy of the repository; every command there is run on it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import bash_commands

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "own_domain.md"
# What makes a command shorter here; of a flag given twice the last counts.
LESS = {
    "generate_data.py": ["--count", "24", "--workers", "1"],
    "train_sft.py": ["--max_steps", "2", "--hidden_size", "32", "--layers", "1", "--heads", "2", "--intermediate_size", "32"],
    "train_grpo_unsloth_stl_v2.py": ["--max_steps", "1", "--batch_size", "2", "--num_generations", "2", "--eval_samples", "2"],
}


@pytest.fixture(scope="module")
def repository_with_the_domain(tmp_path_factory):
    copy = tmp_path_factory.mktemp("repository")
    for folder in ("grpo_project", "script", "tests/contract"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "tests/conftest.py", "tests/shipped_domains.py"):
        shutil.copy(ROOT / file, copy / file)
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (copy / "grpo_project" / "domains" / "lamplighter.py").write_text(source, encoding="utf-8")
    return copy


@pytest.mark.slow
def test_every_command_of_the_page_works_with_the_new_file_alone(repository_with_the_domain):
    found = bash_commands(PAGE)
    assert len(found) >= 8 and {Path(words[1]).name for words in found} >= set(LESS)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = {}
    for words in found:
        assert words[0] == "python", words
        more = LESS.get(Path(words[1]).name, ["-p", "no:cacheprovider"] if "pytest" in words else [])
        done = subprocess.run(
            [sys.executable, *words[1:], *more],
            cwd=repository_with_the_domain,
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
        )
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
        said[Path(words[1]).name if words[1] != "-m" else "pytest"] = done.stdout
    assert re.search(r"\b1\d passed", said["pytest"]), said["pytest"]
    assert re.search(r"lamplighter.*24/24", said["evaluate.py"]), said["evaluate.py"]
    assert "Domain: lamplighter" in said["test_difficulty_parsing.py"]


def test_the_files_source_keeps_the_repositorys_form(repository_with_the_domain):
    file = repository_with_the_domain / "grpo_project" / "domains" / "lamplighter.py"
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *words, str(file)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
