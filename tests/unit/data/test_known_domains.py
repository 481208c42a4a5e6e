"""A known domain under other names is recognised by its action schemas, asked about in known words, and answered in its own."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data.asked_words import Words, in_asked_words, table_in_asked_words
from grpo_project.data.known_domains import in_known_domain, renaming_to_known
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.domains import all_domains
from grpo_project.evaluation import evaluate
from grpo_project.pddl import parse_domain, validate_text

ROOT = Path(__file__).resolve().parents[3]
# As the International Planning Competition wrote it in 2000, and with a type.
IPC_BLOCKS = """(define (domain BLOCKS) (:requirements :strips :typing) (:types block)
  (:predicates (on ?x - block ?y - block) (ontable ?x - block) (clear ?x - block) (handempty) (holding ?x - block))
  (:action pick-up :parameters (?x - block) :precondition (and (clear ?x) (ontable ?x) (handempty))
    :effect (and (not (ontable ?x)) (not (clear ?x)) (not (handempty)) (holding ?x)))
  (:action put-down :parameters (?x - block) :precondition (holding ?x)
    :effect (and (not (holding ?x)) (clear ?x) (handempty) (ontable ?x)))
  (:action stack :parameters (?x - block ?y - block) :precondition (and (holding ?x) (clear ?y))
    :effect (and (not (holding ?x)) (not (clear ?y)) (clear ?x) (handempty) (on ?x ?y)))
  (:action unstack :parameters (?x - block ?y - block) :precondition (and (on ?x ?y) (clear ?x) (handempty))
    :effect (and (holding ?x) (clear ?y) (not (clear ?x)) (not (handempty)) (not (on ?x ?y)))))"""
IPC_PROBLEM = """(define (problem two) (:domain BLOCKS) (:objects a b - block)
  (:init (clear a) (ontable b) (on a b) (handempty)) (:goal (on b a)))"""


@pytest.fixture(scope="module")
def obfuscated() -> RowTable:
    return read_rows(ROOT / "data" / "test_obfuscated")


def test_every_domain_is_recognised_and_its_plans_go_there_and_back(obfuscated: RowTable) -> None:
    rows = [obfuscated.rows[index] for name in obfuscated.domains for index in obfuscated.indices_of(name)[:10]]
    table = RowTable(obfuscated.origin, obfuscated.domains, rows, (), "rows")
    known = table_in_asked_words(table, "compact", match_domains=True)
    for index, row in enumerate(rows):
        found, words = in_asked_words(row, "compact", match_domains=True)
        assert found.problem == known.rows[index].problem and found.scenario == row.scenario
        assert found.domain.predicates.keys() == all_domains()[row.scenario].domain.predicates.keys()
        assert row.response is not None
        spoken = words.asked(row.response)
        assert spoken == found.response != row.response and words.own(spoken) == row.response
        for plan, back in (
            (spoken, row.response),
            ("\n".join(spoken.splitlines()[:-1]), "\n".join(row.response.splitlines()[:-1])),
        ):
            theirs, ours = validate_text(known.task(index), plan), validate_text(table.task(index), back)
            assert (theirs.verdict_class, theirs.state_index) == (ours.verdict_class, ours.state_index)


def test_two_domains_that_are_told_as_one_stay_two(obfuscated: RowTable) -> None:
    """Else they would be counted, and chosen, as one."""
    own = [
        replace(obfuscated.rows[index], scenario=name)
        for name in ("mine", "yours")
        for index in obfuscated.indices_of("ferry")[:2]
    ]
    table = RowTable(obfuscated.origin, ["mine", "yours"], own, (), "rows")
    asked = table_in_asked_words(table, "compact", match_domains=True)
    assert {row.scenario for row in asked.rows} == {"ferry"}
    assert asked.domains == ("mine", "yours") and asked.indices_of("yours") == [2, 3]
    result = evaluate(asked, [0, 2], lambda rows: [row.response or "" for row in rows])
    assert result.domains == ("mine", "yours") and result.counts() == (2, 2)


def test_published_blocksworld_is_blocksworld() -> None:
    found = renaming_to_known(parse_domain(IPC_BLOCKS))
    assert found is not None and found[0] == "blocksworld"
    assert found[1].actions == {"pick-up": "pickup", "put-down": "putdown", "stack": "stack", "unstack": "unstack"}
    assert found[1].predicates["handempty"] == "arm-empty" and found[1].types == {"block": "object"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (":precondition (holding ?x)", ":precondition (and (holding ?x) (not (handempty)))"),  # one condition more
        ("(clear ?x) (handempty) (on ?x ?y)))", "(clear ?x) (handempty) (on ?y ?x)))"),  # another effect
        ("(clear ?x) (handempty) (on ?x ?y)))", "(clear ?x) (handempty) (when (clear ?x) (on ?x ?y))))"),
        ("stack :parameters (?x - block ?y - block)", "stack :parameters (?y - block ?x - block)"),  # both of them: another order
        ("(:types block)", "(:types block) (:constants table - block)"),
        (":precondition (holding ?x)", ":precondition (exists (?z - block) (holding ?x))"),
        ("(:types block)", "(:types block hand)  (:functions (total-cost))"),
    ],
)
def test_what_is_not_the_same_up_to_names_is_not_exchanged(before: str, after: str) -> None:
    assert before in IPC_BLOCKS
    assert renaming_to_known(parse_domain(IPC_BLOCKS.replace(before, after))) is None


def test_a_problem_that_needs_a_type_without_a_counterpart_stays_as_it_is(obfuscated: RowTable) -> None:
    """Things of an own subtype would lose it, and what ranges over them would mean something else."""
    text = IPC_BLOCKS.replace("(:types block)", "(:types red - block block - object)")
    row = replace(
        obfuscated.rows[0],
        meta={"domain_pddl": text, "problem_pddl": IPC_PROBLEM.replace("a b - block", "a - block b - red")},
    )
    assert renaming_to_known(row.domain) is not None
    assert in_known_domain(row) == (row, {})


def test_only_a_small_planners_prompts_are_told_in_known_words(obfuscated: RowTable) -> None:
    row = obfuscated.rows[0]
    for style in ("full", "compact_by_name"):
        assert in_asked_words(row, style, match_domains=True) == (row, Words())
    assert in_known_domain(row) != (row, {})
    plain = read_rows(ROOT / "data" / "test", ["ferry"]).rows[0]
    assert in_known_domain(plain) == (plain, {})


def test_solve_prints_the_plan_in_the_words_of_the_users_files(tmp_path: Path, stand_in: Any, capsys: Any) -> None:
    spec = importlib.util.spec_from_file_location("solve_script", ROOT / "script" / "solve.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    domain, problem = tmp_path / "domain.pddl", tmp_path / "problem.pddl"
    domain.write_text(IPC_BLOCKS, encoding="utf-8")
    problem.write_text(IPC_PROBLEM, encoding="utf-8")
    asked: list[str] = []

    def behave(number: int, body: dict[str, Any], headers: Any) -> Any:
        asked.append(body["messages"][-1]["content"])
        names = [word for word in dict.fromkeys(asked[-1].split()) if word in all_domains()["blocksworld"].object_names]
        above, below = names if number == 1 else reversed(names)  # which is which decides one of the two answers
        plan = f"(unstack {above} {below})\n(putdown {above})\n(pickup {below})\n(stack {below} {above})\n"
        return 200, {}, {"choices": [{"message": {"content": plan}, "finish_reason": "stop"}], "usage": {}}

    how = [
        "--base_url",
        stand_in(behave).url,
        "--model",
        "m",
        "--prompt_style",
        "compact",
        "--best_of",
        "2",
        "--temperature",
        "1",
    ]
    assert module.main([str(domain), str(problem), *how]) == 0
    assert "(unstack a b)\n(put-down a)\n(pick-up b)\n(stack b a)" in capsys.readouterr().out
    assert "arm-empty" in asked[0] and "handempty" not in asked[0]
