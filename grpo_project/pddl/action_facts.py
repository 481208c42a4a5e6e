"""What the actions of a domain need, add and delete, as plain facts, where literals say all of it."""

from __future__ import annotations

from grpo_project.pddl.conditions import conjuncts
from grpo_project.pddl.model import Action, Domain, Literal, Not

Fact = tuple[str, str, tuple[str, ...]]  # one of KINDS, a predicate, and its terms: a parameter by its place from 0 on
KINDS = ("needs", "needs not", "adds", "deletes")


def action_facts(domain: Domain) -> dict[str, frozenset[Fact]] | None:
    """Of each action what it says of which predicate; None where that is not all: for constants, functions, derived predicates,
    constraints of the domain, and conditions and effects that are more than literals."""
    if domain.constants or domain.functions or domain.derived or domain.constraints:
        return None
    found = {name: _facts(action) for name, action in domain.actions.items()}
    return None if None in found.values() else {name: facts for name, facts in found.items() if facts is not None}


def _facts(action: Action) -> frozenset[Fact] | None:
    places = {parameter.name: str(place) for place, parameter in enumerate(action.parameters)}

    def fact(kind: str, atom: tuple[str, ...]) -> Fact:
        return kind, atom[0], tuple(places[term] for term in atom[1:])

    facts: set[Fact] = set()
    for part in conjuncts(action.precondition):
        match part:
            case Literal(atom):
                facts.add(fact("needs", atom))
            case Not(Literal(atom)):
                facts.add(fact("needs not", atom))
            case _:
                return None
    for effect in action.effects:
        if effect.variables or effect.when is not None or effect.numeric is not None:
            return None
        facts.add(fact("adds", effect.add) if effect.add else fact("deletes", effect.delete or ()))
    return frozenset(facts)
