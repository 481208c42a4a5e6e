"""script/evaluate.py from command line to result file: the same numbers again, and on from where it was killed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "script" / "evaluate.py"
KEY = "sk-secret-52c81"


@pytest.fixture(scope="module")
def main() -> Any:
    spec = importlib.util.spec_from_file_location("evaluate_script", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def numbers(path: Path) -> dict[str, Any]:
    """A result without what time it took and where it was made."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            timed = ("seconds", "seconds_per_problem", "environment")
            return {key: strip(part) for key, part in value.items() if key not in timed}
        return [strip(part) for part in value] if isinstance(value, list) else value

    return strip(json.loads(path.read_text(encoding="utf-8")))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def local(main: Any, tiny_planner: Path, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Arguments of a small evaluation of a random planner, and its result."""
    arguments = ["--model", str(tiny_planner), "--data_root", str(data_root), "--samples", "3", "--max_completion_length", "24"]
    # The shape of a batch changes the last bits of logits; a draw that falls in between comes out differently (one of seed 5).
    arguments += ["--num_samples", "3", "--k", "1", "3", "--seed", "6"]
    output = tmp_path_factory.mktemp("evaluation") / "once.json"
    assert main([*arguments, "--output", str(output)]) == 0
    return {"arguments": arguments, "output": output}


@pytest.mark.slow
def test_the_same_command_gives_the_same_numbers_whatever_the_batches(main: Any, local: Any, tmp_path: Path) -> None:
    first = numbers(local["output"])
    assert len(first["problems"]) == 12 and all(len(problem["samples"]) == 3 for problem in first["problems"])
    assert len({sample["completion"] for problem in first["problems"] for sample in problem["samples"]}) > 6
    assert first["settings"]["data_fingerprint"] and first["settings"]["model_fingerprint"]
    for batch_size in ("64", "1", "7"):
        assert main([*local["arguments"], "--batch_size", batch_size, "--output", str(tmp_path / "again.json")]) == 0
        assert numbers(tmp_path / "again.json") == first


def test_another_seed_gives_other_samples_and_the_same_greedy_answers(main: Any, local: Any, tmp_path: Path) -> None:
    assert main([*local["arguments"], "--seed", "7", "--output", str(tmp_path / "other.json")]) == 0
    first, other = numbers(local["output"]), numbers(tmp_path / "other.json")
    pairs = list(zip(first["problems"], other["problems"], strict=True))
    assert all(one["completion"] == two["completion"] for one, two in pairs)
    assert any(one["samples"] != two["samples"] for one, two in pairs)


def test_fewer_problems_get_the_same_answers(main: Any, local: Any, tmp_path: Path) -> None:
    assert main([*local["arguments"], "--samples", "1", "--domains", "spanner", "--output", str(tmp_path / "few.json")]) == 0
    (few,) = numbers(tmp_path / "few.json")["problems"]
    same = next(p for p in numbers(local["output"])["problems"] if p["problem_file"] == few["problem_file"])
    assert [sample["completion"] for sample in few["samples"]] == [sample["completion"] for sample in same["samples"]]
    assert few["completion"] == same["completion"]


def test_stopped_in_the_middle_it_ends_where_an_unbroken_one_does(
    main: Any, local: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from grpo_project.models import answers, generation

    batches = 0

    def stopping(*arguments: Any, on_batch: Any, **named: Any) -> Any:
        def count(*batch: Any) -> None:
            nonlocal batches
            batches += 1
            if batches in (3, 9):  # once among greedy answers, once among samples
                raise KeyboardInterrupt
            on_batch(*batch)

        return generation.complete(*arguments, on_batch=count, **named)

    monkeypatch.setattr(answers, "complete", stopping)
    output = tmp_path / "stopped.json"
    command = [*local["arguments"], "--batch_size", "3", "--output", str(output)]
    journal = tmp_path / "stopped.json.journal.jsonl"
    for _ in range(2):
        assert main(command) == 130
        assert "go on" in capsys.readouterr().err
        assert journal.exists() and not output.exists()
    assert main([*local["arguments"], "--max_completion_length", "25", "--output", str(output)]) == 2
    assert "max_completion_length = 24" in capsys.readouterr().err
    assert main(command) == 0
    assert numbers(output) == numbers(local["output"])
    assert not journal.exists()


def endpoint_command(server: Any, data_root: Path, output: Path, *more: str) -> list[str]:
    command = ["--base_url", server.url, "--model", "m", "--data_root", str(data_root), "--domains", "ferry", "spanner"]
    return [*command, "--samples", "4", "--output", str(output), *more]


def reply(number: int, body: dict[str, Any], headers: Any) -> Any:
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    text = f"(nonsense {len(body['messages'][0]['content'])})\n"
    return 200, {}, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}


def test_an_endpoint_is_evaluated_and_its_costs_are_counted(
    main: Any,
    stand_in: Any,
    data_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server = stand_in(reply)
    output = tmp_path / "endpoint.json"
    more = ("--api_key_env", "MY_KEY", "--price_per_million", "2", "10", "--prompt_format", "json")
    assert main(endpoint_command(server, data_root, output, *more)) == 0
    assert len(server.requests) == 8 and {request["key"] for request in server.requests} == {f"Bearer {KEY}"}
    assert all("as JSON" in request["messages"][0]["content"] for request in server.requests)
    result = numbers(output)
    assert result["usage"] == {
        "answers": 8,
        "prompt_tokens": 800,
        "completion_tokens": 160,
        "cut_off": 0,
        "cut_off_while_thinking": 0,
        "refused": {},
        "cost": pytest.approx(800 * 2e-6 + 160 * 10e-6),
    }
    assert {problem["verdict_class"] for problem in result["problems"]} == {"plan_format_error"}
    shown = capsys.readouterr()
    assert "cost 0.0032" in shown.out
    assert KEY not in shown.out + shown.err + output.read_text(encoding="utf-8")


def test_a_served_planner_is_asked_in_its_own_words_and_what_is_too_long_for_it_is_counted(
    main: Any, stand_in: Any, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from grpo_project.data.prompts import row_prompt
    from grpo_project.data.rows import read_rows

    table = read_rows(data_root, ["ferry", "spanner"])
    chosen = [index for domain in table.domains for index in table.indices_of(domain)[:4]]
    longest = row_prompt(table.rows[chosen[5]], "compact")

    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        if body["messages"][0]["content"] == longest:
            return 400, {}, {"error": {"message": "This model's maximum context length is 512 tokens."}}
        return reply(number, body, headers)

    server = stand_in(behave)
    output = tmp_path / "compact.json"
    command = endpoint_command(server, data_root, output, "--price_per_million", "2", "10", "--prompt_style", "compact")
    assert main(command) == 0
    asked = {request["messages"][0]["content"] for request in server.requests}
    assert asked == {row_prompt(table.rows[index], "compact") for index in chosen}
    result = numbers(output)
    assert result["settings"]["prompt_style"] == "compact"
    assert [problem["refused"] is not None for problem in result["problems"]] == [index == chosen[5] for index in chosen]
    assert result["usage"]["refused"] == {"too long for its context": 1} and result["usage"]["prompt_tokens"] == 700
    assert result["domains"]["spanner"]["count"] == 4 and result["domains"]["spanner"]["completion_tokens"] == 20
    assert "; refused by the server and counted as failed: 1 too long for its context\n" in capsys.readouterr().out


def test_a_server_that_refuses_everything_leaves_nothing_behind_that_a_later_run_would_take(
    main: Any, stand_in: Any, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = True
    server = stand_in(lambda n, body, h: (400, {}, {"error": {"message": "Model Not Exist"}}) if wrong else reply(n, body, h))
    command = endpoint_command(server, data_root, tmp_path / "all.json")
    assert main(command) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: the server refused all of the first 8 requests (HTTP 400: Model Not Exist).")
    assert shown.count("\n") == 1
    wrong = False
    assert main(command) == 0
    assert numbers(tmp_path / "all.json")["usage"]["refused"] == {}


def test_killed_outright_and_run_again_it_asks_only_for_the_rest(
    main: Any, stand_in: Any, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = True

    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        if hangs and number > 5:
            time.sleep(2.0)
        return reply(number, body, headers)

    server = stand_in(behave)
    output = tmp_path / "killed.json"
    journal = tmp_path / "killed.json.journal.jsonl"
    command = endpoint_command(server, data_root, output, "--concurrency", "2")
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *command],
        env={**os.environ, "OPENAI_API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while len(server.requests) < 7 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    out, err = process.communicate()
    assert len(server.requests) == 7, err
    kept = len(journal.read_text(encoding="utf-8").splitlines()) - 1
    assert kept == 5 and not output.exists()
    assert KEY not in journal.read_text(encoding="utf-8") + out.decode() + err.decode()

    hangs = False
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert main(command) == 0
    assert len(server.requests) == 7 + 8 - kept
    assert len(numbers(output)["problems"]) == 8 and numbers(output)["usage"]["answers"] == 8
    fresh = tmp_path / "fresh.json"
    assert main(endpoint_command(server, data_root, fresh, "--concurrency", "2")) == 0
    assert numbers(fresh) == numbers(output)


def test_a_wrong_key_ends_in_one_line_without_it(
    main: Any,
    stand_in: Any,
    data_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = stand_in(lambda n, body, h: (401, {}, {"error": {"message": f"{h['Authorization']} is wrong"}}))
    assert main(endpoint_command(server, data_root, tmp_path / "wrong.json")) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1 and "--api_key_env" in shown.err
    written = "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir() if path.is_file())
    assert KEY not in shown.out + shown.err + written


def test_the_planner_is_the_ceiling_and_two_results_are_compared(
    main: Any, local: Any, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ceiling = tmp_path / "ceiling.json"
    assert main(["--planner", "--data_root", str(data_root), "--samples", "3", "--output", str(ceiling)]) == 0
    assert all(problem["verdict_class"] == "success_plans" for problem in numbers(ceiling)["problems"])
    assert "100.0%" in capsys.readouterr().out
    assert main(["--compare", str(local["output"]), str(ceiling)]) == 0
    shown = capsys.readouterr().out
    solved = sum(problem["verdict_class"] == "success_plans" for problem in numbers(local["output"])["problems"])
    assert "exact McNemar" in shown and f"{2 * 0.5 ** (12 - solved):.3g}" in shown
    assert f"{100 * (12 - solved) / 12:+.1f}" in shown


def test_an_adapter_goes_on_top_of_a_model(main: Any, tiny_planner: Path, data_root: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(tiny_planner),
            LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False),
        )
    model.save_pretrained(tmp_path / "adapter")
    common = ["--model", str(tiny_planner), "--data_root", str(data_root), "--samples", "3", "--max_completion_length", "16"]
    assert main([*common, "--output", str(tmp_path / "base.json")]) == 0
    assert main([*common, "--adapter", str(tmp_path / "adapter"), "--output", str(tmp_path / "lora.json")]) == 0
    base, lora = numbers(tmp_path / "base.json"), numbers(tmp_path / "lora.json")
    assert [p["completion"] for p in base["problems"]] != [p["completion"] for p in lora["problems"]]
    assert lora["settings"]["model_fingerprint"] != base["settings"]["model_fingerprint"]


def test_probes_ask_the_same_problems_again_and_a_second_run_asks_nothing(
    main: Any, tiny_planner: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(tiny_planner), "--data_root", str(data_root), "--samples", "2", "--max_completion_length", "8"]
    arguments += ["--probe", "order,names", "unseen_names", "--output", str(tmp_path / "as_is.json")]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    files = [f"as_is{way}.json" for way in ("", ".order", ".names", ".unseen_names")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    assert first.count("exact McNemar") == 3 and "--probe unseen_names" in first
    results = [numbers(tmp_path / name) for name in files]
    assert len({tuple(problem["problem_file"] for problem in result["problems"]) for result in results}) == 1
    assert len({result["settings"]["data_fingerprint"] for result in results}) == 1
    assert [result["settings"].get("probe") for result in results] == [None, "order", "names", "unseen_names"]
    times = [(tmp_path / name).stat().st_mtime_ns for name in files]
    assert main(arguments) == 0
    assert [(tmp_path / name).stat().st_mtime_ns for name in files] == times
    assert capsys.readouterr().out.count("is there, from before") == 4


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--model"),
        (["--model", "x", "--planner"], "--model"),
        (["--base_url", "https://host/v1"], "--model"),
        (["--base_url", "https://host/v1", "--model", "m"], "--output"),
        (["--base_url", "https://u:hidden@host/v1", "--model", "m", "--output", "r.json"], "--base_url"),
        (["--base_url", "https://host/v1", "--model", "m", "--output", "r.json", "--request_fields", "[1]"], "--request_fields"),
        (["--planner", "--adapter", "a"], "--adapter"),
        (["--planner", "--samples", "0"], "--samples"),
        (["--planner", "--num_samples", "2", "--k", "3"], "--k"),
        (["--planner", "--num_samples", "2", "--temperature", "0"], "--temperature"),
        (["--planner", "--data_root", "nowhere"], "nowhere"),
        (["--planner", "--output", "."], "--output"),
        (["--planner", "--probe", "names"], "--probe"),
        (["--model", "m", "--probe", "colours"], "order, names, unseen_names"),
        (["--compare", "a.json", "b.json"], "a.json"),
    ],
)
def test_what_cannot_work_ends_in_one_line(
    main: Any,
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data_root: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    where = [] if "--data_root" in arguments else ["--data_root", str(data_root)]
    assert main([*arguments, *where]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and named in message and message.count("\n") == 1
    assert "hidden" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_compact_model_has_one_form_of_prompt(
    main: Any, tiny_planner: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(tiny_planner), "--data_root", str(data_root), "--prompt_format", "nl"]) == 2
    assert "compact" in capsys.readouterr().err


def test_help_needs_no_library() -> None:
    program = (
        "import sys, runpy\nsys.argv = ['evaluate.py', '--help']\n"
        f"try: runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert not {'torch', 'rich', 'grpo_project.domains'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--compare" in result.stdout
