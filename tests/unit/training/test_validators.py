"""Training with --validator val and both: who decides a reward, and what a disagreement leaves behind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grpo_project.configs.reward import RewardConfig
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import BackendMissing
from grpo_project.pddl import Task, compile_task, parse_domain, parse_problem, validate_text
from grpo_project.rewards import make_reward_function
from grpo_project.rewards.verifier import make_verifier
from grpo_project.training.launch import starting_point

# A strict comparison of equal numbers: it holds for VAL and not here (pddl/deviations.py).
DOMAIN = """(define (domain lift) (:requirements :fluents) (:predicates (up)) (:functions (load))
  (:action raise :parameters () :precondition (> (load) 1) :effect (up))
  (:action push :parameters () :precondition (>= (load) 1) :effect (up)))"""
PROBLEM = "(define (problem heavy) (:domain lift) (:init (= (load) 1)) (:goal (up)))"


@pytest.fixture
def task() -> Task:
    domain = parse_domain(DOMAIN)
    return compile_task(domain, parse_problem(PROBLEM, domain))


def reward_of(task: Task, verify: Any, completions: list[str]) -> list[float]:
    table = SimpleNamespace(task=lambda row_index: task)
    reward = make_reward_function(table, RewardConfig(), None, verify)
    return reward(prompts=None, completions=completions, row_index=[0] * len(completions))


def test_both_reports_each_disagreement_once_with_all_it_takes_to_repeat_it(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    completions = ["(push)", "(raise)", "(raise)", "Hello.", "(push) (raise)"]
    verify = make_verifier("both", tmp_path, print)
    rewards = reward_of(task, verify, completions)
    assert rewards == reward_of(task, validate_text, completions)  # the builtin verdict decides
    assert rewards[0] == 1.0 and max(rewards[1:]) < 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    folders = sorted((tmp_path / "disagreements").iterdir())
    assert len(told) == len(folders) == 2  # (raise) came twice
    assert "builtin says precondition_violation at 1, VAL says success_plans at None" in told[0]
    assert all(any(str(folder) in line for line in told) for folder in folders)
    for folder in folders:
        files = {path.name: path.read_text() for path in folder.iterdir()}
        assert set(files) == {"domain.pddl", "problem.pddl", "plan.txt", "val_output.txt", "verdicts.txt"}
        domain = parse_domain(files["domain.pddl"])
        again = validate_text(compile_task(domain, parse_problem(files["problem.pddl"], domain)), files["plan.txt"])
        assert again.verdict_class in files["verdicts.txt"]
        assert "Plan valid" in files["val_output.txt"]


def test_both_says_nothing_where_both_agree(task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reward_of(task, make_verifier("both", tmp_path, print), ["(push)", "", "(fly)", "Hello."])
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "disagreements").exists()


def test_val_decides_where_it_is_the_validator(task: Task, tmp_path: Path) -> None:
    assert reward_of(task, make_verifier("val", tmp_path, print), ["(raise)", "(push)"]) == [1.0, 1.0]
    assert make_verifier("builtin", tmp_path, print) is validate_text


# Two foralls over constraints, one in the other, with anything beside the inner one: VAL dies of them.
NESTED = """(define (problem nested) (:domain lift) (:init (= (load) 1)) (:goal (up)) (:constraints
  (forall (?x) (and (forall (?y) (sometime (or (up) (= ?x ?y)))) (at-most-once (= ?x ?x))))) (:objects a b))"""


@pytest.mark.parametrize("validator", ["val", "both"])
def test_where_val_dies_the_builtin_validator_decides_and_it_is_counted(
    validator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    domain = parse_domain(DOMAIN)
    task = compile_task(domain, parse_problem(NESTED, domain))
    completions = ["(push)", "(raise)", "(push)\n(push)", "", "(fly)", "no plan", *("(push)\n" * n for n in range(3, 10))]
    assert reward_of(task, make_verifier(validator, tmp_path, print), completions) == reward_of(task, validate_text, completions)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: VAL (")]
    folders = sorted((tmp_path / "val_failures").iterdir())
    assert len(told) == len(folders) == 2
    assert "problem 'nested' of domain 'lift': it died of signal" in told[0] and "(10 plans so far)" in told[1]
    assert not (tmp_path / "disagreements").exists()
    assert {path.name for path in folders[0].iterdir()} == {"domain.pddl", "problem.pddl", "plan.txt", "val_output.txt"}


@pytest.mark.parametrize("validator", ["val", "both"])
def test_a_missing_val_is_found_before_anything_is_loaded(
    validator: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAL_BINARY", str(tmp_path / "none"))
    data = repository / "data"
    paths = {"base_model": str(data / "models" / "tiny-planner"), "data_root": str(data / "four_domain")}
    config = TrainingConfig(**paths, output_dir=str(tmp_path / "run"), validator=validator)
    with pytest.raises(BackendMissing, match="VAL_BINARY names"):
        starting_point(config)
