"""Numeric fluents: the numbers of a state, and the comparisons over them as bits of the state.

The numbers are a list, one per ground function term, in order of first use; NaN stands for an undefined one. Every ground
comparison that some condition reads owns a bit, so that conditions, goals and constraints stay masks over one int.

As VAL: an amount is read before the action's own changes; a change of an undefined number starts from 0. Deviation: where VAL
gives up on reading an undefined number, here the comparison does not hold and arithmetic over it stays undefined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from grpo_project.pddl.model import Arithmetic, Atom, Comparison, Expression
from grpo_project.pddl.render import render_formula

Numbers = list[float]
Reader = Callable[[Numbers], float]

# Two numbers this near are equal, as VAL has it; sums of decimal fractions need it. `<` and `>` are the opposites of `>=` and
# `<=`. VAL takes them leniently too, so that it lets (> 1 1) hold; here a strict comparison is strict.
TOLERANCE = 1e-4

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda left, right: left < right - TOLERANCE,
    "<=": lambda left, right: left <= right + TOLERANCE,
    "=": lambda left, right: left == right or abs(left - right) <= TOLERANCE,  # the first for infinities
    "!=": lambda left, right: left < right - TOLERANCE or left > right + TOLERANCE,  # false where a side is undefined
    ">=": lambda left, right: left >= right - TOLERANCE,
    ">": lambda left, right: left > right + TOLERANCE,
}


class NumberTable:
    """Interns function terms and comparisons, and computes the bits of the latter."""

    def __init__(self, values: Mapping[Atom, float], new_bit: Callable[[Atom], int]) -> None:
        self._indices: dict[Atom, int] = {}
        self._initial = values
        self._new_bit = new_bit
        self.start: Numbers = []
        self._comparisons: dict[int, tuple[Reader, Reader, Callable[[float, float], bool]]] = {}
        self.mask = 0  # all comparison bits

    def index(self, term: Atom) -> int:
        known = self._indices.get(term)
        if known is None:
            known = self._indices[term] = len(self.start)
            self.start.append(self._initial.get(term, math.nan))
        return known

    def reader(self, expression: Expression, binding: Mapping[str, str]) -> Reader:
        """The ground expression as a function of the numbers."""
        match expression:
            case Arithmetic(operator, parts):
                readers = [self.reader(part, binding) for part in parts]
                return lambda numbers: _calculate(operator, [read(numbers) for read in readers])
            case tuple():
                index = self.index((expression[0], *(binding.get(word, word) for word in expression[1:])))
                return lambda numbers: numbers[index]
        constant = expression
        return lambda numbers: constant

    def comparison_bit(self, comparison: Comparison, binding: Mapping[str, str]) -> int:
        words = render_formula(comparison).replace("(", " ( ").replace(")", " ) ").split()
        # No predicate's atom has a bracket for its name, so this cannot collide with one.
        mask = self._new_bit(tuple(binding.get(word, word) for word in words))
        if mask not in self._comparisons:
            sides = self.reader(comparison.left, binding), self.reader(comparison.right, binding)
            self._comparisons[mask] = (*sides, _COMPARE[comparison.operator])
            self.mask |= mask
        return mask

    def refresh(self, state: int, numbers: Numbers) -> int:
        """The state with every comparison bit set as the numbers have it."""
        state &= ~self.mask
        for mask, (left, right, holds) in self._comparisons.items():
            if holds(left(numbers), right(numbers)):
                state |= mask
        return state


def changed(operator: str, old: float, amount: float) -> float:
    """The value after one numeric effect."""
    if operator == "assign":
        return amount
    if math.isnan(old):
        old = 0.0
    if operator == "scale-down":
        return _divide(old, amount)
    if operator == "scale-up":
        return old * amount
    return old + amount if operator == "increase" else old - amount


def _calculate(operator: str, values: list[float]) -> float:
    match operator:
        case "+":
            return sum(values)
        case "*":
            return math.prod(values)
        case "-":
            return -values[0] if len(values) == 1 else values[0] - values[1]
    return _divide(values[0], values[1])


def _divide(left: float, right: float) -> float:
    """IEEE 754, as VAL's C++ does it: no exception for a zero divisor."""
    if right:
        return left / right
    return math.nan if not left or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1.0, right)
