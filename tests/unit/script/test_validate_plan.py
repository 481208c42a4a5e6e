"""The hand tool: verdict and exit status."""

import importlib.util
import io
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LAMPS = ROOT / "tests" / "golden" / "lamps"


@pytest.fixture(scope="module")
def main():
    spec = importlib.util.spec_from_file_location("validate_plan", ROOT / "script" / "validate_plan.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("(switch-on a)\n(switch-on b)\n", 0, "success_plans"),
        ("(switch-on b)\n(switch-on a)\n", 1, "safety_constraints_violation"),
        ("(switch-on a)\n", 1, "goal_not_satisfied"),
        ("(switch-on a)\n(switch-on a)\n", 1, "precondition_violation"),
        ("hello", 1, "plan_format_error"),
    ],
)
def test_verdicts(main, tmp_path, capsys, text, status, words):
    plan = tmp_path / "plan.txt"
    plan.write_text(text)
    assert main([str(LAMPS / "domain.pddl"), str(LAMPS / "problem.pddl"), str(plan)]) == status
    assert capsys.readouterr().out.startswith(words)


def test_byte_order_marks_are_no_part_of_domain_problem_and_plan(main, tmp_path, capsys):
    marked = []
    for name in ("domain.pddl", "problem.pddl", "plan.txt"):
        (tmp_path / name).write_text((LAMPS / name).read_text(encoding="utf-8"), encoding="utf-8-sig")
        marked.append(str(tmp_path / name))
    assert main(marked) == 0
    assert capsys.readouterr().out.startswith("success_plans")


DOMAIN, PROBLEM = str(LAMPS / "domain.pddl"), str(LAMPS / "problem.pddl")


def test_bad_input_is_one_line(main, tmp_path, capsys):
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"(switch-on \xe4)")
    broken = tmp_path / "broken.pddl"
    broken.write_text("(define (domain lamps)\n (:predicates (lit ?x)\n")
    good = str(LAMPS / "plan.txt")
    for arguments, words in (
        ([str(tmp_path / "no.pddl"), PROBLEM, good], "no.pddl cannot be read"),
        ([DOMAIN, PROBLEM, good, str(tmp_path / "no.txt")], "no.txt cannot be read"),
        ([DOMAIN, PROBLEM, str(latin)], "is not UTF-8 at byte"),
        ([str(broken), PROBLEM, good], "broken.pddl:2:2: this bracket is never closed"),
        ([DOMAIN, PROBLEM, "-", "-"], "only once"),
        ([DOMAIN, str(tmp_path), good], "cannot be read"),
    ):
        assert main(arguments) == 2
        shown = capsys.readouterr()
        assert shown.err.count("\n") == 1
        assert words in shown.err
        assert shown.out == ""  # no verdict before all input was read


def test_many_plans_give_one_json_line_each_in_order(main, tmp_path, capsys, monkeypatch):
    plans = {
        "good": "(switch-on a)\n(switch-on b)",
        "late": "(switch-on b)\n(switch-on a)",
        "half": "(switch-on a)",
        "bad": "Hm.",
    }
    plans["twice"] = "(switch-on a)\n(switch-on a)"
    for name, text in plans.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main([DOMAIN, PROBLEM, *plans, "--json"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["plan"], row["verdict"], row["valid"], row["step"]) for row in rows] == [
        ("good", "success_plans", True, None),
        ("late", "safety_constraints_violation", False, 1),
        ("half", "goal_not_satisfied", False, None),
        ("bad", "plan_format_error", False, None),
        ("twice", "precondition_violation", False, 2),
    ]
    assert main([DOMAIN, PROBLEM, "good", "good"]) == 0


def test_standard_input_and_explanation(main, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"(switch-on a)\n(switch-on a)\n")))
    assert main([DOMAIN, PROBLEM, "-", "--explain"]) == 1
    shown = capsys.readouterr().out
    assert "Step 2 (switch-on a) cannot run in state 1. It needs: (not (lit a))" in shown
    assert "step 1 (switch-on a): + (lit a)" in shown
    assert "state 1: (lit a)" in shown


@pytest.mark.parametrize("validator", ["val", "both"])
def test_val_as_verifier_and_as_second_opinion(main, tmp_path, capsys, monkeypatch, validator):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "late").write_text("(switch-on b)\n(switch-on a)\n(switch-on a)")
    assert main([DOMAIN, PROBLEM, str(LAMPS / "plan.txt"), "late", "--json", "--validator", validator]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["verdict"], row["step"]) for row in rows] == [("success_plans", None), ("safety_constraints_violation", 1)]
    assert not (tmp_path / "disagreements").exists()


def test_a_disagreement_is_reported_with_all_it_takes_to_see_it_again(main, tmp_path, capsys):
    """VAL lets a strict comparison hold of equal numbers."""
    (tmp_path / "d").write_text(
        "(define (domain n) (:requirements :fluents) (:predicates (q)) (:functions (f))"
        "(:action go :parameters () :precondition (> (f) 1) :effect (q)))"
    )
    (tmp_path / "p").write_text("(define (problem n1) (:domain n) (:init (= (f) 1)) (:goal (q)))")
    (tmp_path / "plan").write_text("(go)")
    names = [str(tmp_path / name) for name in ("d", "p", "plan")]
    assert main([*names, "--validator", "both", "--disagreements", str(tmp_path / "out")]) == 1
    assert "builtin says precondition_violation at 1, VAL says success_plans at None" in capsys.readouterr().err
    (folder,) = (tmp_path / "out").iterdir()
    assert main([str(folder / name) for name in ("domain.pddl", "problem.pddl", "plan.txt")]) == 1
    assert "Plan valid" in (folder / "val_output.txt").read_text()
    assert main([*names, "--validator", "val"]) == 0


@pytest.mark.parametrize("validator", ["val", "both"])
def test_what_val_cannot_read_is_an_error_that_names_val_and_the_files(main, tmp_path, capsys, validator):
    """VAL lets nothing stand for `object` where the domain does not write it behind its types."""
    (tmp_path / "d").write_text(
        "(define (domain n) (:types lamp) (:predicates (seen ?o - object))"
        "(:action see :parameters (?o - object) :precondition (not (seen ?o)) :effect (seen ?o)))"
    )
    (tmp_path / "p").write_text("(define (problem n1) (:domain n) (:objects a - lamp) (:init) (:goal (seen a)))")
    (tmp_path / "plan").write_text("(see a)")
    names = [str(tmp_path / name) for name in ("d", "p", "plan")]
    assert main([*names, "--validator", validator]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: " + ", ".join(names) + ": VAL (") and shown.err.count("\n") == 1
    assert "gives no verdict on a plan of 1 steps" in shown.err and "it says" in shown.err and shown.out == ""
    assert main(names) == 0


def test_a_missing_or_slow_val_is_one_clear_line(main, tmp_path, capsys, monkeypatch):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nsleep 5\n")
    slow.chmod(0o755)
    plan = [DOMAIN, PROBLEM, str(LAMPS / "plan.txt"), "--validator", "both", "--timeout_seconds", "0.2"]
    for binary, words in ((str(slow), "longer than 0.2 s"), (str(tmp_path / "none"), "which is no program")):
        monkeypatch.setenv("VAL_BINARY", binary)
        assert main(plan) == 2
        shown = capsys.readouterr().err
        assert words in shown
        assert shown.count("\n") == 1
