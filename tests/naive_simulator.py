"""A second answer to what a plan does, slow and plain, that shares no code with grpo_project.

A state is a set of atoms and a table of numbers, quantifiers are expanded one object at a time, and a trajectory constraint is a
sentence about the list of states so far, evaluated from the start each time: nothing is compiled, cached or carried along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby, product
from typing import Any, NamedTuple, TypeGuard

Expression = Any  # a word, or a list of expressions
Atom = tuple[str, ...]
Names = dict[str, str]

NEAR = 1e-4  # numbers this near are equal


class State(NamedTuple):
    """What is true, and the value of each ground function term that has one."""

    atoms: frozenset[Atom]
    numbers: dict[Atom, float]


class Outcome(NamedTuple):
    """`step`: the failing step from 1 (format, precondition), the state's index (constraint), else the number of steps."""

    verdict_class: str
    step: int


def read(text: str) -> Expression:
    """The one s-expression of a text, lower case, comments dropped."""
    words = re.findall(r"[()]|[^\s()]+", re.sub(r";[^\n]*", "", text).lower())
    stack: list[list[Expression]] = [[]]
    for word in words:
        if word == "(":
            stack.append([])
        elif word == ")":
            stack[-2].append(stack.pop())
        else:
            stack[-1].append(word)
    [[whole]] = stack
    return whole


def write(tree: Expression) -> str:
    return tree if isinstance(tree, str) else f"({' '.join(map(write, tree))})"


def without_preferences(text: str) -> str:
    """A domain or problem without its preferences and its metric, and without constraints where nothing else stood there."""

    def soft(tree: Expression) -> bool:
        match tree:
            case ["preference", *_]:
                return True
            case ["forall", _, part]:
                return soft(part)
            case ["and", *parts]:
                return bool(parts) and all(map(soft, parts))
        return False

    def hard(tree: Expression) -> Expression:
        if isinstance(tree, str):
            return tree
        if tree[:1] == ["and"]:
            return [hard(part) for part in tree if not soft(part)]
        return [["and"] if soft(part) else hard(part) for part in tree]

    whole = read(text)
    gone = [section for section in whole if section[0] == ":metric" or (section[0] == ":constraints" and soft(section[1]))]
    return write(hard([section for section in whole if section not in gone]))


def read_plan(text: str) -> list[list[str]]:
    """The steps of a text that holds nothing but steps, comments, time stamps and durations; lower case."""
    return [step.split() for step in re.findall(r"\(([^()]*)\)", re.sub(r";[^\n]*", "", text).lower())]


def typed(words: list[Expression]) -> list[tuple[str, str | None]]:
    """`a b - t c -t d - (either t u) e` as [(a, t), (b, t), (c, t), (d, "t u"), (e, None)]: several types are one word."""
    pairs: list[tuple[str, str | None]] = []
    waiting: list[str] = []
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            kind = word[1:] or next(rest)
            pairs += [(name, kind if isinstance(kind, str) else " ".join(kind[1:])) for name in waiting]
            waiting = []
        else:
            waiting.append(word)
    return pairs + [(name, None) for name in waiting]


def all_parents(pairs: list[tuple[str, str | None]]) -> dict[str, list[str]]:
    """The parents of every type, those declared and those that are only parents, which are under `object`."""
    found: dict[str, list[str]] = {name: [] for name, _ in pairs}
    for name, kind in pairs:
        found[name] += (kind or "").split()
    for kind in [kind for kinds in list(found.values()) for kind in kinds]:
        if kind != "object":
            found.setdefault(kind, ["object"])
    return found


def levels_of(rules: list[tuple[list[Any], Expression]]) -> dict[str, int]:
    """For each derived predicate how many others, at most, must be settled first because their absence is asked for."""
    levels = {head[0]: 0 for head, _ in rules}

    def least(tree: Expression, negated: bool) -> int:
        match tree:
            case ["not", part]:
                return least(part, not negated)
            case ["imply", left, right]:
                return max(least(left, not negated), least(right, negated))
            case ["and" | "or", *parts]:
                return max([0, *(least(part, negated) for part in parts)])
            case ["forall" | "exists", _, part]:
                return least(part, negated)
            case [str(name), *_] if name in levels:
                return levels[name] + negated
        return 0

    for _ in range(len(levels) ** 2):
        for head, body in rules:
            levels[head[0]] = max(levels[head[0]], least(body, False))
    return levels


def fits(parents: dict[str, list[str]], own: str, wanted: str | None) -> bool:
    """Whether one of the types `own` is, or is under, one of those wanted. `object` holds everything unless it is declared."""
    if "object" in (wanted or "object").split() and "object" not in parents:
        return True
    reached = set(own.split())
    for _ in parents:
        reached |= {parent for kind in reached for parent in parents.get(kind, [])}
    return not reached.isdisjoint((wanted or "object").split())


class World:
    """A domain and a problem as they were written, ready to be asked."""

    def __init__(self, domain_text: str, problem_text: str) -> None:
        domain, problem = read(domain_text), read(problem_text)
        parts: dict[str, list[Expression]] = {}
        for section in domain[2:]:
            parts.setdefault(section[0], []).append(section[1:])
        for section in problem[2:]:
            parts.setdefault("problem " + section[0], []).append(section[1:])
        self.parents = all_parents(typed(parts.get(":types", [[]])[0]))
        self.objects: dict[str, str] = {}  # several types of one object are words with spaces
        for section in (":constants", "problem :objects"):
            for name, kind in typed(parts.get(section, [[]])[0]):
                own = kind or "object"
                self.objects[name] = f"{self.objects[name]} {own}" if self.objects.get(name, own) != own else own
        self.actions = {action[0]: dict(zip(action[1::2], action[2::2], strict=True)) for action in parts.get(":action", [])}
        self.predicates = {head[0]: [kind for _, kind in typed(head[1:])] for head in parts.get(":predicates", [[]])[0]}
        self.rules = [([name, *typed(variables)], body) for [name, *variables], body in parts.get(":derived", [])]
        self.levels = levels_of(self.rules)
        self.invented: list[str] = []  # names that only the plan uses, in an untyped domain; no quantifier ranges over them
        facts = parts["problem :init"][0]
        self.start = self.closed(
            {tuple(fact) for fact in facts if fact[0] != "="},
            {tuple(fact[1]): float(fact[2]) for fact in facts if fact[0] == "="},
        )
        self.goal = parts["problem :goal"][0][0]
        trees = [tree for section in (":constraints", "problem :constraints") for tree in parts.get(section, [[]])[0]]
        self.constraints = [ground for tree in trees for ground in self.ground_constraints(tree, {})]
        self.soft = [each for tree in trees for each in self.preferences(tree, {})]

    def fits(self, name: str, kind: str | None) -> bool:
        """Whether an object may stand where `kind` is asked for."""
        return fits(self.parents, self.objects[name], kind)

    def bindings(self, variables: list[Expression], names: Names, invented: Iterable[str] = ()) -> Iterator[Names]:
        """What the variables may stand for: the objects, and beside them what a plan invented."""
        pairs = typed(variables)
        choices = [[*(name for name in self.objects if self.fits(name, kind)), *invented] for _, kind in pairs]
        for chosen in product(*choices):
            yield {**names, **{variable: name for (variable, _), name in zip(pairs, chosen, strict=True)}}

    def number(self, term: Expression, state: State, names: Names) -> float | None:
        """The value of an expression, or None where it rests on a number that has none."""
        if isinstance(term, str):
            return float(term)
        if term[0] not in ("+", "-", "*", "/"):
            return state.numbers.get(tuple(names.get(word, word) for word in term))
        values = [self.number(part, state, names) for part in term[1:]]
        if not all_known(values):
            return None
        first, *rest = values
        if term[0] == "-" and not rest:
            return -first
        for value in rest:
            match term[0]:
                case "+":
                    first += value
                case "-":
                    first -= value
                case "*":
                    first *= value
                case "/":
                    first /= value
        return first

    def compares(self, operator: str, left: Expression, right: Expression, state: State, names: Names) -> bool | None:
        """The truth of a comparison, or None where a side has no value."""
        values = [self.number(side, state, names) for side in (left, right)]
        if not all_known(values):
            return None
        a, b = values
        return {"<": a < b - NEAR, "<=": a <= b + NEAR, "=": abs(a - b) <= NEAR, ">=": a >= b - NEAR, ">": a > b + NEAR}[operator]

    def truth(self, formula: Expression, state: State, names: Names) -> bool | None:
        """Three-valued, since a comparison with an undefined number is neither true nor false (None)."""
        match formula:
            case []:
                return True
            case ["and", *parts]:
                return conjunction(self.truth(part, state, names) for part in parts)
            case ["or", *parts]:
                return opposite(conjunction(opposite(self.truth(part, state, names)) for part in parts))
            case ["not", part]:
                return opposite(self.truth(part, state, names))
            case ["preference", *_]:
                return True
            case ["imply", left, right]:
                return opposite(conjunction([self.truth(left, state, names), opposite(self.truth(right, state, names))]))
            case ["forall", variables, part]:
                return conjunction(self.truth(part, state, inner) for inner in self.bindings(variables, names))
            case ["exists", variables, part]:
                return opposite(conjunction(opposite(self.truth(part, state, i)) for i in self.bindings(variables, names)))
            case ["=", str(left), str(right)]:
                return names.get(left, left) == names.get(right, right)
            case ["<" | "<=" | "=" | ">=" | ">" as operator, left, right]:
                return self.compares(operator, left, right, state, names)
        return tuple(names.get(word, word) for word in formula) in state.atoms

    def holds(self, formula: Expression, state: State, names: Names) -> bool:
        return self.truth(formula, state, names) is True

    def changes(self, effect: Expression, state: State, names: Names) -> Iterator[tuple[str, Atom, float | None]]:
        """("add" or "delete", atom, None) or (numeric change, term, amount); conditions and amounts read in the state before."""
        match effect:
            case []:
                return
            case ["assign" | "increase" | "decrease" | "scale-up" | "scale-down" as change, term, amount]:
                yield change, tuple(names.get(word, word) for word in term), self.number(amount, state, names)
            case ["and", *parts]:
                for part in parts:
                    yield from self.changes(part, state, names)
            case ["forall", variables, part]:
                for inner in self.bindings(variables, names):
                    yield from self.changes(part, state, inner)
            case ["when", condition, part]:
                if self.holds(condition, state, names):
                    yield from self.changes(part, state, names)
            case ["not", atom]:
                yield "delete", tuple(names.get(word, word) for word in atom), None
            case atom:
                yield "add", tuple(names.get(word, word) for word in atom), None

    def parameters(self, action: str) -> list[tuple[str, str | None]]:
        return typed(self.actions[action].get(":parameters", []))

    def binding(self, step: list[str]) -> Names:
        """The action's parameters by name."""
        return {variable: name for (variable, _), name in zip(self.parameters(step[0]), step[1:], strict=True)}

    def can_run(self, step: list[str], state: State) -> bool:
        """Whether the precondition of a readable step holds."""
        return self.holds(self.actions[step[0]].get(":precondition", []), state, self.binding(step))

    def after(self, step: list[str], state: State) -> State:
        """The state after a step: what is added stays, whatever is deleted."""
        changes = list(self.changes(self.actions[step[0]].get(":effect", []), state, self.binding(step)))
        deleted = {atom for kind, atom, _ in changes if kind == "delete"}
        added = {atom for kind, atom, _ in changes if kind == "add"}
        numbers = dict(state.numbers)
        for kind, term, amount in changes:
            old = numbers.get(term, 0.0)
            match kind:
                case "assign":
                    new = amount
                case "increase":
                    new = None if amount is None else old + amount
                case "decrease":
                    new = None if amount is None else old - amount
                case "scale-up":
                    new = None if amount is None else old * amount
                case "scale-down":
                    new = None if amount is None else old / amount
                case _:
                    continue
            numbers.pop(term, None)
            if new is not None:
                numbers[term] = new
        return self.closed((state.atoms - deleted) | added, numbers)

    def closed(self, atoms: set[Atom] | frozenset[Atom], numbers: dict[Atom, float]) -> State:
        """The state of these atoms, with the derived ones that follow and no others: level by level, until nothing is new."""
        heads = {head[0] for head, _ in self.rules}
        found = {atom for atom in atoms if atom[0] not in heads}
        for level in sorted(set(self.levels.values())):
            while True:
                state = State(frozenset(found), numbers)
                for [name, *pairs], body in self.rules:
                    if self.levels[name] == level:
                        words = [word for variable, kind in pairs for word in self.declaration(variable, kind)]
                        for names in self.bindings(words, {}, self.invented):
                            if self.holds(body, state, names):
                                found.add((name, *(names[variable] for variable, _ in pairs)))
                if found == state.atoms:
                    break
        return State(frozenset(found), numbers)

    @staticmethod
    def declaration(variable: str, kind: str | None) -> list[Expression]:
        """`?x - t` as it was read."""
        return [variable] if kind is None else [variable, "-", ["either", *kind.split()] if " " in kind else kind]

    def ground_constraints(self, tree: Expression, names: Names) -> Iterator[tuple[Expression, Names]]:
        match tree:
            case []:
                return
            case ["and", *parts]:
                for part in parts:
                    yield from self.ground_constraints(part, names)
            case ["forall", variables, part]:
                for inner in self.bindings(variables, names):
                    yield from self.ground_constraints(part, inner)
            case ["preference", *_]:
                return
            case _:
                yield tree, names

    def broken(self, tree: Expression, names: Names, states: list[State], over: bool) -> bool:
        """Whether no continuation of `states` can repair the constraint; with `over`, whether the finished trace breaks it.

        The definitions of PDDL3 (Gerevini and Long 2005) with time i for state i. A plan that is over before a hold-after begins
        is decided by its last state, which lasts; one that is over before a hold-during begins is not decided by it, as in VAL.
        """

        def true_at(formula: Expression) -> list[int]:
            return [index for index, state in enumerate(states) if self.holds(formula, state, names)]

        last = len(states) - 1
        match tree:
            case ["always", phi]:
                return len(true_at(phi)) <= last
            case ["sometime", phi]:
                return over and not true_at(phi)
            case ["at", "end", phi]:
                return over and last not in true_at(phi)
            case ["at-most-once", phi]:
                held = [key for key, _ in groupby(index in true_at(phi) for index in range(last + 1))]
                return held.count(True) > 1
            case ["sometime-before", phi, psi]:
                earlier = true_at(psi)
                return any(not any(j < i for j in earlier) for i in true_at(phi))
            case ["sometime-after", phi, psi]:
                later = true_at(psi)
                return over and any(not any(j >= i for j in later) for i in true_at(phi))
            case ["within", limit, phi]:
                in_time = any(i <= float(limit) for i in true_at(phi))
                return not in_time and (over or last > float(limit))
            case ["always-within", limit, phi, psi]:
                answers = true_at(psi)
                for i in true_at(phi):
                    if not any(i <= j <= i + float(limit) for j in answers) and (over or last > i + float(limit)):
                        return True
                return False
            case ["hold-during", first, end, phi]:
                window = {i for i in range(last + 1) if float(first) <= i < float(end)}
                return not window <= set(true_at(phi))
            case ["hold-after", first, phi]:
                later_on = {i for i in range(last + 1) if i > float(first)}
                if over and last <= float(first):
                    later_on = {last}
                return not later_on <= set(true_at(phi))
        raise ValueError(f"no constraint: {tree}")

    def any_broken(self, states: list[State], over: bool) -> bool:
        return any(self.broken(tree, names, states, over) for tree, names in self.constraints)

    def readable(self, step: list[str]) -> bool:
        """Whether the step names an action with as many arguments and, in a typed domain, objects of the right types."""
        if not step or step[0] not in self.actions:
            return False
        parameters = self.parameters(step[0])
        if len(step) - 1 != len(parameters):
            return False
        if not self.parents:
            return True
        return all(name in self.objects and self.fits(name, kind) for name, (_, kind) in zip(step[1:], parameters, strict=True))

    def states(self, steps: list[list[str]]) -> list[State]:
        """S0 and the state after each step, whether it can run or not."""
        found = [self.closed(*self.start)]
        for step in steps:
            found.append(self.after(step, found[-1]))
        return found

    def violations(self, steps: list[list[str]]) -> dict[str, int]:
        """How often the steps and the state after them violate each preference."""
        states = self.states(steps)
        broken = [name for name, tree, names in self.preferences(self.goal, {}) if not self.holds(tree, states[-1], names)]
        for step, state in zip(steps, states, strict=False):
            condition = self.actions[step[0]].get(":precondition", [])
            found = self.preferences(condition, self.binding(step))
            broken += [name for name, tree, names in found if not self.holds(tree, state, names)]
        for name, tree, names in self.soft:
            broken += [name] * any(self.broken(t, n, states, True) for t, n in self.ground_constraints(tree, names))
        return {name: broken.count(name) for name in broken}

    def preferences(self, tree: Expression, names: Names) -> Iterator[tuple[str, Expression, Names]]:
        """(name, what is preferred, names bound) of each ground preference in a goal, precondition or constraint."""
        match tree:
            case ["and", *parts]:
                for part in parts:
                    yield from self.preferences(part, names)
            case ["forall", variables, part]:
                for inner in self.bindings(variables, names):
                    yield from self.preferences(part, inner)
            case ["preference", *name, part]:
                yield (name or ["anonymous"])[0], part, names

    def verify(self, steps: list[list[str]]) -> Outcome:
        """The verdict on a plan, in VAL's order: all steps are read, then S(k) is checked before step k+1 runs, then the goal,
        and only where it holds the last state and what the whole trace still owes."""
        for number, step in enumerate(steps, 1):
            if not self.readable(step):
                return Outcome("plan_format_error", number)
        self.invented = sorted({name for step in steps for name in step[1:]} - self.objects.keys())
        states = self.states(steps[:0])
        for number, step in enumerate(steps, 1):
            if self.any_broken(states, over=False):
                return Outcome("safety_constraints_violation", number - 1)
            if not self.can_run(step, states[-1]):
                return Outcome("precondition_violation", number)
            states.append(self.after(step, states[-1]))
        if not self.holds(self.goal, states[-1], {}):
            return Outcome("goal_not_satisfied", len(steps))
        if self.any_broken(states, over=True):
            return Outcome("safety_constraints_violation", len(steps))
        return Outcome("success_plans", len(steps))


def opposite(value: bool | None) -> bool | None:
    return None if value is None else not value


def conjunction(values: Iterable[bool | None]) -> bool | None:
    """False where one is false, else None where one is undecided."""
    known = set(values)
    return False if False in known else None if None in known else True


def all_known(values: list[float | None]) -> TypeGuard[list[float]]:
    return None not in values
