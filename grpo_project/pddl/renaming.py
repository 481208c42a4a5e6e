"""The same task under other names: the problem stays the same, and no word hints at what it is about."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from grpo_project.pddl.model import (
    IS_VIOLATED,
    Action,
    And,
    Arithmetic,
    Atom,
    Comparison,
    Constraint,
    ConstraintAnd,
    ConstraintForall,
    ConstraintPreference,
    DerivedRule,
    Domain,
    Effect,
    Exists,
    Expression,
    Forall,
    Formula,
    Imply,
    Literal,
    Not,
    Or,
    Preference,
    Problem,
    Step,
    TrajectoryConstraint,
    TypedName,
    parts_of,
)
from grpo_project.pddl.preferences import preference_names
from grpo_project.pddl.types import ROOT_TYPE, either, members_of

# Names with a meaning of their own: equality, the root type, and the two fluents that VAL and :metric know.
FIXED = frozenset({"=", ROOT_TYPE, "total-cost", "total-time"})
_CONSONANTS, _VOWELS = "bdfgjklmnprstvz", "aeiou"


@dataclass(frozen=True)
class Renaming:
    """Old name to new name, by kind; a name without an entry stays. `objects` covers the domain's constants too."""

    domain_name: str
    predicates: Mapping[str, str] = field(default_factory=dict)
    actions: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)

    def domain(self, domain: Domain) -> Domain:
        """The domain under the new names; functions and preferences count as predicates."""
        return replace(
            domain,
            name=self.domain_name,
            types={self._type(name): tuple(sorted(map(self._type, parents))) for name, parents in domain.types.items()},
            constants=self._objects(domain.constants),
            predicates={self._predicate(name): self._typed(own) for name, own in domain.predicates.items()},
            functions={self._predicate(name): self._typed(own) for name, own in domain.functions.items()},
            actions={self.actions.get(name, name): self._action(action) for name, action in domain.actions.items()},
            constraints=None if domain.constraints is None else self._constraint(domain.constraints),
            derived=tuple(
                DerivedRule(self._predicate(rule.head), self._typed(rule.parameters), self._formula(rule.body))
                for rule in domain.derived
            ),
        )

    def problem(self, problem: Problem, name: str) -> Problem:
        """The problem under the new names, itself called `name`."""
        return replace(
            problem,
            name=name,
            domain_name=self.domain_name,
            objects=self._objects(problem.objects),
            init=frozenset(map(self._atom, problem.init)),
            goal=self._formula(problem.goal),
            constraints=None if problem.constraints is None else self._constraint(problem.constraints),
            values={self._atom(term): value for term, value in problem.values.items()},
            metric=None if problem.metric is None else (problem.metric[0], self._expression(problem.metric[1])),
        )

    def steps(self, steps: Iterable[Step]) -> tuple[Step, ...]:
        """A plan under the new names."""
        return tuple((self.actions.get(step[0], step[0]), *map(self._term, step[1:])) for step in steps)

    def _predicate(self, name: str) -> str:
        return self.predicates.get(name, name)

    def _type(self, name: str) -> str:
        return either(self.types.get(word, word) for word in members_of(name))

    def _term(self, name: str) -> str:
        return self.variables.get(name, name) if name.startswith("?") else self.objects.get(name, name)

    def _objects(self, objects: Mapping[str, str]) -> dict[str, str]:
        return {self._term(name): self._type(kind) for name, kind in objects.items()}

    def _typed(self, variables: tuple[TypedName, ...]) -> tuple[TypedName, ...]:
        return tuple(TypedName(self._term(variable.name), self._type(variable.type)) for variable in variables)

    def _atom(self, atom: Atom) -> Atom:
        return (self._predicate(atom[0]), *map(self._term, atom[1:]))

    def _expression(self, expression: Expression) -> Expression:
        match expression:
            case Arithmetic(operator, parts):
                return Arithmetic(operator, tuple(map(self._expression, parts)))
            case (word, name) if word == IS_VIOLATED:
                return (word, self._predicate(name))
            case tuple():
                return self._atom(expression)
        return expression

    def _formula(self, formula: Formula) -> Formula:
        match formula:
            case Literal(atom):
                return Literal(self._atom(atom))
            case Comparison(operator, left, right):
                return Comparison(operator, self._expression(left), self._expression(right))
            case Not(part):
                return Not(self._formula(part))
            case And(parts) | Or(parts):
                return type(formula)(tuple(map(self._formula, parts)))
            case Imply(condition, consequence):
                return Imply(self._formula(condition), self._formula(consequence))
            case Forall(variables, part) | Exists(variables, part):
                return type(formula)(self._typed(variables), self._formula(part))
            case Preference(name, part):
                return Preference(self._predicate(name), self._formula(part))
        raise TypeError(f"not a formula: {formula!r}")

    def _constraint(self, constraint: Constraint) -> Constraint:
        match constraint:
            case ConstraintAnd(parts):
                return ConstraintAnd(tuple(map(self._constraint, parts)))
            case ConstraintForall(variables, part):
                return ConstraintForall(self._typed(variables), self._constraint(part))
            case ConstraintPreference(name, part):
                return ConstraintPreference(self._predicate(name), self._constraint(part))
        return TrajectoryConstraint(constraint.operator, tuple(map(self._formula, constraint.formulas)), constraint.times)

    def _effect(self, effect: Effect) -> Effect:
        change = effect.numeric
        return Effect(
            variables=self._typed(effect.variables),
            when=None if effect.when is None else self._formula(effect.when),
            add=None if effect.add is None else self._atom(effect.add),
            delete=None if effect.delete is None else self._atom(effect.delete),
            numeric=change and replace(change, term=self._atom(change.term), amount=self._expression(change.amount)),
        )

    def _action(self, action: Action) -> Action:
        return Action(
            self.actions.get(action.name, action.name),
            self._typed(action.parameters),
            self._formula(action.precondition),
            tuple(map(self._effect, action.effects)),
        )


def renaming_of(names: Iterable[str], domain: Domain, problem: Problem, new: Iterator[str]) -> Renaming:
    """Those of `names` that domain and problem use, whatever for, under `new` ones; variables keep their question mark."""
    given = {name: next(new) for name in sorted(set(names) - FIXED)}
    variables = {name: f"?{word}" for name, word in given.items() if name.startswith("?")}
    return Renaming(given.get(domain.name, domain.name), given, given, given, variables, given)


def obfuscation(domain: Domain, problem: Problem, rng: random.Random) -> Renaming:
    """New names for everything a problem and its domain name: domain, types, predicates, functions, actions, variables, objects.

    Short invented words, all different, drawn from `rng`; those of FIXED stay. Sorting, so that the draw does not depend on the
    order in which a file declares things.
    """
    invented = invented_words(rng, taken=all_names(domain, problem))

    def renamed(names: Iterable[str]) -> dict[str, str]:
        return {name: next(invented) for name in sorted(set(names) - FIXED)}

    variables = sorted(all_variables(domain, problem))
    return Renaming(
        domain_name=next(invented),
        predicates=renamed([*domain.predicates, *domain.functions, *preference_names(domain, problem)]),
        actions=renamed(domain.actions),
        types=renamed(domain.types),
        # Numbered: a variable's name is the reader's handle, and its number gives nothing away.
        variables={name: f"?v{number}" for number, name in enumerate(rng.sample(variables, len(variables)), 1)},
        objects=renamed([*domain.constants, *problem.objects]),
    )


def invented_words(rng: random.Random, taken: Collection[str]) -> Iterator[str]:
    """Short words without a meaning, all different and none of those `taken`, without end."""
    syllables = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
    words = [first + second for first in syllables for second in syllables if first + second not in taken]
    # Two syllables give 5,625 words; a task of ours needs some sixty. Larger ones go on with three.
    rng.shuffle(words)
    yield from words
    yield from (word + rng.choice(syllables) for word in words)


def all_names(domain: Domain, problem: Problem) -> set[str]:
    """Every name but those of variables."""
    kinds = (domain.types, domain.constants, domain.predicates, domain.functions, domain.actions, problem.objects)
    return {domain.name, problem.name, *preference_names(domain, problem), *(name for kind in kinds for name in kind)}


def all_variables(domain: Domain, problem: Problem) -> set[str]:
    """Every variable of the domain and the problem."""
    return _variables(domain) | problem_variables(problem)


def _variables(domain: Domain) -> set[str]:
    found = {variable.name for own in (*domain.predicates.values(), *domain.functions.values()) for variable in own}
    for rule in domain.derived:
        found |= {parameter.name for parameter in rule.parameters} | _bound(rule.body)
    for action in domain.actions.values():
        found |= {parameter.name for parameter in action.parameters} | _bound(action.precondition)
        for effect in action.effects:
            found |= {variable.name for variable in effect.variables}
            found |= _bound(effect.when) if effect.when is not None else set()
    return found | (_bound(domain.constraints) if domain.constraints is not None else set())


def problem_variables(problem: Problem) -> set[str]:
    """Every variable of goal and constraints."""
    return {variable.name for variable in _quantified_in(problem)}


def problem_types(problem: Problem) -> set[str]:
    """Every type that goal or constraints quantify over."""
    return {name for variable in _quantified_in(problem) for name in members_of(variable.type)}


def _quantified_in(problem: Problem) -> set[TypedName]:
    return _quantified(problem.goal) | (_quantified(problem.constraints) if problem.constraints is not None else set())


def _bound(node: Formula | Constraint) -> set[str]:
    """The variables that quantifiers inside a formula or constraint bind."""
    return {variable.name for variable in _quantified(node)}


def _quantified(node: Formula | Constraint) -> set[TypedName]:
    """The same with their types."""
    own = set(node.variables) if isinstance(node, Forall | Exists | ConstraintForall) else set()
    return own.union(*map(_quantified, parts_of(node)))
