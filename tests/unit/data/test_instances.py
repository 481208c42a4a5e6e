"""Registry, parameters and numbered instances."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from grpo_project.data.instances import SPLITS, generate_instance, reference_plan, split_of
from grpo_project.domains import all_domains, get_domain
from grpo_project.domains.base import bits, first_drawn, goal_atoms
from grpo_project.errors import ConfigError, GrpoProjectError
from grpo_project.pddl import compile_task, parse_domain, parse_problem
from grpo_project.pddl.model import And, Literal, Not

NAMES = sorted(all_domains())


def test_an_unknown_domain_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(GrpoProjectError, match="'chess'.*blocksworld.*spanner"):
        get_domain("chess")


@pytest.mark.parametrize(
    ("name", "file_name", "parameters", "score"),
    [
        ("blocksworld", "bw_ops3_n4_seed200074.pddl", {"ops": 3, "n": 4, "seed": 200074}, 20),
        ("ferry", "ferry-l4-c2-s122320450.pddl", {"l": 4, "c": 2, "seed": 122320450}, 26),
        ("grippers", "grippers-n1-r4-o3-s299249445.pddl", {"n": 1, "r": 4, "o": 3, "seed": 299249445}, 23),
        ("spanner", "spanner-s3-n2-l4-s1595284416.pddl", {"s": 3, "n": 2, "l": 4, "seed": 1595284416}, 28),
        ("delivery", "delivery-s3-p2-seed1179514078.pddl", {"s": 3, "p": 2, "seed": 1179514078}, 19),
    ],
)
def test_published_names_and_scores(name: str, file_name: str, parameters: dict[str, int], score: float) -> None:
    domain = get_domain(name)
    assert domain.parameters_of(file_name) == parameters
    assert domain.parameters_of(f"C:\\data\\{file_name}") == parameters
    assert domain.difficulty(parameters) == score
    assert domain.file_name(parameters, parameters["seed"]) == file_name
    for other in NAMES:
        if other != name:
            assert get_domain(other).parameters_of(file_name) is None


@pytest.mark.parametrize("name", NAMES)
def test_an_instance_is_a_pure_function_of_its_arguments(name: str) -> None:
    domain = get_domain(name)
    sizes = domain.sizes["train"]
    first = [generate_instance(domain, 3, index, sizes, 0.5) for index in range(20)]
    assert [generate_instance(domain, 3, index, sizes, 0.5) for index in reversed(range(20))] == first[::-1]
    other_seed = [generate_instance(domain, 4, index, sizes, 0.5) for index in range(20)]
    assert not {i.file_name for i in first} & {i.file_name for i in other_seed}
    # A stream is not another one shifted: seed 3 number 1 is not seed 4 number 0.
    assert sum(a.problem == b.problem for a, b in zip(first[1:], other_seed, strict=False)) <= 2


@pytest.mark.parametrize("name", NAMES)
def test_a_problem_is_called_like_its_file(name: str) -> None:
    domain = get_domain(name)
    instance = generate_instance(domain, 3, 0, domain.sizes["train"], 0.0)
    assert f"{instance.problem.name}.pddl" == instance.file_name


@pytest.mark.parametrize("name", NAMES)
def test_splits_depend_on_the_form_alone_and_both_occur(name: str) -> None:
    domain = get_domain(name)
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    for seed in (1, 2):
        for index in range(150):
            instance = generate_instance(domain, seed, index, domain.sizes["train"], 0.5)
            assert instance.split == split_of(instance.canonical)
            found[instance.split].add(instance.canonical)
    assert not found["train"] & found["test"]
    assert len(found["test"]) >= 20 and len(found["train"]) >= 2 * len(found["test"])


def test_the_share_of_constraints_is_kept() -> None:
    domain = get_domain("ferry")
    constrained = sum(
        generate_instance(domain, 1, index, domain.sizes["train"], 0.3).problem.constraints is not None for index in range(500)
    )
    assert 110 <= constrained <= 190  # 150 expected, standard deviation 10


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("spanner", {"s": (2, 2), "n": (3, 3), "l": (3, 3)}),
        ("grippers", {"n": (1, 1), "r": (1, 1), "o": (2, 2)}),
        ("delivery", {"s": (1, 1), "p": (1, 1)}),
        ("ferry", {"l": (1, 1), "c": (1, 1)}),
        ("blocksworld", {"ops": (3, 3), "n": (1, 1)}),
        ("ferry", {"l": (2, 2), "c": (1, 1)}),  # no third place for a constraint to ask for
    ],
)
def test_sizes_without_problems_are_an_error_and_no_endless_loop(name: str, sizes: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(ConfigError, match=name):
        generate_instance(get_domain(name), 1, 0, sizes, 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_ties_are_broken_by_the_instance_s_own_stream(name: str) -> None:
    domain = get_domain(name)
    differing = 0
    # The largest: small problems often have one shortest plan only.
    sizes = {parameter: (high, high) for parameter, (_, high) in domain.sizes["train"].items()}
    for index in range(20):
        instance = generate_instance(domain, 3, index, sizes, 0.5)
        fixed, random_ = (reference_plan(domain, instance, 50_000, ties) for ties in (False, True))
        assert reference_plan(domain, instance, 50_000, True).steps == random_.steps
        assert fixed.cost == random_.cost
        differing += fixed.steps != random_.steps
    assert differing >= 3


def test_goals_of_blocksworld_are_written_in_both_published_ways() -> None:
    domain = get_domain("blocksworld")
    for ops in (3, 4):
        on_table = 0
        for index in range(30):
            problem = generate_instance(domain, 3, index, {"ops": (ops, ops), "n": (5, 5)}, 0.5).problem
            atoms = goal_atoms(problem.goal)
            assert any(atom[0] == "on" for atom in atoms)
            on_table += any(atom[0] == "on-table" for atom in atoms)
            if ops == 3:
                assert len(atoms) == 5
        assert on_table == (30 if ops == 3 else 0)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("blocksworld", ("holding", "b1")),
        ("ferry", ("on", "c0")),
        ("delivery", ("carrying", "t1", "p1")),
    ],
)
def test_a_start_that_holds_more_than_the_domain_allows_gets_no_heuristic(name: str, extra: tuple[str, ...]) -> None:
    """The bounds rest on one thing being held at a time; a hand-written start can break that."""
    domain = get_domain(name)
    problem = generate_instance(domain, 3, 0, domain.sizes["train"], 0.0).problem
    assert domain.heuristic(compile_task(domain.domain, problem)) is not None
    assert domain.heuristic(compile_task(domain.domain, replace(problem, init=problem.init | {extra}))) is None


def test_a_delivery_problem_with_a_short_cut_gets_no_heuristic() -> None:
    domain = get_domain("delivery")
    problem = generate_instance(domain, 3, 0, {"s": (3, 3), "p": (1, 1)}, 0.0).problem
    tunnel = replace(problem, init=problem.init | {("adjacent", "c_0_0", "c_2_2")})
    assert domain.heuristic(compile_task(domain.domain, tunnel)) is None


def test_helpers() -> None:
    assert bits(0b10110) == [0b10, 0b100, 0b10000]
    assert goal_atoms(And((Literal(("a",)), Not(Literal(("b",))), And((Literal(("c", "x")),))))) == (("a",), ("c", "x"))
    domain = parse_domain("(define (domain d) (:predicates (p)))")
    problem = parse_problem("(define (problem p) (:domain d) (:init) (:goal (p)))", domain)
    rng = random.Random(1)
    assert first_drawn(lambda: problem if rng.random() < 0.2 else None, "d") is problem
    with pytest.raises(ConfigError, match="of tiny"):
        first_drawn(lambda: None, "tiny")
