"""The shipped test sets measure what they say: enough problems, none that training could have seen, all solvable.

After a change of data/test or of a generator, `make data` makes them again.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from shipped_domains import HELD_OUT, TRAINED

from grpo_project.data.instances import split_of
from grpo_project.data.obfuscated import renaming_of
from grpo_project.data.rows import Row, RowTable, read_rows
from grpo_project.domains import get_domain
from grpo_project.pddl import compile_task, render_domain, validate_text
from grpo_project.pddl.canonical import canonical_form
from grpo_project.pddl.renaming import FIXED
from tests.renamings import inverse_of

DATA = Path(__file__).resolve().parents[2] / "data"
SETS = {
    "test": TRAINED,
    "test_renamed": TRAINED,
    "test_harder": TRAINED,
    "test_far": TRAINED,
    "test_unconstrained": TRAINED,
    "test_obfuscated": TRAINED,
    "test_held_out_domain": HELD_OUT,
}
CASES = [(name, domain) for name, domains in SETS.items() for domain in domains]


@cache
def table(name: str, domain: str) -> RowTable:
    return read_rows(DATA / name, [domain], "error")


@cache
def training_forms(domain: str) -> frozenset[str]:
    if not (DATA / "four_domain" / f"{domain}.jsonl").exists():
        return frozenset()
    return frozenset(canonical_form(row.domain, row.problem) for row in table("four_domain", domain).rows)


@cache
def original_rows(domain: str) -> dict[str, Row]:
    return {row.problem_file: row for row in table("test", domain).rows}


def form_of(row: Row) -> str:
    """The canonical form in the domain's own names: an obfuscated row's is its original's, whose names it was made from."""
    if "domain_pddl" in row.meta:
        row = original_rows(row.scenario)[row.problem_file]
    return canonical_form(row.domain, row.problem)


@pytest.mark.parametrize(("name", "domain"), CASES)
def test_two_hundred_different_problems_of_the_test_split_and_none_of_training(name: str, domain: str) -> None:
    rows = table(name, domain).rows
    forms = {form_of(row) for row in rows}
    assert len(forms) == len(rows) >= 200
    assert {split_of(form) for form in forms} == {"test"}
    assert all(row.meta["canonical"] == form_of(row) for row in rows[:20])
    assert not forms & training_forms(domain)
    if domain in ("blocksworld", "ferry", "grippers", "spanner"):
        assert len(training_forms(domain)) >= 400  # the comparison was with something


@pytest.mark.parametrize(("name", "domain"), CASES)
def test_the_reference_plans_solve_them_at_the_stated_cost(name: str, domain: str) -> None:
    rows = table(name, domain).rows
    for row in rows[::5]:
        verdict = validate_text(compile_task(row.domain, row.problem), row.response or "")
        assert verdict.success and verdict.plan_cost == row.meta["reference_cost"], row.source


@pytest.mark.parametrize(("name", "domain"), CASES)
def test_constraints_are_where_the_set_says(name: str, domain: str) -> None:
    rows = table(name, domain).rows
    constrained = sum(row.problem.constraints is not None for row in rows)
    if name == "test_unconstrained":
        assert constrained == 0
    elif name == "test_held_out_domain":
        assert 0.4 * len(rows) < constrained < 0.6 * len(rows)
    else:
        assert constrained == len(rows)


@pytest.mark.parametrize(("name", "beyond"), [("test_harder", "train"), ("test_far", "harder")])
def test_harder_problems_are_larger_than_all_that_training_draws_and_far_ones_than_those(name: str, beyond: str) -> None:
    for domain in TRAINED:
        sizes = get_domain(domain).sizes[beyond]
        for row in table(name, domain).rows:
            assert any(row.meta["parameters"][size] > high for size, (_, high) in sizes.items()), row.source


@pytest.mark.parametrize("domain", TRAINED)
def test_renamed_problems_are_those_of_the_test_set_under_other_names_and_in_another_order(domain: str) -> None:
    rows = table("test_renamed", domain).rows
    assert {row.problem_file for row in rows} == set(original_rows(domain))
    vocabulary = set(get_domain(domain).object_names)
    invented = 0
    for row in rows:
        original = original_rows(domain)[row.problem_file]
        assert form_of(row) == form_of(original)
        assert list(row.problem.objects) != list(original.problem.objects), row.source
        invented += not vocabulary & set(row.problem.objects)
    assert 0.15 < invented / len(rows) < 0.35


@pytest.mark.parametrize("domain", TRAINED)
def test_obfuscated_problems_are_those_of_the_test_set_without_one_of_their_words(domain: str) -> None:
    seed = json.loads((DATA / "test_obfuscated" / "manifest.json").read_text(encoding="utf-8"))["arguments"]["seed"]
    rows = table("test_obfuscated", domain).rows
    assert {row.problem_file for row in rows} == set(original_rows(domain))
    for row in rows[::4]:
        original = original_rows(domain)[row.problem_file]
        back = inverse_of(renaming_of(original, seed), original.domain.name)
        assert back.domain(row.domain) == original.domain, f"{row.source}: run make data"
        assert back.problem(row.problem, original.problem.name) == original.problem, f"{row.source}: run make data"
        shown = set(row.prompt.split("Domain:")[1].replace("(", " ").replace(")", " ").split())
        words = {domain, original.domain.name, original.problem.name, *original.problem.objects, *original.domain.types}
        words |= {*original.domain.predicates, *original.domain.actions}
        assert shown & (words - FIXED) == set(), row.source
        assert render_domain(row.domain) in row.prompt or row.domain_text in row.prompt


def test_each_obfuscated_problem_has_names_of_its_own() -> None:
    texts = {row.domain_text for row in table("test_obfuscated", "blocksworld").rows}
    assert len(texts) == len(table("test_obfuscated", "blocksworld").rows)


def test_the_held_out_domain_is_in_no_training_data() -> None:
    assert get_domain("elevator").held_out
    assert not (DATA / "four_domain" / "elevator.jsonl").exists()
