"""Derived predicates (PDDL 2.2, Edelkamp and Hoffmann 2004): atoms that hold by rules and not by effects.

A predicate may rest on itself, and on the absence only of what is settled before it: the rules fall into strata, each of which is
closed under its rules before the next one is looked at. Ground atoms are bits of the state like any others, made on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from grpo_project.pddl.conditions import FALSE, Binding, Condition
from grpo_project.pddl.model import Atom, Constraint, DerivedRule, Formula, Imply, Literal, Not, Or, parts_of

MAXIMUM_REMEMBERED = 100_000  # states whose closure is kept


def strata(rules: Sequence[DerivedRule]) -> dict[str, int] | str:
    """Each derived predicate's stratum, from 0; or the name of a predicate that rests on its own absence."""
    levels = {rule.head: 0 for rule in rules}
    for _ in range(len(levels) + 1):
        settled = True
        for rule in rules:
            for name, negated in _used(rule.body):
                least = levels[name] + negated if name in levels else 0
                if levels[rule.head] < least:
                    levels[rule.head], settled = least, False
        if settled:
            return levels
    return max(levels, key=lambda name: levels[name])


def _used(formula: Formula | Constraint, negated: bool = False) -> Iterator[tuple[str, bool]]:
    """The predicates in a formula, each with whether it stands under an odd number of negations."""
    match formula:
        case Literal(atom):
            yield atom[0], negated
        case Not(part):
            yield from _used(part, not negated)
        case Imply(condition, consequence):
            yield from _used(Or((Not(condition), consequence)), negated)
        case _:
            for inner in parts_of(formula):
                yield from _used(inner, negated)


class DerivedAtoms:
    """The ground derived atoms of a task, and the rules that give them.

    `note` hears of each atom when it is first named; its rules are ground in `settle`, so that a chain of thousands costs no
    recursion. compile: (formula, binding) to Condition; fits: (object, type) to whether it may stand there.
    """

    def __init__(
        self,
        rules: Sequence[DerivedRule],
        compile: Callable[[Formula, Binding], Condition],
        fits: Callable[[str, str], bool],
    ) -> None:
        found = strata(rules)
        self._levels: Mapping[str, int] = found if isinstance(found, dict) else {}
        self._rules: dict[str, list[DerivedRule]] = {}
        for rule in rules:
            self._rules.setdefault(rule.head, []).append(rule)
        self._compile = compile
        self._fits = fits
        self._waiting: list[tuple[Atom, int]] = []
        self._ground: list[list[tuple[int, Condition]]] = [[] for _ in range(1 + max(self._levels.values(), default=0))]
        self._remembered: dict[int, int] = {}
        self.mask = 0  # all derived bits

    def note(self, atom: Atom, mask: int) -> None:
        """A new atom of a task and its bit; of no interest unless its predicate is derived."""
        if atom[0] in self._rules:
            self._waiting.append((atom, mask))
            self.mask |= mask

    def settle(self) -> None:
        """Grounds the rules of every atom noted so far, and of those that they name."""
        while self._waiting:
            atom, mask = self._waiting.pop()
            self._remembered.clear()
            for rule in self._rules[atom[0]]:
                if all(self._fits(name, variable.type) for name, variable in zip(atom[1:], rule.parameters, strict=True)):
                    names = [variable.name for variable in rule.parameters]
                    body = self._compile(rule.body, dict(zip(names, atom[1:], strict=True)))
                    if body != FALSE:
                        self._ground[self._levels[atom[0]]].append((mask, body))

    def closed(self, state: int) -> int:
        """The state with exactly those derived atoms that follow from the others, comparisons included."""
        state &= ~self.mask
        known = self._remembered.get(state)
        if known is None:
            known = self._close(state)
            if len(self._remembered) < MAXIMUM_REMEMBERED:
                self._remembered[state] = known
        return known

    def _close(self, state: int) -> int:
        for rules in self._ground:
            while True:
                left = []
                for mask, body in rules:
                    if body.holds(state):
                        state |= mask
                    elif not state & mask:
                        left.append((mask, body))
                if len(left) == len(rules):
                    break
                rules = left
        return state
