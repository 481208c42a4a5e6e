"""Problems to prompts and plans to text: the one renderer that SFT, GRPO and evaluation share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grpo_project.errors import ConfigError
from grpo_project.pddl import Atom, Problem, Task, Verdict, parse_domain, render_answer, render_plan, render_problem
from grpo_project.pddl.explanation import feedback
from grpo_project.prompting.chat import (
    PLAIN_CHAT,
    ChatOptions,
    Prompt,
    end_of_answer,
    fit_chat,
    render_chat,
    to_messages,
    turns_of,
)
from grpo_project.prompting.compact import render_compact, render_compact_failure
from grpo_project.prompting.json_form import domain_to_json, problem_to_json, render_json
from grpo_project.prompting.language import domain_in_words, problem_in_words
from grpo_project.prompting.schemas import render_schemas

FULL, COMPACT, COMPACT_BY_NAME, SCHEMAS = PROMPT_STYLES = ("full", "compact", "compact_by_name", "schemas")
PROMPT_FORMATS = ("pddl", "json", "nl")

INSTRUCTIONS = """\
You are given a planning domain and a problem in PDDL. Write a plan that leads from the initial state to the goal.
Write one step per line, each as (action argument ...), in the order in which they run, and nothing else.
Every precondition must hold when its step runs. Where the problem has a :constraints section, the whole sequence of states
must respect it.
"""


JSON_INSTRUCTIONS = """\
You are given a planning domain and a problem as JSON, where an array such as ["on", "b1", "b2"] is a fact or an operator with its
arguments, and names that begin with ? are variables. Write a plan that leads from the initial state to the goal.
Write one step per line, each as (action argument ...), in the order in which they run, and nothing else: no JSON.
Every precondition must hold when its step runs. Where the problem has constraints (PDDL3 operators), the whole sequence of states
must respect them.
"""

REPAIR_INSTRUCTIONS = """\
Write the whole plan again, corrected, from the initial state on: one step per line, each as (action argument ...), and nothing
else.
"""

LANGUAGE_INSTRUCTIONS = """\
You are given the actions of a planning domain and a problem. Write a plan that leads from the start to the goal.
Write one step per line, each as (action argument ...), in the order in which they run, and nothing else.
Each action is shown as it is written, with names that begin with ? in the places of its arguments. It must be able to run
when its step comes. What a step does not change stays as it is.
"""


def render_prompt(
    scenario: str,
    domain_pddl: str,
    problem: Problem,
    style: str,
    implied: frozenset[Atom] = frozenset(),
    prompt_format: str = "pddl",
    phrases: Mapping[str, str] | None = None,
) -> str:
    """The user turn. style: `full` (instructions, domain, problem: for an LLM) or `compact` (for a small planner of ours);
    `schemas`: actions and problem under neutral symbols, for a small planner that reads domains;
    `compact_by_name` leaves out what the published names imply, for planners that were taught names by heart.

    prompt_format, for the full style: `pddl`, `json`, or `nl` (English, by the domain's `phrases`). Plans are written the same
    way for all. Raises ConfigError for a style or format that there is not.
    """
    if prompt_format not in PROMPT_FORMATS:
        raise ConfigError(f"prompt format must be one of {', '.join(PROMPT_FORMATS)}, got {prompt_format!r}")
    if style != FULL and prompt_format != "pddl":
        raise ConfigError(f"the {style} style has one form; prompt format {prompt_format} is for the full style")
    if style in (COMPACT, COMPACT_BY_NAME):
        return render_compact(scenario, problem, implied, at_each_object=style == COMPACT)
    if style == SCHEMAS:
        return render_schemas(parse_domain(domain_pddl, f"domain of {scenario}"), problem)
    if style != FULL:
        raise ConfigError(f"prompt style must be one of {', '.join(PROMPT_STYLES)}, got {style!r}")
    if prompt_format == "pddl":
        return f"{INSTRUCTIONS}\nDomain:\n{domain_pddl.strip()}\n\nProblem:\n{render_problem(problem).strip()}\n"
    domain = parse_domain(domain_pddl, f"domain of {scenario}")
    if prompt_format == "json":
        parts = render_json(domain_to_json(domain)), render_json(problem_to_json(problem, domain))
        return f"{JSON_INSTRUCTIONS}\nDomain:\n{parts[0]}\nProblem:\n{parts[1]}"
    words = domain_in_words(domain, phrases or {}), problem_in_words(problem, phrases or {})
    return f"{LANGUAGE_INSTRUCTIONS}\nActions:\n{words[0]}\n{words[1]}"


def render_failure(task: Task, text: str, verdict: Verdict, detail: str, style: str) -> str:
    """The user turn after the failed answer `text`: what the verifier says of it, and what is wanted now, in the prompt's words.

    detail: how much is told, one of DETAILS; style: one of PROMPT_STYLES.
    """
    if style == FULL:
        return f"{feedback(task, text, verdict, detail)}\n\n{REPAIR_INSTRUCTIONS}"
    return render_compact_failure(task, text, verdict, detail)


def stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Every id at which generation ends an answer: those of the generation config, then the tokenizer's end token."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = named if isinstance(named, (list, tuple)) else [named]
    return list(dict.fromkeys(int(token) for token in [*listed, tokenizer.eos_token_id] if token is not None))


__all__ = [
    "INSTRUCTIONS",
    "PLAIN_CHAT",
    "PROMPT_FORMATS",
    "PROMPT_STYLES",
    "ChatOptions",
    "Prompt",
    "end_of_answer",
    "fit_chat",
    "render_answer",
    "render_chat",
    "render_compact",
    "render_failure",
    "render_plan",
    "render_prompt",
    "stop_tokens",
    "to_messages",
    "turns_of",
]
