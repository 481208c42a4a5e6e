"""script/evaluate.py from command line to result file: the same numbers again, and on from where it was killed."""

from __future__ import annotations

import errno
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

from grpo_project.evaluation.rescoring import read_saved
from tests.sample_rows import DEPOT, depot_rows, write

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


def test_problem_files_of_another_folder_are_found_and_found_again(main: Any, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "files" / "depot").mkdir(parents=True)
    (tmp_path / "files" / "depot.pddl").write_text(DEPOT)
    rows = depot_rows(2)
    for row in rows:
        (tmp_path / "files" / row["meta"]["problem_file"]).write_text(row["meta"].pop("problem_pddl"))
    write(tmp_path / "rows", "depot", rows)
    output = tmp_path / "result.json"
    options = [
        "--planner",
        "--data_root",
        str(tmp_path / "rows"),
        "--difficulty_pattern",
        r"depot-(\d+)",
        "--output",
        str(output),
    ]
    assert main(options) == 2  # the files are nowhere
    assert main([*options, "--problem_root", str(tmp_path / "files")]) == 0
    assert [(problem["difficulty"], problem["verdict_class"]) for problem in numbers(output)["problems"]] == [
        (0.0, "success_plans"),
        (1.0, "success_plans"),
    ]
    assert [answer.domain for answer in read_saved(str(output))] == ["depot", "depot"]


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

    ended = 0

    def stopping(*arguments: Any, on_answer: Any, **named: Any) -> Any:
        def count(*answer: Any) -> None:
            nonlocal ended
            ended += 1
            if ended in (5, 30):  # once among greedy answers, once among samples, in the middle of a batch
                raise KeyboardInterrupt
            on_answer(*answer)

        return generation.complete(*arguments, on_answer=count, **named)

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
    # Beside the five verdict classes: what was not answered is no plan that missed its goal.
    assert result["domains"]["spanner"]["verdicts"] == {"plan_format_error": 3, "no_answer": 1}
    assert {tuple(problem["by_reading"].values()) for problem in result["problems"] if problem["refused"]} == {("no_answer",) * 2}
    shown = capsys.readouterr().out
    assert "goal | no answer |" in shown and "; without an answer, and not solved: 1 too long for its context\n" in shown


def test_a_server_that_refuses_everything_leaves_nothing_behind_that_a_later_run_would_take(
    main: Any, stand_in: Any, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = True
    server = stand_in(lambda n, body, h: (400, {}, {"error": {"message": "Model Not Exist"}}) if wrong else reply(n, body, h))
    command = endpoint_command(server, data_root, tmp_path / "all.json")
    assert main(command) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: the server answered none of the first 8 requests (HTTP 400: Model Not Exist).")
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


def test_matching_domains_is_refused_where_the_style_has_no_words_to_match(
    main: Any, tiny_planner: Path, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ["--model", str(tiny_planner), "--data_root", str(data_root), "--match_domains", "--prompt_style", "full"]
    assert main(how) == 2
    assert "--match_domains is for the style compact" in capsys.readouterr().err


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
        (["--model", "m", "--output", "/dev/null/r.json"], "the folder of --output, /dev/null cannot be written to"),
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


def test_a_full_disk_ends_in_one_line_and_keeps_what_was_answered(
    main: Any, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    output = tmp_path / "r.json"
    command = ["--planner", "--data_root", str(data_root), "--samples", "1", "--domains", "ferry", "--output", str(output)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert main(command) == 2
    assert capsys.readouterr().err == f"error: {output} cannot be written or read: No space left on device\n"
    assert main(command) == 0
    assert "1 answers of them from before" in capsys.readouterr().out


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


# -- repair turns -----------------------------------------------------------------------------------------------------------


def test_repairs_of_a_model_loaded_here_are_the_same_after_a_stop(
    main: Any, tiny_planner: Path, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from grpo_project.models import answers, generation

    command = ["--model", str(tiny_planner), "--data_root", str(data_root), "--domains", "ferry", "--samples", "4"]
    command += ["--max_completion_length", "24", "--num_samples", "2", "--repair_turns", "2", "--batch_size", "2"]
    assert main([*command, "--output", str(tmp_path / "whole.json")]) == 0
    shown = capsys.readouterr().out
    assert "Repair turns: " in shown and "Best of N: " in shown and "4 of 4 conversations ended without a plan" in shown
    whole = numbers(tmp_path / "whole.json")
    assert [len(problem["repairs"]) for problem in whole["problems"]] == [2] * 4
    lengths = [[problem["prompt_tokens"], *(one["prompt_tokens"] for one in problem["repairs"])] for problem in whole["problems"]]
    assert all(first < second < third for first, second, third in lengths)

    ended = 0

    def stopping(*arguments: Any, on_answer: Any, **named: Any) -> Any:
        def count(*answer: Any) -> None:
            nonlocal ended
            ended += 1
            if ended == 15:  # 4 greedy answers, 8 drawn ones, then repairs
                raise KeyboardInterrupt
            on_answer(*answer)

        return generation.complete(*arguments, on_answer=count, **named)

    monkeypatch.setattr(answers, "complete", stopping)
    stopped = tmp_path / "stopped.json"
    assert main([*command, "--output", str(stopped)]) == 130
    journal = (tmp_path / "stopped.json.journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["turn"] for line in journal[1:]].count(1) == 2
    assert main([*command, "--repair_detail", "step", "--output", str(stopped)]) == 2
    assert "repair_detail = 'state', now it is 'step'" in capsys.readouterr().err
    assert main([*command, "--output", str(stopped)]) == 0
    assert numbers(stopped) == whole


def test_a_conversation_too_long_for_a_model_loaded_here_is_counted(
    main: Any, tiny_planner: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--model", str(tiny_planner), "--data_root", str(data_root), "--domains", "ferry", "--samples", "2"]
    command += ["--max_completion_length", "200", "--repair_turns", "3", "--output", str(tmp_path / "long.json")]
    assert main(command) == 0  # 512 positions: two answers of 200 tokens and the verdict leave no room for a third
    result = numbers(tmp_path / "long.json")
    ends = [problem["repairs"][-1]["refused"] for problem in result["problems"]]
    assert all("do not fit a context of 512" in end for end in ends)
    assert result["usage"]["refused"] == {"too long for its context": 2}
    shown = capsys.readouterr().out
    assert "2 without an answer" in shown and "2 too long for its context" in shown


def repairing(table: Any, right_at: int) -> Any:
    """A server that answers with the reference plan when it is told so often that its plan fails."""
    plans = {row.prompt: row.response for row in table.rows}

    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        messages = body["messages"]
        turn = len(messages) // 2
        text = plans[messages[0]["content"]] if turn == right_at else f"I am lost, {turn}"
        usage = {"prompt_tokens": 100 * len(messages), "completion_tokens": 20}
        return 200, {}, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}

    return behave


def repair_command(server: Any, output: Path, *more: str) -> list[str]:
    command = ["--base_url", server.url, "--model", "m", "--domains", "ferry", "--samples", "3", "--output", str(output)]
    return [*command, "--repair_turns", "3", "--concurrency", "1", "--max_retries", "0", *more]


def test_an_endpoint_hears_the_verdict_and_repairs_its_plan(
    main: Any, stand_in: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from grpo_project.data.rows import read_rows

    server = stand_in(repairing(read_rows("data/test", ["ferry"]), 2))
    output = tmp_path / "repaired.json"
    assert main(repair_command(server, output, "--num_samples", "1")) == 0
    longest = max((request["messages"] for request in server.requests), key=len)
    assert [message["role"] for message in longest] == ["user", "assistant", "user", "assistant", "user"]
    assert longest[1]["content"] == "I am lost, 0" and "The text is no plan: step 1" in longest[2]["content"]
    assert len({request["seed"] for request in server.requests}) == len(server.requests) == 3 * 4
    result = numbers(output)
    assert [[one["verdict_class"] for one in problem["repairs"]] for problem in result["problems"]] == [
        ["plan_format_error", "success_plans"]
    ] * 3
    assert result["domains"]["ferry"]["successes"] == 0  # the first answer stays the headline
    assert "| 2       | repairs                 |    3/3 |" in capsys.readouterr().out


def test_a_server_that_dies_in_turn_3_costs_nothing_that_was_answered(
    main: Any, stand_in: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from grpo_project.data.rows import read_rows

    works = repairing(read_rows("data/test", ["ferry"]), 3)
    dead = True
    server = stand_in(lambda n, body, h: (500, {}, {}) if dead and n == 3 + 3 + 3 + 2 else works(n, body, h))
    output = tmp_path / "died.json"
    assert main(repair_command(server, output)) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and shown.count("\n") == 1 and "go on" in shown
    assert len(server.requests) == 11 and not output.exists()
    dead = False
    assert main(repair_command(server, output)) == 0
    assert len(server.requests) == 11 + 2  # what had no answer, and the rest of its turn
    assert [problem["repairs"][-1]["verdict_class"] for problem in numbers(output)["problems"]] == ["success_plans"] * 3


def test_a_repair_prompt_that_a_server_refuses_and_answers_without_an_end_are_counted(
    main: Any, stand_in: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        if len(body["messages"]) == 5:
            return 400, {}, {"error": {"message": "This model's maximum context length is 512 tokens."}}
        return 200, {}, {"choices": [{"message": {"content": "(sail l0 l1)\n" * 200}, "finish_reason": "length"}]}

    server = stand_in(behave)
    output = tmp_path / "endless.json"
    assert main(repair_command(server, output)) == 0
    assert len(server.requests) == 3 * 3  # a refused question ends its conversation
    result = numbers(output)
    assert [[one["refused"] is None for one in problem["repairs"]] for problem in result["problems"]] == [[True, False]] * 3
    assert result["usage"]["refused"] == {"too long for its context": 3} and result["usage"]["cut_off"] == 6
    shown = capsys.readouterr().out
    assert "3 without an answer, 3 having repeated an answer that had failed" in shown


def test_repair_turns_of_search_are_refused(main: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--planner", "--repair_turns", "1"]) == 2
    assert main(["--model", "m", "--repair_turns", "-1"]) == 2
    assert capsys.readouterr().err.count("--repair_turns") == 2


# -- step by step -----------------------------------------------------------------------------------------------------------


def test_a_closed_loop_is_another_evaluation_that_can_be_compared(
    main: Any, tiny_planner: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--model", str(tiny_planner), "--data_root", str(data_root), "--samples", "2", "--max_completion_length", "24"]
    one, other = str(tmp_path / "open.json"), str(tmp_path / "closed.json")
    assert main([*command, "--output", one]) == 0
    assert main([*command, "--step_by_step", "5", "--output", other]) == 0
    assert numbers(Path(other))["settings"]["step_by_step"] == 5
    assert numbers(Path(other))["name"].endswith("--step_by_step")
    assert main(["--compare", one, other]) == 0
    capsys.readouterr()
    for more in (["--num_samples", "1"], ["--repair_turns", "1"]):
        assert main([*command, "--step_by_step", *more]) == 2
    assert main(["--planner", "--step_by_step"]) == 2
    assert main([*command, "--step_by_step", "0"]) == 2
    assert capsys.readouterr().err.count("error: --step_by_step") == 4
