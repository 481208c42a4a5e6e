"""script/evaluate.py --plan_reading: both rates of a model that writes a sentence before its plan."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data.rows import read_rows

SCRIPT = Path(__file__).resolve().parents[3] / "script" / "evaluate.py"


@pytest.fixture(scope="module")
def main() -> Any:
    spec = importlib.util.spec_from_file_location("evaluate_script", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_both_rates_are_reported_and_the_one_asked_for_counts(
    main: Any, stand_in: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = {row.prompt: row.response for row in read_rows("data/test", ["ferry"]).rows}

    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        text = f"Here is the plan:\n{plans[body['messages'][0]['content']]}\nDone."
        usage = {"prompt_tokens": 100, "completion_tokens": 20}
        return 200, {}, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}

    server = stand_in(behave)
    command = ["--base_url", server.url, "--model", "m", "--domains", "ferry", "--samples", "2", "--repair_turns", "1"]
    asked = {}
    for reading in ("strict", "lenient"):
        output = tmp_path / f"{reading}.json"
        before = len(server.requests)
        assert main([*command, "--output", str(output), "--plan_reading", reading]) == 0
        asked[reading] = len(server.requests) - before
        shown = capsys.readouterr().out
        assert "strict 0/2 0.0%" in shown and "lenient 2/2 100.0%" in shown and f"the tables are {reading}" in shown
        assert "To read 2 answers leniently, this was dropped: text around the plan (2)" in shown
        result = json.loads(output.read_text(encoding="utf-8"))
        assert result["successes_by_reading"] == {"strict": 0, "lenient": 2} and result["dropped"] == {"answers": 2, "text": 2}
        assert result["domains"]["ferry"]["successes"] == {"strict": 0, "lenient": 2}[reading]
        assert result["settings"].get("plan_reading") == {"strict": None, "lenient": "lenient"}[reading]
    assert asked == {"strict": 4, "lenient": 2}  # a plan that is read is not sent back
    assert main(["--compare", str(tmp_path / "strict.json"), str(tmp_path / "lenient.json")]) == 0
    assert "read in two ways, strict and lenient" in capsys.readouterr().err
