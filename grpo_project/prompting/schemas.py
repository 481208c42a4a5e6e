"""The prompt of a planner that reads a domain instead of knowing it: its actions, then the problem as in the compact prompt.

    act2 v1 v2 ?pred3 v1 ?pred1 v1 v2 >pred4 v2 <pred3 v1 act1 v1 ... obj7 +pred3 obj7 +pred1 obj2 obj2 !pred4

An action is its name, its parameters, and what it needs (`?`, and `?-` what must not hold), adds (`>`) and deletes (`<`). A
predicate that no action changes and that holds of any two different things of some (not-eq) is said once, with `#` and those
things. Names mean nothing here: they are symbols drawn anew for every problem (grpo_project/data/neutral_symbols.py), so that
what a word is can be seen from the actions alone. Types are left out, as in the compact prompt.
"""

from __future__ import annotations

from itertools import permutations

from grpo_project.errors import ConfigError
from grpo_project.pddl import Atom, Domain, Problem
from grpo_project.pddl.action_facts import KINDS, Fact, action_facts
from grpo_project.prompting.compact import render_compact

SIGILS = dict(zip(KINDS, ("?", "?-", ">", "<"), strict=True))
ALL_DIFFERENT = "#"
LEAST_DIFFERENT = 3  # things that a predicate tells apart; of two it might be a way there and back


def parameter(place: int) -> str:
    """How the parameter at `place`, from 0 on, is called."""
    return f"v{place + 1}"


def sayable_facts(domain: Domain) -> dict[str, frozenset[Fact]]:
    """`action_facts`. Raises ConfigError for actions that are more than literals over their parameters."""
    facts = action_facts(domain)
    if facts is None:
        raise ConfigError(
            f"domain {domain.name}: the prompt style schemas is for actions whose conditions and effects are literals, without "
            "constants, functions and derived predicates"
        )
    return facts


def render_schemas(domain: Domain, problem: Problem) -> str:
    """One line. Raises ConfigError as `sayable_facts`."""
    facts = sayable_facts(domain)
    words: list[str] = []
    for name, action in domain.actions.items():
        words += [name, *(parameter(place) for place in range(len(action.parameters)))]
        for kind, predicate, places in sorted(facts[name], key=lambda fact: (KINDS.index(fact[0]), len(fact[2]), *fact[1:])):
            words += [SIGILS[kind] + predicate, *(parameter(int(place)) for place in places)]
    implied: set[Atom] = set()
    for predicate, things in _told_apart(domain, problem).items():
        words += [ALL_DIFFERENT + predicate, *things]
        implied |= {(predicate, *pair) for pair in permutations(things, 2)}
    return render_compact(" ".join(words), problem, frozenset(implied))


def _told_apart(domain: Domain, problem: Problem) -> dict[str, list[str]]:
    """Predicate to the things of which it holds for any two different ones, and of nothing else; for those that never change."""
    found: dict[str, list[str]] = {}
    for predicate in domain.predicates.keys() - domain.fluents:
        pairs = {atom[1:] for atom in problem.init if atom[0] == predicate}
        things = [name for name in problem.objects if any(name in pair for pair in pairs)]
        if len(things) >= LEAST_DIFFERENT and pairs == set(permutations(things, 2)):
            found[predicate] = things
    return dict(sorted(found.items()))
