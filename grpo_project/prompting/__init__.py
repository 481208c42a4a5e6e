"""Problems to prompts and plans to text: the one renderer that SFT, GRPO and evaluation share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grpo_project.errors import ConfigError
from grpo_project.pddl import Atom, Problem, Step, render_problem
from grpo_project.prompting.compact import render_compact

PROMPT_STYLES = ("full", "compact")

INSTRUCTIONS = """\
You are given a planning domain and a problem in PDDL. Write a plan that leads from the initial state to the goal.
Write one step per line, each as (action argument ...), in the order in which they run, and nothing else.
Every precondition must hold when its step runs. Where the problem has a :constraints section, the whole sequence of states
must respect it.
"""


def render_prompt(
    scenario: str, domain_pddl: str, problem: Problem, style: str, implied: frozenset[Atom] = frozenset()
) -> str:
    """The user turn. style: `full` (instructions, domain, problem: what an LLM gets) or `compact` (what the tiny planner reads)."""
    if style == "compact":
        return render_compact(scenario, problem, implied)
    if style == "full":
        return f"{INSTRUCTIONS}\nDomain:\n{domain_pddl.strip()}\n\nProblem:\n{render_problem(problem).strip()}\n"
    raise ConfigError(f"prompt style must be one of {', '.join(PROMPT_STYLES)}, got {style!r}")


def to_messages(prompt: str, response: str | None = None) -> list[dict[str, str]]:
    """One user turn and, where there is a response, one assistant turn."""
    messages = [{"role": "user", "content": prompt}]
    if response is not None:
        messages.append({"role": "assistant", "content": response})
    return messages


def render_plan(steps: Iterable[Step]) -> str:
    """One step a line, each line ended: the only form in which we write plans."""
    return "".join(f"({' '.join(step)})\n" for step in steps)


def render_chat(tokenizer: Any, prompt: str, response: str | None = None) -> str:
    """The text that the model sees: the chat template, up to where the answer begins, or with the answer and its end."""
    text: str = tokenizer.apply_chat_template(
        to_messages(prompt, response), tokenize=False, add_generation_prompt=response is None
    )
    return text


__all__ = ["INSTRUCTIONS", "PROMPT_STYLES", "render_chat", "render_compact", "render_plan", "render_prompt", "to_messages"]
