"""Ground conditions over states that are ints: bit i of a state is the i-th interned atom.

A formula becomes negation normal form: two masks for its plain literals, and alternatives for what is disjunctive. A numeric
comparison is a bit as well, kept up to date with the numbers (numbers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from grpo_project.pddl.model import (
    And,
    Atom,
    Comparison,
    Exists,
    Forall,
    Formula,
    Imply,
    Literal,
    Not,
    Or,
    Preference,
    TypedName,
)

Binding = Mapping[str, str]


@dataclass(frozen=True)
class Condition:
    """Holds in a state that has every bit of `positive`, none of `negative`, and one alternative of each choice.

    `choices` with an empty member can never hold: that is how "false" is written.
    """

    positive: int = 0
    negative: int = 0
    choices: tuple[tuple[Condition, ...], ...] = ()

    def holds(self, state: int) -> bool:
        if state & self.positive != self.positive or state & self.negative:
            return False
        for alternatives in self.choices:
            for alternative in alternatives:
                if alternative.holds(state):
                    break
            else:
                return False
        return True


_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "=": "!="}

TRUE = Condition()
FALSE = Condition(choices=((),))


class ConditionCompiler:
    """Grounds formulas.

    `bit` interns an atom, `comparison_bit` a ground comparison; both return its mask. `objects_of` lists the objects of a type.
    """

    def __init__(
        self,
        bit: Callable[[Atom], int],
        objects_of: Callable[[str], tuple[str, ...]],
        comparison_bit: Callable[[Comparison, Binding], int],
    ) -> None:
        self._bit = bit
        self._objects_of = objects_of
        self._comparison_bit = comparison_bit

    def bindings(self, variables: tuple[TypedName, ...], outer: Binding) -> Iterator[dict[str, str]]:
        """Every assignment of objects to the quantified variables, on top of `outer`."""
        names = [variable.name for variable in variables]
        for combination in product(*(self._objects_of(variable.type) for variable in variables)):
            yield {**outer, **dict(zip(names, combination, strict=True))}

    def compile(self, formula: Formula, binding: Binding, negated: bool = False) -> Condition:
        match formula:
            case Literal(("=", left, right)):
                equal = binding.get(left, left) == binding.get(right, right)
                return TRUE if equal != negated else FALSE
            case Literal(atom):
                mask = self._bit((atom[0], *(binding.get(word, word) for word in atom[1:])))
                return Condition(negative=mask) if negated else Condition(positive=mask)
            case Comparison(operator, left, right):
                # Negation turns the operator and not the bit: a comparison with an undefined number holds neither way.
                turned = Comparison(_OPPOSITE[operator], left, right) if negated else formula
                return Condition(positive=self._comparison_bit(turned, binding))
            case Not(part):
                return self.compile(part, binding, not negated)
            case And(parts):
                if negated:
                    return _any([self.compile(part, binding, True) for part in parts])
                return self._conjunction(parts, binding)
            case Or(parts):
                grounded = [self.compile(part, binding, negated) for part in parts]
                return all_of(grounded) if negated else _any(grounded)
            case Imply(condition, consequence):
                return self.compile(Or((Not(condition), consequence)), binding, negated)
            case Forall(variables, part) | Exists(variables, part):
                bindings = self.bindings(variables, binding)
                if negated == isinstance(formula, Exists):
                    return self._every(part, bindings, negated)
                return _any([self.compile(part, inner, negated) for inner in bindings])
            case Preference():
                return TRUE  # what a plan may violate; preferences.py looks inside
        raise TypeError(f"not a formula: {formula!r}")

    def _every(self, part: Formula, bindings: Iterator[dict[str, str]], negated: bool) -> Condition:
        """`part` under every binding; of a plain literal, the usual case, without a condition for each."""
        inner = part.part if isinstance(part, Not) else part
        if not isinstance(inner, Literal) or inner.atom[0] == "=":
            return all_of([self.compile(part, binding, negated) for binding in bindings])
        name, *words = inner.atom
        mask = 0
        for binding in bindings:
            mask |= self._bit((name, *[binding.get(word, word) for word in words]))
        return Condition(positive=mask) if negated == isinstance(part, Not) else Condition(negative=mask)

    def _conjunction(self, parts: tuple[Formula, ...], binding: Binding) -> Condition:
        """Plain literals go straight into the masks: they are nearly all that is ever compiled."""
        positive = negative = 0
        rest: list[Condition] = []
        for part in parts:
            inner = part.part if isinstance(part, Not) else part
            if not isinstance(inner, Literal) or inner.atom[0] == "=":
                rest.append(self.compile(part, binding))
                continue
            mask = self._bit((inner.atom[0], *[binding.get(word, word) for word in inner.atom[1:]]))
            if inner is part:
                positive |= mask
            else:
                negative |= mask
        if rest or positive & negative:
            return all_of([Condition(positive, negative), *rest])
        return Condition(positive, negative)


def conjuncts(formula: Formula) -> tuple[Formula, ...]:
    """The members of a conjunction, and of those inside it: what a goal asks for, one by one."""
    if isinstance(formula, And):
        return tuple(inner for part in formula.parts for inner in conjuncts(part))
    return (formula,)


def all_of(conditions: list[Condition]) -> Condition:
    """What holds where every one of them does."""
    positive = negative = 0
    choices: list[tuple[Condition, ...]] = []
    for condition in conditions:
        positive |= condition.positive
        negative |= condition.negative
        choices += condition.choices
    if positive & negative or () in choices:
        return FALSE
    return Condition(positive, negative, tuple(choices))


def _any(conditions: list[Condition]) -> Condition:
    possible = [condition for condition in conditions if condition != FALSE]
    if TRUE in possible:
        return TRUE
    if len(possible) == 1:
        return possible[0]
    return Condition(choices=(tuple(possible),))
