"""script/solve.py: a verified plan on standard output, or what came nearest and why it fails; exit status 0, 1, 2."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data.rows import RowTable, read_rows
from grpo_project.errors import GrpoProjectError
from grpo_project.evaluation.answers import Answer, Answers, Question, Record
from grpo_project.evaluation.conversation import Repair
from grpo_project.evaluation.solving import OutOfTime, attempts_of, nearest, solve
from grpo_project.pddl import compile_task, parse_domain, parse_problem, validate_text
from tests.pages import bash_commands

ROOT = Path(__file__).resolve().parents[3]
LAMPS = ROOT / "tests" / "golden" / "lamps"
DOMAIN, PROBLEM = str(LAMPS / "domain.pddl"), str(LAMPS / "problem.pddl")
GOOD, BROKEN, HALF = "(switch-on a)\n(switch-on b)\n", "(switch-on b)\n(switch-on a)\n", "(switch-on a)\n"


@pytest.fixture(scope="module")
def main() -> Any:
    spec = importlib.util.spec_from_file_location("solve_script", ROOT / "script" / "solve.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(scope="module")
def table() -> RowTable:
    return read_rows(ROOT / "data" / "test", ["ferry"])


@pytest.fixture
def files(table: RowTable, tmp_path: Path) -> tuple[str, list[str]]:
    """A ferry domain and three problems of it, as files."""
    domain = tmp_path / "domain.pddl"
    domain.write_text(table.rows[0].domain_text, encoding="utf-8")
    problems = []
    for index in range(3):
        problems.append(str(tmp_path / f"problem{index}.pddl"))
        Path(problems[-1]).write_text(table.rows[index].problem_text, encoding="utf-8")
    return str(domain), problems


def answering(*texts: str, finish: str = "stop") -> Any:
    """A server whose n-th request gets the n-th text, the last one again and again."""

    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        text = texts[min(number, len(texts)) - 1]
        usage = {"prompt_tokens": 100, "completion_tokens": 20}
        return 200, {}, {"choices": [{"message": {"content": text}, "finish_reason": finish}], "usage": usage}

    return behave


def ask_server(server: Any, *more: str) -> list[str]:
    return [DOMAIN, PROBLEM, "--base_url", server.url, "--model", "m", "--concurrency", "1", "--max_retries", "0", *more]


def test_a_plan_is_printed_so_that_the_verifier_can_read_it(main: Any, stand_in: Any, capsys: pytest.CaptureFixture[str]) -> None:
    server = stand_in(answering(f"```\n{GOOD}```"))
    assert main(ask_server(server)) == 0
    shown = capsys.readouterr()
    assert shown.out == GOOD and "1 of 1 solved with 1 answers" in shown.err
    assert len(server.requests) == 1 and server.requests[0]["temperature"] == 0.0
    assert "(define (domain lamps)" in server.requests[0]["messages"][0]["content"]  # a domain that the registry lacks


def test_what_came_nearest_is_said_and_why_it_fails(main: Any, stand_in: Any, capsys: pytest.CaptureFixture[str]) -> None:
    server = stand_in(answering("Well.", HALF, "(switch-on a)\n(switch-on a)\n", BROKEN))
    assert main(ask_server(server, "--best_of", "4")) == 1
    out = capsys.readouterr().out
    assert out.startswith("; not solved by 4 answers. Nearest is answer 2, goal_not_satisfied, 1 of 2 goals hold:\n")
    assert ";   (switch-on a)\n" in out and "the goal still needs: (lit b)" in out
    domain = parse_domain(Path(DOMAIN).read_text(), DOMAIN)
    task = compile_task(domain, parse_problem(Path(PROBLEM).read_text(), domain, PROBLEM))
    assert validate_text(task, out).steps_total == 0  # comments alone: nothing that could be taken for a plan


def test_an_answer_that_fails_goes_back_before_others_are_drawn(main: Any, stand_in: Any, capsys: Any) -> None:
    server = stand_in(answering(BROKEN, GOOD))
    assert main(ask_server(server, "--best_of", "8", "--repair_turns", "2", "--json")) == 0
    assert [len(request["messages"]) for request in server.requests] == [1, 3]
    assert "is broken in state 1" in server.requests[1]["messages"][2]["content"]
    record = json.loads(capsys.readouterr().out)
    assert record["solved"] and (record["answer"], record["repairs"], record["answers"]) == (1, 1, 2)
    assert record["plan"] == GOOD.splitlines() and record["cost"] == 2 and record["completion_tokens"] == 40


def test_answers_are_drawn_in_doubling_waves_until_a_plan_is_verified(main: Any, stand_in: Any) -> None:
    server = stand_in(answering(HALF, HALF, GOOD, HALF))
    assert main(ask_server(server, "--best_of", "16")) == 0
    assert len(server.requests) == 4  # 1, 1, and the two of the wave that holds the plan
    assert [request["temperature"] for request in server.requests] == [0.0, 1.0, 1.0, 1.0]


def test_many_problems_with_a_model_loaded_here_and_search_beside_it(
    main: Any, files: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    domain, problems = files
    command = [
        domain,
        *problems,
        "--model",
        str(ROOT / "data/models/strong-planner"),
        "--search",
        "--max_completion_length",
        "128",
    ]
    assert main([*command, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["problem"] for record in records] == problems and all(record["solved"] for record in records)
    assert all(0 < record["search"]["cost"] <= record["cost"] for record in records)
    assert main(command) == 0
    out = capsys.readouterr().out
    assert all(f"; {name}: solved, cost " in out for name in problems) and out.count("; search finds, at cost ") == 3


def test_bad_input_is_one_line_before_a_model_is_loaded(main: Any, files: Any, tmp_path: Path, capsys: Any) -> None:
    broken = tmp_path / "broken.pddl"
    broken.write_text("(define (problem p)")
    domain, problems = files
    for arguments, words in (
        ([domain, "no.pddl", "--model", "m"], "no.pddl cannot be read"),
        (["no.pddl", problems[0], "--model", "m"], "no.pddl cannot be read"),
        ([domain, problems[0], str(broken), "--model", "m"], "broken.pddl:1:1"),
        ([domain, PROBLEM, "--model", "m"], "belongs to domain"),
        ([domain, problems[0]], "name a --model"),
        ([domain, problems[0], "--base_url", "http://localhost:1/v1"], "name a --model"),
        ([domain, problems[0], "--model", "m", "--best_of", "0"], "--best_of must be at least 1"),
        ([domain, problems[0], "--model", "m", "--repair_turns", "-1"], "--repair_turns must be at least 0"),
        ([domain, problems[0], "--model", "m", "--seconds", "0"], "--seconds must be above 0"),
        ([domain, problems[0], "--model", "m", "--best_of", "2", "--temperature", "0"], "--temperature must be above 0"),
        ([DOMAIN, PROBLEM, "--model", str(ROOT / "data/models/tiny-planner")], "compact prompts are for"),
    ):
        assert main(arguments) == 2, arguments
        shown = capsys.readouterr()
        assert words in shown.err and shown.out == ""
        assert sum(line.startswith("error: ") for line in shown.err.splitlines()) == 1


NAMESAKE = """(define (domain ferry) (:predicates (here ?x)) (:action go :parameters (?x) :precondition (here ?x)
    :effect (not (here ?x))))"""


def test_a_domain_that_is_called_as_the_suite_s_is_not_taken_for_it(main: Any, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "domain.pddl").write_text(NAMESAKE)
    (tmp_path / "problem.pddl").write_text(
        "(define (problem p) (:domain ferry) (:objects a) (:init (here a)) (:goal (not (here a))))"
    )
    files = [str(tmp_path / "domain.pddl"), str(tmp_path / "problem.pddl")]
    for model in ("tiny-planner", "any-names-planner"):
        assert main([*files, "--model", str(ROOT / "data/models" / model), "--max_completion_length", "8"]) == 2
        assert "its domain is called ferry and has other predicates than the suite's" in capsys.readouterr().err


def test_a_planner_that_is_asked_in_another_style_is_warned_about(main: Any, files: Any, capsys: Any) -> None:
    domain, problems = files
    model = str(ROOT / "data/models/tiny-planner")
    main([domain, problems[0], "--model", model, "--prompt_style", "full", "--max_completion_length", "4"])
    assert f"warning: {model} was taught prompts of the style compact_by_name, and is asked in full" in capsys.readouterr().err


def test_a_server_that_dies_leaves_what_was_answered(main: Any, stand_in: Any, tmp_path: Path, capsys: Any) -> None:
    dead = True
    server = stand_in(lambda n, body, h: (500, {}, {}) if dead and n >= 3 else answering(HALF)(n, body, h))
    command = ask_server(server, "--repair_turns", "3", "--journal", str(tmp_path / "answers.jsonl"))
    assert main(command) == 2
    shown = capsys.readouterr()
    assert "; not solved by 2 answers" in shown.out and shown.err.splitlines()[-1].startswith("error: ")
    dead = False
    assert main(command) == 1
    assert len(server.requests) == 3 + 2  # the first two are known
    capsys.readouterr()
    assert main([*command, "--best_of", "2"]) == 1  # more of the same goes on too
    assert len(server.requests) == 5 + 4
    assert main([*command, "--seed", "3"]) == 2
    assert "seed = 0, now it is 3" in capsys.readouterr().err


def test_time_ends_between_answers_and_what_is_there_counts(table: RowTable) -> None:
    def slow(questions: list[Question], record: Record) -> None:
        for question in questions:
            time.sleep(0.05)
            record(question, Answer("no"))

    known = Answers()
    with pytest.raises(OutOfTime, match="--seconds"):
        solve(["p"] * 3, slow, Repair(table.task, 50), 1, known, seconds=0.12)
    assert 2 <= len(known.answers) <= 4
    assert nearest(attempts_of(0, table.task(0), known.answers)) is not None
    assert nearest([]) is None


def test_time_over_is_status_1_or_0_where_all_is_solved(main: Any, stand_in: Any, capsys: Any) -> None:
    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        time.sleep(0.3)
        return answering(HALF)(number, body, headers)

    assert main(ask_server(stand_in(behave), "--repair_turns", "9", "--seconds", "0.5")) == 1
    assert "the 0.5 seconds are over" in capsys.readouterr().err


def test_a_server_that_fails_is_not_asked_for_longer_than_there_is_time(main: Any, stand_in: Any, capsys: Any) -> None:
    server = stand_in(lambda n, body, h: (503, {"Retry-After": "1"}, {}))
    command = [DOMAIN, PROBLEM, "--base_url", server.url, "--model", "m", "--max_retries", "50", "--seconds", "0.5"]
    began = time.monotonic()
    assert main(command) == 2
    assert time.monotonic() - began < 5 and len(server.requests) == 1
    assert "gave no answer after one try: HTTP 503" in capsys.readouterr().err


def test_nobody_who_answers_is_no_unsolved_problem(main: Any, stand_in: Any, capsys: Any) -> None:
    server = stand_in(lambda n, body, h: (400, {}, {"error": {"message": "Model Not Exist"}}))
    assert main(ask_server(server)) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "Model Not Exist" in shown.err and shown.err.count("\n") == 1
    assert issubclass(OutOfTime, GrpoProjectError)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_commands_of_the_page_solve(main: Any, stand_in: Any, capsys: Any, number: int) -> None:
    commands = [words for words in bash_commands(ROOT / "docs" / "solving.md") if words[1] == "script/solve.py"]
    assert len(commands) == 3
    words = [stand_in(answering(HALF)).url if "https:" in word else word for word in commands[number][2:]]
    assert main(words) == (1 if number == 2 else 0)
    out = capsys.readouterr().out
    assert number != 1 or (out.count(": solved, cost ") == 2 and out.count("; search finds, at cost ") == 2)
