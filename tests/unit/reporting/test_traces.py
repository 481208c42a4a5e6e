"""A replayed plan shows the states that the validator went through, and stops where it stopped."""

from __future__ import annotations

import pytest

from grpo_project.data.rows import read_rows
from grpo_project.pddl import compile_task, parse_domain, parse_problem, validate_text
from grpo_project.prompting import render_plan
from grpo_project.reporting import read_run
from grpo_project.reporting.traces import LONGEST_TRACE, TRACES_PER_DOMAIN, run_traces, trace
from tests.report_runs import DOMAINS, HOSTILE, search, spoiled


def states_of(found):
    """As the page does it: the first state, and what each step added and took away."""
    state = set(found["initial"])
    states = [frozenset(state)]
    for added, deleted in found["changes"]:
        assert not set(added) & state and set(deleted) <= state
        state = state - set(deleted) | set(added)
        states.append(frozenset(state))
    return states


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_plan_that_succeeds_ends_where_its_goals_hold(problems, domain):
    table = read_rows(problems, [domain])
    for index in range(3):
        task = table.task(index)
        plan = render_plan([tuple(step) for step in search(table, index)])
        found = trace(task, plan)
        assert found["verdict"]["class"] == "success_plans"
        assert len(found["changes"]) == len(found["steps"]) == found["verdict"]["steps_total"] > 0
        last = states_of(found)[-1] | {f"({' '.join(atom)})" for atom in found["static"]}
        assert set(found["goal"]) <= last
        assert set(found["goals_met"][-1]) == {"1"} and "0" in found["goals_met"][0]


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_plan_that_fails_stops_before_the_step_whose_literal_is_named(problems, domain):
    table = read_rows(problems, [domain])
    failed = 0
    for index in range(3):
        task = table.task(index)
        text = spoiled(search(table, index), 1)
        found, verdict = trace(task, text), validate_text(task, text)
        if verdict.verdict_class != "precondition_violation":
            continue
        failed += 1
        assert len(found["changes"]) == found["verdict"]["failing_step"] - 1 == verdict.failing_step - 1
        assert found["verdict"]["unmet"] == list(verdict.unmet) != []
        held = states_of(found)[-1] | {f"({' '.join(atom)})" for atom in found["static"]}
        for literal in found["verdict"]["unmet"]:
            negated = literal.startswith("(not ")
            assert (literal[5:-1] in held) if negated else (literal not in held)
    assert failed, "no spoiled plan of this domain failed on a precondition: choose others"


def test_text_that_is_no_plan_has_no_steps_to_show(problems):
    found = trace(read_rows(problems, ["ferry"]).task(0), HOSTILE)
    assert found["verdict"]["class"] == "plan_format_error"
    assert found["changes"] == []


def test_an_endless_plan_is_cut_for_the_page_but_verified_whole(problems):
    table = read_rows(problems, ["ferry"])
    task = table.task(0)
    start = next(atom[1] for atom in task.atoms_of(task.initial) if atom[0] == "at-ferry")
    other = next(atom[1] for atom in task.atoms_of(task.initial) if atom[0] == "location" and atom[1] != start)
    there_and_back = f"(sail {start} {other})\n(sail {other} {start})\n"
    found = trace(task, there_and_back * LONGEST_TRACE)
    assert found["verdict"]["steps_executed"] == 2 * LONGEST_TRACE
    assert len(found["changes"]) == LONGEST_TRACE


def test_numbers_and_conditional_effects_are_replayed_as_the_validator_runs_them():
    domain = parse_domain(
        """(define (domain walk) (:requirements :adl :numeric-fluents)
        (:predicates (lit) (seen) (far)) (:functions (way))
        (:action go :parameters () :precondition (< (way) 2) :effect (and (increase (way) 1) (when (lit) (seen))))
        (:action rest :parameters () :precondition (>= (way) 2) :effect (and (far) (not (lit)))))"""
    )
    problem = parse_problem("(define (problem p) (:domain walk) (:init (lit) (= (way) 0)) (:goal (and (seen) (far))))", domain)
    text = "(go)\n(go)\n(rest)\n(go)\n"
    found = trace(compile_task(domain, problem), text)
    assert found["changes"] == [[["(seen)"], []], [[], []], [["(far)"], ["(lit)"]]]
    assert found["verdict"]["failing_step"] == 4


def test_a_run_shows_samples_of_every_domain_and_held_out_answers_of_every_verdict(finished_run):
    traces, notes = run_traces(read_run(finished_run.path))
    assert notes == []
    assert {made["domain"] for made in traces} == set(DOMAINS)
    assert {made["source"] for made in traces} == {"training", "held-out, before", "held-out, after"}
    for made in traces:
        assert made["recorded_verdict"] == made["verdict"]["class"]
    assert len([made for made in traces if made["domain"] == "ferry" and made["source"] == "training"]) <= TRACES_PER_DOMAIN


def test_what_cannot_be_replayed_is_told(make_run):
    path = make_run().path
    log = path / "completions.jsonl"
    log.write_text(log.read_text().replace("(:goal", "(:gaol"), encoding="utf-8")
    (path / "resolved_config.json").write_text('{"settings": {}, "held_out": "nowhere/at/all"}')
    traces, notes = run_traces(read_run(path))
    assert traces == []
    assert any("could not be replayed" in note for note in notes)
    assert any("nowhere/at/all" in note for note in notes)
