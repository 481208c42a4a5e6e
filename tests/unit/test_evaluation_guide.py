"""The commands of docs/evaluation.md run, in their order, on less."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.pages import bash_commands

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "evaluation.md"
LARGE_MODEL = "unsloth/"  # a command that names one is only parsed


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"guide_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reply(number: int, body: dict[str, Any], headers: Any) -> Any:
    return 200, {}, {"choices": [{"message": {"content": "(sail l0 l1)\n"}, "finish_reason": "stop"}]}


@pytest.mark.slow
def test_every_command_of_the_evaluation_guide_works(
    stand_in: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    found = bash_commands(GUIDE)
    assert len(found) >= 12
    ran = set()
    for python, script, *words in found:
        assert python == "python"
        module = load(ROOT / script)
        if any(word.startswith(LARGE_MODEL) for word in words):
            module.check(module.build_parser().parse_args(words))
            continue
        words = [stand_in(reply).url if word.startswith("https://api.example.com") else word for word in words]
        if "--requests_per_minute" in words:
            words[words.index("--requests_per_minute") + 1] = "0"
        if script.endswith("evaluate.py") and "--compare" not in words:
            words += ["--samples", "2"]
        if script.endswith("generate_data.py"):
            words += ["--count", "3", "--workers", "1"]
        assert module.main(words) == 0, (words, capsys.readouterr().err)
        ran |= {script, *(word for word in words if word.startswith("--"))}
    assert {"script/obfuscate_data.py", "--compare", "--base_url", "--num_samples", "--prompt_format", "--planner"} <= ran
