"""A problem and its domain under symbols without a meaning, drawn anew for every problem, for the prompt style `schemas`.

The same pool for every domain and every kind of object: what a symbol stands for, a planner can only read off the actions.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from grpo_project.common.random_streams import stream
from grpo_project.data.rows import Row
from grpo_project.errors import DataError
from grpo_project.pddl import Domain, Problem, render_domain, render_problem
from grpo_project.pddl.renaming import FIXED, Renaming, all_variables, problem_types, problem_variables
from grpo_project.prompting import SCHEMAS
from grpo_project.prompting.schemas import sayable_facts

SYMBOLS: Mapping[str, int] = MappingProxyType({"act": 12, "pred": 16, "type": 8, "obj": 80})  # of each kind: act1 .. act12
PARAMETERS = 8  # the most that an action may have: v1 .. v8


def under_neutral_symbols(domain: Domain, problem: Problem, rng: random.Random) -> tuple[Domain, Problem, Renaming]:
    """Both under drawn symbols, the actions in the order of theirs; and old names to new.

    Types stand in a prompt where something is quantified over them, and nowhere else: where a domain has more of them than there
    are symbols, the others get names without one. Raises DataError where there are too few symbols all the same.
    """

    def drawn(kind: str, names: Iterable[str]) -> dict[str, str]:
        asked = [name for name in names if name not in FIXED]
        if len(asked) > SYMBOLS[kind]:
            raise DataError(
                f"problem {problem.name}: {len(asked)} names become {kind}1, {kind}2, ... in the prompt style {SCHEMAS}, which "
                f"has {SYMBOLS[kind]} of them"
            )
        numbers = rng.sample(range(1, SYMBOLS[kind] + 1), len(asked))
        return {name: f"{kind}{number}" for name, number in zip(asked, numbers, strict=True)}

    for name, action in domain.actions.items():
        if len(action.parameters) > PARAMETERS:
            raise DataError(
                f"problem {problem.name}: action {name} has {len(action.parameters)} parameters, and the prompt style {SCHEMAS} "
                f"has words for {PARAMETERS}"
            )
    types = set(domain.types) - FIXED
    unshown = sorted(types - problem_types(problem)) if len(types) > SYMBOLS["type"] else []
    shown_first = problem_variables(problem)
    variables = sorted(all_variables(domain, problem), key=lambda name: (name not in shown_first, name))
    names = Renaming(
        domain_name="domain",
        predicates=drawn("pred", domain.predicates),
        actions=drawn("act", domain.actions),
        types=drawn("type", (name for name in domain.types if name not in unshown))
        | {name: f"unshown{number}" for number, name in enumerate(unshown, 1)},
        variables={name: f"?v{number}" for number, name in enumerate(variables, 1)},
        objects=drawn("obj", problem.objects),
    )
    renamed = names.domain(domain)
    return replace(renamed, actions=dict(sorted(renamed.actions.items()))), names.problem(problem, "problem"), names


def in_neutral_symbols(row: Row) -> tuple[Row, Renaming]:
    """The row's problem under drawn symbols, a function of its PDDL, and old names to new.

    Raises DataError as `under_neutral_symbols`, with the row's place, and ConfigError for a domain that the style cannot say.
    """
    sayable_facts(row.domain)  # here it still has the name that its user knows
    try:
        domain, problem, names = under_neutral_symbols(
            row.domain, row.problem, stream(0, SCHEMAS, row.domain_text, row.problem_text)
        )
    except DataError as error:
        raise DataError(f"{row.source}: {error}") from None
    return replace(row, meta={**row.meta, **inline_pddl(domain, problem)}), names


def inline_pddl(domain: Domain, problem: Problem) -> dict[str, str]:
    """meta's texts of both, each on one line."""
    texts = {"domain_pddl": render_domain(domain), "problem_pddl": render_problem(problem, domain)}
    return {key: " ".join(text.split()) for key, text in texts.items()}
