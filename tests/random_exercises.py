"""Random problems and plans to validate: the shipped domains, and toy domains made up on the spot that use every construct.

An exercise is a pure function of (seed, index, for_val), so that a failure can be repeated alone. Whether steps run and formulas
hold is asked of the naive simulator: no case is chosen by the code under test but for the walks in the shipped domains.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, cycle, islice, product
from typing import NamedTuple

from naive_simulator import State, World, all_parents, fits, read, typed
from random_plans import Step, plans_of

from grpo_project.common.random_streams import stream
from grpo_project.data.instances import generate_instance, policy_plan
from grpo_project.domains import all_domains
from grpo_project.pddl import Task, compile_task, render_problem

SEED_VARIABLE = "PDDL_CASE_SEED"

Scope = dict[str, str]  # a name or variable in reach, and its type


class Exercise(NamedTuple):
    """A problem and plans for it as text, each with the way it was made. `origin` says how to make it once more."""

    origin: str
    domain: str
    problem: str
    plans: tuple[tuple[str, str], ...]


def seed_from_environment() -> int:
    """The run's seed: PDDL_CASE_SEED, which conftest.py draws afresh where nobody set it, and prints."""
    return int(os.environ[SEED_VARIABLE])


def exercises(seed: int, for_val: bool) -> Iterator[Exercise]:
    """Without end. for_val: only what VAL can read and decides as PDDL3 has it."""
    return (exercise(seed, index, for_val) for index in count())


def exercise(seed: int, index: int, for_val: bool) -> Exercise:
    """Exercise `index` of a seed: a toy domain where it is even, else one of the shipped domains."""
    rng = stream(seed, "exercise", index, "val" if for_val else "all")
    origin = f"random_exercises.exercise({seed}, {index}, {for_val})"
    return (
        _toy_exercise(rng, origin, index // 2, for_val) if index % 2 == 0 else _shipped_exercise(rng, origin, index // 2, for_val)
    )


# The shipped domains


def _shipped_exercise(rng: random.Random, origin: str, number: int, for_val: bool) -> Exercise:
    domains = list(all_domains().values())
    domain = domains[number % len(domains)]
    instance = generate_instance(domain, rng.randrange(2**31), number, domain.sizes["train"], 0.6)
    task = compile_task(domain.domain, instance.problem)
    reference = policy_plan(domain, instance).steps or _task_walk(rng, task, 12)
    problem = render_problem(instance.problem)
    world = World(domain.domain_pddl, problem)
    timed = False
    if rng.random() < 0.3:
        # Constraints of every kind, beside those that the domain's own generator knows.
        writer = _Writer(rng, for_val, world.parents, world.predicates, {}, wide=True)
        constraints = _constraints(rng, writer, world, _trace(world, reference))
        bare = render_problem(replace(instance.problem, constraints=None))
        problem = f"{bare.rstrip().removesuffix(')')}{constraints})\n"
        timed = _is_timed(constraints)
    walks = [reference, _task_walk(rng, task, rng.randint(1, 15))]
    return Exercise(origin, domain.domain_pddl, problem, plans_of(rng, world, walks, timed))


def _task_walk(rng: random.Random, task: Task, length: int) -> tuple[Step, ...]:
    actions, state, steps = task.applicable_actions(), task.initial, []
    for _ in range(length):
        possible = [action for action in actions if action.condition.holds(state)]
        if not possible:
            break
        action = rng.choice(possible)
        steps.append(action.step)
        state = action.apply(state)
    return tuple(steps)


# Toy domains

# Declared types as text, and the types that exist. With `object` declared, what has no parent is no object (see grippers).
_TYPES = (
    ("lamp box - thing hall attic - place thing place - object", ("lamp", "box", "thing", "hall", "attic", "place", "object")),
    ("lamp box - thing lamp attic - place thing place - object", ("lamp", "box", "thing", "attic", "place", "object")),
    ("lamp box - thing thing hall", ("lamp", "box", "thing", "hall")),
    ("lamp - thing thing hall object", ("lamp", "thing", "hall", "object")),
    ("", ("object",)),
)


_CHANGES = ("assign", "increase", "decrease", "scale-up", "scale-down")


def _declared(name: str, kind: str) -> str:
    return f"{name} - {f'(either {kind})' if ' ' in kind else kind}"


class _Writer:
    """Random well-typed PDDL over some types, predicates and functions. wide: many objects, so that quantifiers stay single.

    turn: where the kinds of numeric effects begin, which are taken in turn, so that no seed goes long without one of them.
    """

    def __init__(
        self,
        rng: random.Random,
        for_val: bool,
        parents: dict[str, list[str]],
        predicates: dict[str, list[str | None]],
        functions: dict[str, list[str | None]],
        wide: bool = False,
        turn: int = 0,
    ) -> None:
        self.rng = rng
        self.for_val = for_val
        self.parents = parents
        self.predicates = predicates
        self.changing = dict(predicates)  # those that effects may name; derived ones come later, to `predicates` alone
        self.functions = functions
        self.wide = wide
        self.changes = islice(cycle(_CHANGES), turn % len(_CHANGES), None)
        self.types = list(parents) if parents else ["object"]
        # Where nothing says that `object` is above the types, VAL lets nothing stand for it: see the deviations.
        if "object" not in parents and (["object"] in parents.values() or not for_val):
            self.types.append("object")

    def fits(self, own: str, wanted: str | None) -> bool:
        """Whichever of several types it has, as VAL asks of a variable."""
        return all(fits(self.parents, word, wanted) for word in own.split())

    def kind(self) -> str:
        """A type, now and then (either ...) of two; as words with spaces."""
        return " ".join(self.rng.sample(self.types, 2 if len(self.types) > 2 and self.rng.random() < 0.1 else 1))

    def terms(self, signature: list[str | None], scope: Scope) -> list[str] | None:
        """A term in scope for each place, or None where a place has none. What was bound last is preferred."""
        chosen = []
        for wanted in signature:
            fitting = [name for name, own in scope.items() if self.fits(own, wanted)]
            if not fitting:
                return None
            variables = [name for name in fitting if name.startswith("?")]
            chosen.append(self.rng.choice(variables if variables and self.rng.random() < 0.7 else fitting))
        return chosen

    def applied(self, table: dict[str, list[str | None]], scope: Scope) -> str:
        """A predicate or function with terms; each table has a member without places."""
        while True:
            name = self.rng.choice(list(table))
            terms = self.terms(table[name], scope)
            if terms is not None:
                return f"({' '.join([name, *terms])})"

    def variables(self, scope: Scope) -> tuple[str, Scope]:
        """One or two quantified variables as text, and the scope inside. Now and then one hides an outer variable."""
        count = 1 if self.wide else self.rng.choice((1, 1, 1, 2))
        outer = [name for name in scope if name.startswith("?")]
        names = [f"?{letter}" for letter in self.rng.sample("uvwxyz", count)]
        if outer and self.rng.random() < 0.15:
            names[0] = self.rng.choice(outer)
        names = list(dict.fromkeys(names))
        kinds = [self.kind() for _ in names]
        words = names if not self.parents else [_declared(name, kind) for name, kind in zip(names, kinds, strict=True)]
        inner = {name: kind for name, kind in scope.items() if name not in names}
        return f"({' '.join(words)})", {**inner, **dict(zip(names, kinds, strict=True))}

    def number(self) -> str:
        return self.rng.choice(("0", "1", "2", "3", "0.5", "4"))

    def expression(self, scope: Scope, depth: int) -> str:
        if depth == 0 or self.rng.random() < 0.5:
            return self.applied(self.functions, scope) if self.rng.random() < 0.7 else self.number()
        operator = self.rng.choice("+-*/")
        right = self.number() if operator != "/" else self.rng.choice(("2", "4", "0.5"))
        return f"({operator} {self.expression(scope, depth - 1)} {right})"

    def comparison(self, scope: Scope) -> str:
        # VAL takes strict comparisons leniently: see the deviations.
        operator = self.rng.choice(("<=", "=", ">=") if self.for_val else ("<", "<=", "=", ">=", ">"))
        return f"({operator} {self.applied(self.functions, scope)} {self.expression(scope, 1)})"

    def formula(self, scope: Scope, depth: int) -> str:
        kind = self.rng.choices(
            ("atom", "not", "and", "or", "imply", "forall", "exists", "equal", "compare", "empty"),
            (4, 2, 2, 2, 1, 1, 1, 1, 1.5 if self.functions else 0, 0 if self.for_val else 0.2),
        )[0]
        if kind == "empty":
            return self.rng.choice(("(and)", "(or)", "()"))
        if kind == "equal" and scope:
            return f"(= {self.rng.choice(list(scope))} {self.rng.choice(list(scope))})"
        if kind == "compare":
            return self.comparison(scope)
        if self.wide and kind in ("forall", "exists") and any(name.startswith("?") for name in scope):
            kind = "atom"
        if depth == 0 or kind in ("atom", "equal"):
            return self.applied(self.predicates, scope)
        if kind == "not":
            return f"(not {self.formula(scope, depth - 1)})"
        if kind in ("forall", "exists"):
            words, inner = self.variables(scope)
            return f"({kind} {words} {self.formula(inner, depth - 1)})"
        count = 2 if kind == "imply" else self.rng.choice((1, 2, 2, 3))
        return f"({kind} {' '.join(self.formula(scope, depth - 1) for _ in range(count))})"

    def literals(self, scope: Scope) -> str:
        """One to three effects without condition, as text that may stand under `and`."""
        found = []
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            atom = self.applied(self.changing, scope)
            found.append(f"(not {atom})" if self.rng.random() < 0.45 else atom)
        return " ".join(found)

    def effect(self, scope: Scope) -> str:
        kind = self.rng.choices(("plain", "when", "forall", "forall when"), (4, 3, 1, 2))[0]
        words, inner = "", scope
        if "forall" in kind:
            words, inner = self.variables(scope)
        text = f"(and {self.literals(inner)})"
        if "when" in kind:
            text = f"(when {self.formula(inner, 2)} {text})"
        return f"(forall {words} {text})" if words else text

    def derived(self, constants: Scope) -> list[str]:
        """Rules of three predicates: a closure over itself, one that asks for its absence, and one with two rules."""
        kinds = [self.rng.choice(self.types) for _ in range(3)]
        links = [n for n, places in self.predicates.items() if len(places) == 2 and all(self.fits(kinds[0], p) for p in places)]
        rules = []

        def rule(name: str, places: dict[str, str], body: str) -> None:
            words = [_declared(variable, kind) if self.parents else variable for variable, kind in places.items()]
            rules.append(f"(:derived ({' '.join([name, *words])}) {body})")

        scope = {"?a": kinds[0], "?b": kinds[0]}
        step = (
            f"({self.rng.choice(links)} ?a ?z)"
            if links and self.rng.random() < 0.8
            else self.formula({**scope, "?z": kinds[0]}, 1)
        )
        inner = _declared("?z", kinds[0]) if self.parents else "?z"
        base = self.formula({**constants, **scope}, 1)
        rule("d0", scope, f"(or {base} (exists ({inner}) (and {step} (d0 ?z ?b))))")
        self.predicates["d0"] = [kinds[0], kinds[0]]
        rule("d1", {"?a": kinds[1]}, f"(not {self.formula({**constants, '?a': kinds[1]}, 2)})")
        self.predicates["d1"] = [kinds[1]]
        for _ in range(2):
            rule("d2", {"?a": kinds[2]}, self.formula({**constants, "?a": kinds[2]}, 2))
        self.predicates["d2"] = [kinds[2]]
        return rules

    def numeric_effect(self, scope: Scope) -> str:
        change = next(self.changes)
        # By small numbers only: past 2^53 VAL, whose numbers are longer, sees differences that a double does not hold.
        amount = self.expression(scope, 1) if not change.startswith("scale") else self.rng.choice(("2", "4", "0.5"))
        text = f"({change} {self.applied(self.functions, scope)} {amount})"
        return f"(when {self.formula(scope, 1)} {text})" if self.rng.random() < 0.4 else text

    def preference(self, name: str, scope: Scope) -> str:
        """A condition that may be violated, under forall now and then."""
        if self.rng.random() < 0.3:
            words, inner = self.variables(scope)
            return f"(forall {words} (preference {name} {self.formula(inner, 1)}))"
        return f"(preference {name} {self.formula(scope, 1)})"

    def soft_constraint(self, name: str, scope: Scope, longest: int) -> str:
        while True:
            text = self.constraint(scope, longest, True)
            # VAL counts every member of an `and`: see the deviations.
            if not (self.for_val and re.search(r"\(and \((always|sometime|at-most-once|at end|within|hold)", text)):
                return f"(preference {name} {text})"

    def action(self, name: str, constants: Scope, preference: str = "") -> str:
        count = self.rng.choice((0, 1, 1, 2, 2, 3))
        parameters = {f"?{letter}": self.kind() for letter in "abc"[:count]}
        words = [_declared(variable, kind) if self.parents else variable for variable, kind in parameters.items()]
        scope = {**constants, **parameters}
        conditions = [self.formula(scope, 2) for _ in range(self.rng.choice((0, 1, 1, 2)))]
        if preference and self.rng.random() < 0.6:
            conditions.append(self.preference(preference, scope))
        effects = [self.effect(scope) for _ in range(self.rng.choice((1, 2, 2, 3)))]
        if self.functions:
            effects.append(f"(increase (total-cost) {self.rng.choice(('1', '2', self.applied(self.functions, scope)))})")
            if self.rng.random() < 0.6:
                effects.append(self.numeric_effect(scope))
        precondition = conditions[0] if len(conditions) == 1 else f"(and {' '.join(conditions)})"
        return f"""(:action {name} :parameters ({" ".join(words)})
    :precondition {precondition}
    :effect (and {" ".join(effects)}))"""

    def constraint(self, scope: Scope, longest: int, nested: bool = False) -> str:
        """One constraint, or several under forall and and."""
        rng = self.rng
        occupied = {kind for kind in self.types if any(self.fits(own, kind) for own in scope.values())}
        if rng.random() < (0.15 if nested else 0.25):
            words, inner = self.variables(scope)
            # VAL crashes on a type without objects, and on two foralls in one another with anything beside them.
            if not self.for_val:
                return f"(forall {words} {self.constraint(inner, longest, True)})"
            if not nested and all(kind in occupied for kind in inner.values()):
                return f"(forall {words} {self.constraint(inner, longest, True)})"
        if rng.random() < 0.1:
            return f"(and {self.constraint(scope, longest, True)} {self.constraint(scope, longest, True)})"
        first, second = self.formula(scope, rng.choice((0, 1, 2))), self.formula(scope, rng.choice((0, 1, 2)))
        operators = [
            "always",
            "sometime",
            "at-most-once",
            "at end",
            "sometime-before",
            "sometime-after",
            "within",
            "always-within",
        ]
        operators += ["hold-during"] if self.for_val else ["hold-during", "hold-after"] * 2
        operator = rng.choice(operators)
        time = rng.randint(0, longest + 1)
        match operator:
            case "sometime-before" | "sometime-after":
                return f"({operator} {first} {second})"
            case "within" | "hold-after":
                return f"({operator} {rng.choice((f'{time}', f'{time}', f'{time}.5'))} {first})"
            case "always-within":
                return f"({operator} {rng.randint(0, 3)} {first} {second})"
            case "hold-during" if self.for_val:
                # A window over one state, since VAL looks at the first only: see the deviations, hold-after as well.
                return f"({operator} {rng.choice((f'{time} {time + 1}', f'{time}.5 {time + 2}'))} {first})"
            case "hold-during":
                return f"({operator} {rng.choice((f'{time}', f'{time}', f'{time}.5'))} {time + rng.randint(0, 4)} {first})"
        return f"({operator} {first})"


def _toy_exercise(rng: random.Random, origin: str, number: int, for_val: bool) -> Exercise:
    turn, rest = divmod(number, 3)
    with_numbers = rest == 0
    # In an untyped domain VAL gives up on the numbers of an object that the plan made up.
    declared, types = rng.choice([choice for choice in _TYPES if choice[0] or not (with_numbers and for_val)])
    parents = all_parents(typed(read(f"({declared})")))
    predicates: dict[str, list[str | None]] = {"ready": []}
    for name in range(rng.randint(3, 5)):
        predicates[f"p{name}"] = [rng.choice(types) for _ in range(rng.choice((0, 1, 1, 2)))]
    functions: dict[str, list[str | None]] = {}
    if with_numbers:
        functions = {"level": [], "weight": [rng.choice(types)]}
    constants = {f"c{number}": rng.choice(types) for number in range(rng.randint(0, 2))}
    objects = {f"o{number}": rng.choice(types) for number in range(rng.randint(2, 4))}
    writer = _Writer(rng, for_val, parents, predicates, functions, turn=turn)
    rules = writer.derived(constants) if rest == 1 else []
    soft = rest == 2 or (with_numbers and rng.random() < 0.3)
    # VAL asks constraints with the derived facts that a step's conditions found before the step: see the deviations.
    without_rules = rng.choice(("actions", "constraints")) if rules and for_val else ""
    writer.predicates = writer.changing if without_rules == "actions" else predicates
    actions = [writer.action(f"act-{number}", constants, "pre" if soft else "") for number in range(rng.randint(2, 4))]
    writer.predicates = predicates

    def signature(name: str, places: list[str | None]) -> str:
        words = [
            _declared(f"?{letter}", kind or "object") if declared else f"?{letter}"
            for letter, kind in zip("ab", places, strict=False)
        ]
        return f"({' '.join([name, *words])})"

    def names(table: Scope) -> str:
        return " ".join(_declared(name, kind) if declared else name for name, kind in table.items())

    def domain_text(constraints: str) -> str:
        sections = ["(:requirements :adl :constraints :fluents :derived-predicates)"]
        if declared:
            sections.append(f"(:types {declared})")
        if constants:
            sections.append(f"(:constants {names(constants)})")
        sections.append(f"(:predicates {' '.join(signature(*item) for item in predicates.items())})")
        if functions:
            sections.append(f"(:functions (total-cost) {' '.join(signature(*item) for item in functions.items())})")
        if constraints:
            sections.append(constraints)
        sections += rules  # VAL reads them here only
        return "(define (domain toy)\n  " + "\n  ".join([*sections, *actions]) + ")\n"

    everything = {**constants, **objects}
    facts = [fact for fact in _ground(writer, writer.changing, everything) if rng.random() < 0.4]
    for term in _ground(writer, functions, everything):
        # VAL gives up on a number that has no value: see the deviations.
        if for_val or rng.random() < 0.8:
            facts.append(f"(= {term} {rng.choice(('0', '1', '2', '3', '2.5'))})")
    if functions:
        facts.append("(= (total-cost) 0)")

    def problem_text(goal: str, constraints: str) -> str:
        costs = ["(total-cost)"] if functions else []
        preferred = re.findall(r"\(preference (\S+) ", domain_text(own) + goal + constraints)
        costs += [f"(* {rate} (is-violated {name}))" for rate, name in enumerate(dict.fromkeys(preferred), 10)]
        total = costs[0] if len(costs) == 1 else f"(+ {' '.join(costs)})"
        metric = f"  (:metric {direction} {total})\n" if costs else ""
        return f"""(define (problem p) (:domain toy)
  (:objects {names(objects)})
  (:init {" ".join(facts)})
  (:goal {goal})
{constraints}{metric})
"""

    own, direction = "", rng.choice(("minimize", "minimize", "maximize"))
    world = World(domain_text(""), problem_text("()", ""))
    reference = _world_walk(rng, world, rng.randint(1, 8))
    trace = _trace(world, reference)
    goals = []
    for _ in range(rng.randint(1, 3)):
        goal = writer.formula(everything, 2)
        if rng.random() < 0.85 and not world.holds(read(goal), trace[-1], {}):
            goal = f"(not {goal})"
        goals.append(goal)
    if soft:
        goals += [writer.preference(name, everything) for name in ("g0", "g1", "g0")[: rng.randint(1, 3)]]
    writer.predicates = writer.changing if without_rules == "constraints" else predicates
    own = _constraints(rng, writer, world, trace, constants) if rng.random() < 0.25 else ""
    constraints = _constraints(rng, writer, world, trace, soft=soft)
    domain, problem = domain_text(own), problem_text(f"(and {' '.join(goals)})", constraints)
    walks = [reference, reference, _world_walk(rng, world, rng.randint(0, 8))]
    return Exercise(origin, domain, problem, plans_of(rng, world, walks, _is_timed(own + constraints)))


def _ground(writer: _Writer, table: dict[str, list[str | None]], names: Scope) -> list[str]:
    found = []
    for name, places in table.items():
        for chosen in product(*([n for n, own in names.items() if writer.fits(own, place)] for place in places)):
            found.append(f"({' '.join([name, *chosen])})")
    return found


def _world_walk(rng: random.Random, world: World, length: int) -> tuple[Step, ...]:
    """Steps that run one after another, found by trying random ones."""
    possible = [
        [name, *names.values()]
        for name, action in world.actions.items()
        for names in world.bindings(action.get(":parameters", []), {})
    ]
    state, steps = world.start, []
    for _ in range(length):
        tried = rng.sample(possible, min(25, len(possible)))
        step = next((step for step in tried if world.can_run(step, state)), None)
        if step is None:
            break
        steps.append(tuple(step))
        state = world.after(step, state)
    return tuple(steps)


def _trace(world: World, steps: tuple[Step, ...]) -> list[State]:
    states = [world.start]
    for step in steps:
        states.append(world.after(list(step), states[-1]))
    return states


def _constraints(
    rng: random.Random, writer: _Writer, world: World, trace: list[State], scope: Scope | None = None, soft: bool = False
) -> str:
    """A section of up to three constraints, most of them such as the trace keeps; empty where there are none (VAL reads no empty
    section). They may name what is in scope, else any object."""
    found: list[str] = []
    names = world.objects if scope is None else scope
    for _ in range(rng.randint(0, 3)):
        lenient = rng.random() < 0.25
        for _ in range(6):
            text = writer.constraint(names, len(trace))
            kept = not any(world.broken(tree, bound, trace, True) for tree, bound in world.ground_constraints(read(text), {}))
            if kept or lenient:
                found.append(text)
                break
    if soft:
        found += [writer.soft_constraint(f"k{number}", names, len(trace)) for number in range(rng.randint(0, 2))]
    return f"  (:constraints (and {' '.join(found)}))\n" if found else ""


def _is_timed(constraints: str) -> bool:
    return re.search(r"\((within|always-within|hold-during|hold-after) ", constraints) is not None
