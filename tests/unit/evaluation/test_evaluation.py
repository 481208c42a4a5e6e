"""Evaluation counts what really happened, and the planner is the ceiling."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from grpo_project.data.asked_words import table_in_asked_words
from grpo_project.data.rows import Row, RowTable, read_rows
from grpo_project.errors import DataError
from grpo_project.evaluation import EvaluationResult, comparison_table, evaluate, planner_completions
from grpo_project.evaluation.answers import Answer, Key
from grpo_project.evaluation.comparison import compare
from grpo_project.evaluation.evaluate import constraint_kind, count_usage, verify_answers
from grpo_project.evaluation.report import print_result, repair_table, success_table
from grpo_project.evaluation.rescoring import read_saved, rescore
from grpo_project.evaluation.results import ProblemResult, SampleResult, read_result
from grpo_project.pddl.model import (
    ConstraintAnd,
    ConstraintForall,
    ConstraintPreference,
    Literal,
    TrajectoryConstraint,
    TypedName,
)


def test_the_kind_of_a_constraint_is_its_operators_and_whether_it_may_be_violated():
    before = TrajectoryConstraint("sometime-before", (Literal(("p",)), Literal(("q",))))
    always = TrajectoryConstraint("always", (Literal(("p",)),))
    assert constraint_kind(None) == "none" and constraint_kind(before) == "sometime-before"
    everywhere = ConstraintForall((TypedName("?x", "object"),), always)
    assert constraint_kind(ConstraintAnd((before, everywhere))) == "always+sometime-before"
    assert constraint_kind(ConstraintAnd((before, ConstraintPreference("soft", always)))) == "always+preference+sometime-before"


@pytest.fixture
def rows(make_data_root):
    return read_rows(make_data_root(domains=("ferry", "spanner"), count=6))


def test_the_planner_solves_everything_and_silence_nothing(rows):
    indices = list(range(len(rows)))
    best = evaluate(rows, indices, lambda _: planner_completions(rows, indices))
    assert best.counts() == (12, 12)
    assert best.average() == 1.0
    silent = evaluate(rows, indices, lambda chosen: [""] * len(chosen))
    assert silent.counts() == (0, 12)
    assert silent.verdicts("ferry") == {"goal_not_satisfied": 6}
    assert "100.0%" in success_table(best) and "6/6" in success_table(best)
    assert "+100.0" in comparison_table(silent, best)


def test_a_result_survives_json(rows):
    result = evaluate(rows, [0, 7], lambda chosen: ["nonsense"] * len(chosen), "x")
    assert EvaluationResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_wrong_number_of_answers_is_refused(rows):
    with pytest.raises(ValueError, match="2 problems got 1 answers"):
        evaluate(rows, [0, 1], lambda _: ["x"])


def test_the_average_counts_every_domain_once(rows):
    answers = planner_completions(rows, [0, 6, 7])
    result = evaluate(rows, [0, 6, 7], lambda _: [answers[0], "", ""])
    assert result.average() == 0.5


def answers_with_samples(rows, indices, solved):
    """The planner's plan where (index, sample) is in `solved`, silence elsewhere; samples 0..4."""
    plans = dict(zip(indices, planner_completions(rows, indices), strict=True))
    return {
        Key(index, sample): Answer(plans[index] if (index, sample) in solved else "", 10, 2, 0.25, False)
        for index in indices
        for sample in range(5)
    }


def test_samples_count_for_pass_at_k_and_the_greedy_answer_for_success(rows):
    answers = answers_with_samples(rows, [0, 1], {(0, 0), (0, 1), (1, 2), (1, 3)})
    result = verify_answers(rows, [0, 1], answers, 4, seconds=1.0, settings={"k": [1, 2, 4]})
    assert result.counts() == (1, 2)
    assert [problem.pass_at(2) for problem in result.problems] == [pytest.approx(1 / 2), pytest.approx(5 / 6)]
    summary = result.to_json()["domains"]["ferry"]
    assert summary["pass@1"]["value"] == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert summary["pass@4"]["value"] == 1.0 and "pass@8" not in summary
    assert summary["completion_tokens"] == 2 and summary["seconds_per_problem"] == 0.25
    assert EvaluationResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_tokens_and_costs_are_summed_over_all_answers_or_not_stated(rows):
    answers = answers_with_samples(rows, [0, 1], set())
    usage = count_usage(answers, (1.0, 10.0))
    assert (usage["answers"], usage["prompt_tokens"], usage["completion_tokens"]) == (10, 100, 20)
    assert usage["cost"] == pytest.approx((100 * 1 + 20 * 10) / 1e6)
    answers[Key(0)] = Answer("")
    usage = count_usage(answers, (1.0, 10.0))
    assert usage["prompt_tokens"] is None and usage["cost"] is None


def test_a_longer_plan_costs_more_than_the_reference(repository):
    table_ = read_rows(repository / "data" / "test_unconstrained", ["ferry"])
    index = next(i for i, row in enumerate(table_.rows) if row.response.startswith("(sail"))
    lines = table_.rows[index].response.splitlines()
    _, here, there = lines[0].strip("()").split()
    longer = "\n".join([f"(sail {here} {there})", f"(sail {there} {here})", *lines]) + "\n"
    result = evaluate(table_, [index], lambda _: [longer])
    (problem,) = result.problems
    assert problem.success and problem.cost_ratio == pytest.approx((len(lines) + 2) / len(lines))
    assert result.to_json()["domains"]["ferry"]["at_reference_cost"] == 0


def test_groups_split_by_difficulty_and_constraint_operators(repository):
    table_ = read_rows(repository / "data" / "test", ["spanner", "ferry"])
    indices = table_.indices_of("spanner")[:60] + table_.indices_of("ferry")[:30]
    result = evaluate(table_, indices, lambda chosen: [row.response for row in chosen])
    kinds = {key[0]: {k for d, _, k in result.groups() if d == key[0]} for key in result.groups()}
    assert kinds == {"spanner": {"at-most-once", "always+at-most-once"}, "ferry": {"sometime-before"}}
    assert sum(len(members) for members in result.groups().values()) == 90
    buckets = [key[1] for key in result.groups() if key[0] == "spanner" and key[2] == "at-most-once"]
    assert buckets == sorted(buckets, key=["easy", "medium", "hard"].index)


def test_the_planner_solves_obfuscated_problems_without_the_domains_heuristic(repository):
    table_ = read_rows(repository / "data" / "test_obfuscated")
    indices = [table_.indices_of(domain)[0] for domain in table_.domains]
    result = evaluate(table_, indices, lambda _: planner_completions(table_, indices))
    assert result.counts() == (5, 5)
    assert all(problem.cost_ratio == 1 for problem in result.problems)


def test_a_comparison_pairs_problems_and_not_positions(rows):
    indices = list(range(12))
    plans = planner_completions(rows, indices)
    first = evaluate(rows, indices, lambda _: [plan if i % 2 else "" for i, plan in enumerate(plans)], "A")
    second = evaluate(rows, indices[::-1], lambda _: [plans[i] if i > 2 else "" for i in indices[::-1]], "B")
    found = compare(first, second)
    # A solves 1 3 5 7 9 11, B solves 3..11.
    pairs = found.counts["all"]
    assert (pairs.both, pairs.only_first, pairs.only_second, pairs.neither) == (5, 1, 4, 2)
    assert pairs.difference == pytest.approx(3 / 12) and pairs.p_value == pytest.approx(2 * 6 / 32)
    assert sum(found.counts[domain].count for domain in ("ferry", "spanner")) == 12
    assert found.unpaired == 0
    part = evaluate(rows, [0, 1], lambda _: ["", ""], "C")
    assert compare(first, part).unpaired == 10


def test_a_problem_that_stands_three_times_is_one_pair(rows, capsys):
    thrice = RowTable(rows.origin, rows.domains, rows.rows * 3, (), "")
    plans = planner_completions(rows, range(12))

    def result(table, solved, name):
        answers = [plans[index % 12] if index % 12 in solved else "" for index in range(len(table))]
        return evaluate(table, range(len(table)), lambda _: answers, name)

    once = compare(result(rows, {0}, "A"), result(rows, set(range(9)), "B"))
    first, second = result(thrice, {0}, "A"), result(thrice, set(range(9)), "B")
    repeated = compare(first, second)
    assert repeated.counts == once.counts and once.counts["all"].p_value == pytest.approx(0.0078, rel=0.01)
    assert once.warnings == () and repeated.unpaired == 0
    counted = "24 of 36 pairs repeat a problem (equal up to names and order): each of the 12 different problems is counted once"
    assert repeated.warnings == (counted,)
    print_result(second)
    assert "warning: the 36 problems are 12 different ones" in capsys.readouterr().out
    unknown = [replace(found, problems=tuple(replace(p, canonical="") for p in found.problems)) for found in (first, second)]
    assert compare(*unknown).counts["all"].count == 36  # of before canonical forms were kept


def test_strategies_are_compared_on_different_problems(rows):
    twice = RowTable(rows.origin, rows.domains, rows.rows * 2, (), "")
    table_of = {}
    for table in (rows, twice):
        indices = list(range(len(table)))
        answers = answers_with_samples(table, indices, {(index, 1) for index in indices})
        result = verify_answers(table, indices, answers, 4, seconds=1.0, settings={"repair_turns": 1})
        table_of[table] = repair_table(result)
    assert table_of[rows] == table_of[twice] and "0.000488" in table_of[rows]


def test_results_without_a_common_problem_are_not_compared(rows):
    one, two = (evaluate(rows, [index], lambda _: [""], str(index)) for index in (0, 1))
    with pytest.raises(DataError, match="none is in both"):
        compare(one, two)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"problems": 3}', '{"name": "x", "seconds": 1, "problems": [{"domain": "ferry"}]}']
)
def test_a_file_that_is_no_result_is_refused_by_name(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"r\.json"):
        read_result(path)


@pytest.mark.parametrize(
    ("asked", "reported"), [([2, 4, 9], (2, 4)), ([], (1, 4)), (None, (1, 4)), ("4", (1, 4)), ([0, "4", 3], (3,))]
)
def test_pass_at_k_is_reported_for_what_was_asked_and_can_be(asked, reported):
    drawn = tuple(SampleResult("success_plans", 3.0, "") for _ in range(4))
    problem = ProblemResult("ferry", "a.pddl", "easy", False, "success_plans", 3.0, None, "", samples=drawn)
    assert EvaluationResult((problem,), 1.0, "x", {"k": asked}).ks() == reported


def test_results_of_before_are_still_read():
    problem = {"domain": "ferry", "problem_file": "a.pddl", "bucket": "easy", "constrained": True, "completion": "x"}
    problem |= {"verdict_class": "success_plans", "plan_cost": 3.0, "reference_cost": None}
    result = EvaluationResult.from_json({"name": "old", "seconds": 1.0, "problems": [problem]})
    assert result.counts() == (1, 1) and result.num_samples == 0
    assert result.to_json()["domains"]["ferry"]["cost_ratio"] is None


@pytest.mark.parametrize(
    ("data", "style", "match_domains"),
    [("test_obfuscated", "schemas", False), ("test_obfuscated", "compact", True), ("test_renamed", "compact", False)],
)
def test_a_model_that_is_asked_in_other_words_has_its_answers_in_the_problems_own(
    tmp_path: Path, data: str, style: str, match_domains: bool
) -> None:
    """So they can be verified again, and handed on."""
    root = Path(__file__).resolve().parents[3] / "data" / data
    table = table_in_asked_words(read_rows(root, ["blocksworld", "ferry"]), style, match_domains)
    indices = [index for name in table.domains for index in table.indices_of(name)[:8]]

    def every_second_one(rows: list[Row]) -> list[str]:
        assert any(row.problem != table.own.rows[index].problem for index, row in zip(indices, rows, strict=True))
        plans = [row.response or "" for row in rows]
        return [plan if number % 2 else "\n".join(plan.splitlines()[:-1]) for number, plan in enumerate(plans)]

    result = evaluate(table, indices, every_second_one)
    (tmp_path / "result.json").write_text(json.dumps(result.to_json()))
    saved = read_saved(str(tmp_path / "result.json"), str(root))
    for number, found in enumerate(rescore(saved)):
        assert found.verdict.verdict_class == found.answer.recorded_class
        assert found.verdict.success == bool(number % 2)
        assert found.answer.task.problem == table.own.rows[indices[number]].problem
