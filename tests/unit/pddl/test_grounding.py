"""Which steps a task has: the same as trying every combination, found within bounds."""

from itertools import product

import pytest
from naive_simulator import World
from random_exercises import exercises, seed_from_environment

from grpo_project.data.instances import generate_instance
from grpo_project.data.rows import read_rows
from grpo_project.domains import all_domains
from grpo_project.evaluation.evaluate import planner_answer
from grpo_project.pddl import GroundAction, compile_task, find_plan, grounding, parse_domain, parse_problem, validate_text
from grpo_project.pddl.grounding import TooLarge

CHAIN = 14  # atoms in a row, as in the organic-synthesis domains


def molecule(atoms: int):
    """A reaction over a chain of atoms: no bond is static, so that nothing rules a combination out."""
    names = [f"?x{number}" for number in range(CHAIN)]
    bonds = " ".join(f"(bond {a} {b})" for a, b in zip(names, names[1:], strict=False))
    domain = parse_domain(
        f"""(define (domain chemistry) (:predicates (bond ?a ?b)) (:action react :parameters ({" ".join(names)})
        :precondition (and {bonds}) :effect (not (bond ?x0 ?x1))))"""
    )
    objects = [f"c{number}" for number in range(atoms)]
    init = " ".join(f"(bond {a} {b})" for a, b in zip(objects, objects[1:], strict=False))
    text = f"(define (problem big) (:domain chemistry) (:objects {' '.join(objects)}) (:init {init}) (:goal (not (bond c0 c1))))"
    return compile_task(domain, parse_problem(text, domain)), f"(react {' '.join(objects[:CHAIN])})"


def test_the_same_steps_in_the_same_order_as_by_trying_everything():
    compared = 0
    for exercise, _ in zip(exercises(seed_from_environment() + 2, for_val=False), range(60), strict=False):
        domain = parse_domain(exercise.domain)
        task = compile_task(domain, parse_problem(exercise.problem, domain))
        world = World(exercise.domain, exercise.problem)
        expected = []
        for action in domain.actions.values():
            choices = [task.objects_of(parameter.type) for parameter in action.parameters]
            if len(world.objects) ** len(choices) > 20_000:
                break
            for arguments in product(*choices):
                ground = task.ground((action.name, *arguments))
                assert isinstance(ground, GroundAction)
                expected.append(ground)
        else:
            found = task.applicable_actions()
            kept = set(found)
            assert found == [action for action in expected if action in kept]
            # What was left out can run in no state that the random steps of the exercise reach.
            state, _ = task.start()
            assert not any(action.condition.holds(state) for action in expected if action not in kept)
            compared += len(found)
    assert compared > 300


def test_static_atoms_cut_a_join_that_no_product_would_survive():
    names = [f"?x{number}" for number in range(CHAIN)]
    pairs = " ".join(f"(next {a} {b})" for a, b in zip(names, names[1:], strict=False))
    domain = parse_domain(
        f"(define (domain d) (:predicates (next ?a ?b) (seen ?a)) (:action walk :parameters ({' '.join(reversed(names))})"
        f" :precondition (and {pairs} (not (= ?x0 c3))) :effect (seen ?x0)))".replace(
            "(:predicates", "(:constants c3) (:predicates"
        )
    )
    objects = [f"c{number}" for number in range(100)]
    init = " ".join(f"(next {a} {b})" for a, b in zip(objects, objects[1:], strict=False))
    text = f"(define (problem p) (:domain d) (:objects {' '.join(objects)}) (:init {init}) (:goal (seen c0)))"
    steps = [action.step for action in compile_task(domain, parse_problem(text, domain)).applicable_actions()]
    assert len(steps) == 100 - CHAIN + 1 - 1
    assert steps[0] == ("walk", *reversed(objects[:CHAIN]))


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("MAXIMUM_TRIED", 5_000, "more than 5,000 ways to fill the parameters were tried"),
        ("MAXIMUM_GROUND", 1_000, "action 'react' alone has more than 2,000 steps"),
    ],
)
def test_what_is_too_large_is_refused_in_one_line_and_can_still_be_validated(monkeypatch, limit, value, words):
    monkeypatch.setattr(grounding, limit, value)
    task, plan = molecule(30)
    with pytest.raises(TooLarge) as caught:
        find_plan(task)
    assert str(caught.value) == (
        f"problem 'big' of domain 'chemistry': too large to be searched, {words}. Plans for it can be validated: "
        "bring your own reference plans"
    )
    assert validate_text(task, plan).success


def test_masks_are_bounded_too(monkeypatch):
    monkeypatch.setattr("grpo_project.pddl.task.MAXIMUM_MASK_BITS", 500)
    domain = all_domains()["blocksworld"]
    task = compile_task(domain.domain, generate_instance(domain, 1, 0, domain.sizes["train"], 0.0).problem)
    with pytest.raises(TooLarge, match="it has more than"):
        find_plan(task)


def test_the_planner_s_answer_to_a_problem_too_large_is_no_plan(monkeypatch, repository, caplog):
    monkeypatch.setattr(grounding, "MAXIMUM_TRIED", 3)
    rows = read_rows(repository / "data" / "test", ["ferry"])
    assert planner_answer(rows, 0).text == ""
    assert "too large to be searched" in caplog.text
