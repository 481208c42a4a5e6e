"""PDDL as small immutable values. Names are lower case; variables keep their leading `?`.

Formulas and trajectory constraints are separate unions: a constraint is only legal under `:constraints`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Union

from grpo_project.pddl.types import ROOT_TYPE, TypeHierarchy

Atom = tuple[str, ...]
Step = tuple[str, ...]


@dataclass(frozen=True)
class TypedName:
    """A variable of a quantifier, or a parameter of an action or predicate, with its type."""

    name: str
    type: str = ROOT_TYPE


@dataclass(frozen=True)
class Literal:
    """An atom, possibly with variables: ("on", "?x", "b1"). The predicate "=" is equality."""

    atom: Atom


@dataclass(frozen=True)
class Not:
    part: Formula


@dataclass(frozen=True)
class And:
    parts: tuple[Formula, ...]


@dataclass(frozen=True)
class Or:
    parts: tuple[Formula, ...]


@dataclass(frozen=True)
class Imply:
    condition: Formula
    consequence: Formula


@dataclass(frozen=True)
class Forall:
    variables: tuple[TypedName, ...]
    part: Formula


@dataclass(frozen=True)
class Exists:
    variables: tuple[TypedName, ...]
    part: Formula


@dataclass(frozen=True)
class Arithmetic:
    """`operator` is one of + - * /; `parts` has two members, one for the unary minus, two or more for + and *."""

    operator: str
    parts: tuple[Expression, ...]


# A number, a function term like ("fuel", "?truck"), or arithmetic over them.
Expression = Union[float, Atom, Arithmetic]


@dataclass(frozen=True)
class Comparison:
    """`operator` is one of < <= = >= >; equality of objects is a Literal."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Preference:
    """A condition that may be violated, at the price that the metric gives its name.

    It stands in goals and preconditions, under `and` and `forall` alone.
    """

    name: str
    part: Formula


Formula = Union[Literal, Comparison, Not, And, Or, Imply, Forall, Exists, Preference]

IS_VIOLATED = "is-violated"  # ("is-violated", "name") is how often that preference is violated; only a metric may ask
NUMERIC_EFFECTS = ("assign", "increase", "decrease", "scale-up", "scale-down")
TOTAL_COST: Atom = ("total-cost",)
TOTAL_TIME: Atom = ("total-time",)


@dataclass(frozen=True)
class NumericEffect:
    """`operator` is one of NUMERIC_EFFECTS; `amount` is read in the state before the action."""

    operator: str
    term: Atom
    amount: Expression


@dataclass(frozen=True)
class Effect:
    """One simple effect under its quantifiers and condition.

    `when` is None for an unconditional effect. Exactly one of `add`/`delete`/`numeric` is set.
    """

    variables: tuple[TypedName, ...] = ()
    when: Formula | None = None
    add: Atom | None = None
    delete: Atom | None = None
    numeric: NumericEffect | None = None


@dataclass(frozen=True)
class Action:
    name: str
    parameters: tuple[TypedName, ...]
    precondition: Formula
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class DerivedRule:
    """An axiom of PDDL 2.2: predicate `head` holds of the parameters where `body` does. A predicate may have several."""

    head: str
    parameters: tuple[TypedName, ...]
    body: Formula


# Trajectory constraints (PDDL3, Gerevini and Long 2005). States are S0..Sn; state i holds at time i.
TRAJECTORY_OPERATORS = (
    "always",
    "sometime",
    "at-most-once",
    "sometime-before",
    "sometime-after",
    "at end",
    "within",
    "always-within",
    "hold-during",
    "hold-after",
)


@dataclass(frozen=True)
class TrajectoryConstraint:
    """`operator` is one of TRAJECTORY_OPERATORS; `formulas` has one member, or two for the binary operators
    (sometime-before, sometime-after, always-within); `times` holds the numbers (within t; hold-during t1 t2)."""

    operator: str
    formulas: tuple[Formula, ...]
    times: tuple[float, ...] = ()


@dataclass(frozen=True)
class ConstraintAnd:
    parts: tuple[Constraint, ...]


@dataclass(frozen=True)
class ConstraintForall:
    variables: tuple[TypedName, ...]
    part: Constraint


@dataclass(frozen=True)
class ConstraintPreference:
    """A constraint that may be violated; see Preference."""

    name: str
    part: Constraint


Constraint = Union[TrajectoryConstraint, ConstraintAnd, ConstraintForall, ConstraintPreference]


# By type, since this is asked of every formula of every problem: `match` takes four times as long.
_PARTS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    **dict.fromkeys((And, Or, ConstraintAnd), lambda node: node.parts),
    **dict.fromkeys((Not, Forall, Exists, ConstraintForall, Preference, ConstraintPreference), lambda node: (node.part,)),
    Imply: lambda node: (node.condition, node.consequence),
    TrajectoryConstraint: lambda node: node.formulas,
}


def parts_of(node: Formula | Constraint) -> tuple[Formula | Constraint, ...]:
    """The formulas and constraints directly inside one; none in a literal or comparison."""
    parts = _PARTS.get(type(node))
    return parts(node) if parts is not None else ()


def nodes_in(node: Formula | Constraint) -> Iterator[Formula | Constraint]:
    """A formula or constraint and all that is inside it, in the order of the text."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += reversed(parts_of(found))


def preferences_in(node: Formula | Constraint) -> Iterator[str]:
    """The names of the preferences in a formula or constraint, in order."""
    return (inner.name for inner in nodes_in(node) if isinstance(inner, Preference | ConstraintPreference))


@dataclass(frozen=True)
class Domain:
    """`types` maps each type to its parents, sorted: those declared, and those that are named only as a parent."""

    name: str
    requirements: tuple[str, ...] = ()
    types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    predicates: Mapping[str, tuple[TypedName, ...]] = field(default_factory=dict)
    functions: Mapping[str, tuple[TypedName, ...]] = field(default_factory=dict)
    actions: Mapping[str, Action] = field(default_factory=dict)
    constraints: Constraint | None = None
    derived: tuple[DerivedRule, ...] = ()

    @cached_property
    def fluents(self) -> frozenset[str]:
        """The predicates whose atoms may change, by an action's effect or as a rule derives them; the others stay as they are."""
        effects = [effect for action in self.actions.values() for effect in action.effects]
        changed = {atom[0] for effect in effects for atom in (effect.add, effect.delete) if atom is not None}
        return frozenset(changed | {rule.head for rule in self.derived})

    @cached_property
    def kept(self) -> dict[str, Any]:
        """By an action's name, what task.py works out about it once for all problems."""
        return {}

    @cached_property
    def preference_names(self) -> tuple[str, ...]:
        """Every name of a preference once: those of constraints, then those of preconditions."""
        nodes = [self.constraints, *(action.precondition for action in self.actions.values())]
        return tuple(dict.fromkeys(name for node in nodes if node is not None for name in preferences_in(node)))

    @cached_property
    def needs_numbers(self) -> bool:
        """False where the only numbers are costs that a sum can hold: (increase (total-cost) STATIC), unconditional."""
        effects = [effect for action in self.actions.values() for effect in action.effects]
        changes = [(effect.when, effect.numeric) for effect in effects if effect.numeric is not None]
        if any(when is not None or (change.operator, change.term) != ("increase", TOTAL_COST) for when, change in changes):
            return True
        if any(isinstance(change.amount, Arithmetic) or change.amount == TOTAL_COST for _, change in changes):
            return True
        nodes: list[Formula | Constraint | None] = [action.precondition for action in self.actions.values()]
        nodes += [self.constraints, *(rule.body for rule in self.derived), *(effect.when for effect in effects)]
        return any(isinstance(inner, Comparison) for node in nodes if node is not None for inner in nodes_in(node))

    @cached_property
    def hierarchy(self) -> TypeHierarchy:
        return TypeHierarchy(self.types)


@dataclass(frozen=True)
class Problem:
    """`objects` maps name to type and leaves out the domain's constants. `init` holds the atoms true at the start;
    `values` the initial values of numeric functions; `metric` is (minimize or maximize, expression) or None."""

    name: str
    domain_name: str
    objects: Mapping[str, str]
    init: frozenset[Atom]
    goal: Formula
    constraints: Constraint | None = None
    values: Mapping[Atom, float] = field(default_factory=dict)
    metric: tuple[str, Expression] | None = None
