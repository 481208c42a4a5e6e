"""Problems of a known domain under other names of predicates, actions and types, in the words that a small planner was taught.

Whether a domain is a known one under other names is decided by its action schemas alone: blocksworld with put-down for putdown,
or with words that mean nothing. It is the suite that reads the schemas here, and not the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations, product

from grpo_project.data.rows import Row
from grpo_project.domains import all_domains
from grpo_project.errors import PddlError
from grpo_project.pddl import Domain, parse_problem, render_problem
from grpo_project.pddl.action_facts import Fact, action_facts
from grpo_project.pddl.renaming import Renaming
from grpo_project.pddl.types import TypeHierarchy


def renaming_to_known(domain: Domain) -> tuple[str, Renaming] | None:
    """(name in the registry, names of `domain` -> names there) of the registered domain whose action schemas are those of
    `domain` under other names: the same parameters in the same order, the same conditions and effects, types as coarse.

    None where there is none, where the names are the same already, and for what action schemas alone do not say: constants,
    functions, derived predicates, constraints of the domain, conditions and effects that are more than literals.
    """
    own = action_facts(domain)
    for name, known in all_domains().items():
        theirs = action_facts(known.domain)
        if own is None or theirs is None or domain.predicates.keys() == known.domain.predicates.keys():
            continue
        for predicates in _predicate_maps(own, theirs, domain, known.domain):
            actions = _action_map(own, theirs, predicates)
            types = _type_map(domain, known.domain, predicates, actions) if actions else None
            if actions and types is not None:
                return name, Renaming(known.domain.name, predicates=predicates, actions=actions, types=types)
    return None


def in_known_domain(row: Row) -> tuple[Row, Mapping[str, str]]:
    """The row's problem in the words of a known domain, and {own action: action there}; the row itself and {} where there is
    nothing to exchange."""
    found = renaming_to_known(row.domain)
    if found is None:
        return row, {}
    name, renaming = found
    known = all_domains()[name]
    text = render_problem(renaming.problem(row.problem, row.problem.name), known.domain)
    try:
        parse_problem(text, known.domain)
    except PddlError:  # it has things of a type that no schema names, so that there is none for them there
        return row, {}
    meta = {**row.meta, "domain_pddl": known.domain_pddl, "problem_pddl": text}
    return replace(row, scenario=name, meta=meta), renaming.actions


def _profiles(schemas: Mapping[str, frozenset[Fact]], domain: Domain) -> dict[str, str]:
    """Of each predicate what is said of it wherever it stands, names apart: only predicates with one profile can be the same."""
    said: dict[str, Counter[tuple[str, tuple[str, ...], int]]] = {name: Counter() for name in domain.predicates}
    for action, facts in schemas.items():
        for kind, predicate, places in facts:
            said.setdefault(predicate, Counter())[kind, places, len(domain.actions[action].parameters)] += 1
    arity = {name: len(parameters) for name, parameters in domain.predicates.items()}
    return {name: repr((name if name == "=" else arity[name], sorted(own.items()))) for name, own in said.items()}


def _predicate_maps(
    own: Mapping[str, frozenset[Fact]], theirs: Mapping[str, frozenset[Fact]], domain: Domain, known: Domain
) -> Iterator[dict[str, str]]:
    """Every one-to-one map of predicates that keeps profiles."""
    ours, others = _profiles(own, domain), _profiles(theirs, known)
    if Counter(ours.values()) != Counter(others.values()):
        return
    classes = [[name for name in ours if ours[name] == profile] for profile in dict.fromkeys(ours.values())]
    choices = [permutations([name for name in others if others[name] == ours[members[0]]]) for members in classes]
    for chosen in product(*choices):
        yield {
            name: there
            for members, names in zip(classes, chosen, strict=True)
            for name, there in zip(members, names, strict=True)
        }


def _action_map(
    own: Mapping[str, frozenset[Fact]], theirs: Mapping[str, frozenset[Fact]], predicates: Mapping[str, str]
) -> dict[str, str]:
    """Own action -> the one there with the same facts; {} where that is not one to one."""
    there = {facts: name for name, facts in theirs.items()}
    found = {
        name: there.get(frozenset((kind, predicates[predicate], places) for kind, predicate, places in facts), "")
        for name, facts in own.items()
    }
    return found if sorted(found.values()) == sorted(theirs) else {}


def _type_map(domain: Domain, known: Domain, predicates: Mapping[str, str], actions: Mapping[str, str]) -> dict[str, str] | None:
    """Own type -> type there, for all that predicates and actions name; None where one would be two, or stand above others."""
    pairs = [(domain.predicates[name], known.predicates[there]) for name, there in predicates.items() if name != "="]
    pairs += [(domain.actions[name].parameters, known.actions[there].parameters) for name, there in actions.items()]
    found: dict[str, str] = {}
    for ours, others in pairs:
        if len(ours) != len(others) or any(found.setdefault(a.type, b.type) != b.type for a, b in zip(ours, others, strict=True)):
            return None
    if not known.types:  # everything is an object there; two types here would be two kinds of things to quantify over
        return found if len(found) <= 1 else None
    below, there = TypeHierarchy(domain.types), TypeHierarchy(known.types)
    same = all(below.fits(a, b) == there.fits(found[a], found[b]) for a in found for b in found)
    return found if same and len(set(found.values())) == len(found) else None
