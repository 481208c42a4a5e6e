"""What a model is asked about a row: the row's own prompt, or the same problem in another style or form."""

from __future__ import annotations

from grpo_project.data.rows import Row
from grpo_project.domains import all_domains
from grpo_project.errors import ConfigError
from grpo_project.prompting import FULL, SCHEMAS, render_prompt


def row_prompt(row: Row, style: str, prompt_format: str | None = None) -> str:
    """The user turn of a row. style: one of PROMPT_STYLES; prompt_format: pddl, json, nl, or None for the row's own text.

    Raises ConfigError for a form that the style does not have.
    """
    if style == FULL and prompt_format is None:
        return row.prompt
    known = all_domains().get(row.scenario)
    if known is None:
        if style not in (FULL, SCHEMAS):
            raise ConfigError(f"{row.source}: compact prompts are for {', '.join(all_domains())}; {row.scenario} is none of them")
        return render_prompt(row.scenario, row.domain_text, row.problem, style, prompt_format=prompt_format or "pddl")
    # What the registry knows names its own predicates; in a domain under other names it would mislead.
    same_words = row.domain.predicates.keys() == known.domain.predicates.keys()
    implied = known.unsaid_atoms(row.problem, style) if same_words else frozenset()
    phrases = known.phrases if same_words else {}
    return render_prompt(row.scenario, row.domain_text, row.problem, style, implied, prompt_format or "pddl", phrases)
