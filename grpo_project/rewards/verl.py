"""The reward in verl's calling convention, and rows in its data format. Plain Python; verl is not needed to import this.

    reward.custom_reward_function.path=pkg://grpo_project.rewards.verl reward.custom_reward_function.name=compute_score

A fault of ours raises; it never becomes a reward.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from grpo_project.configs.reward import RewardConfig
from grpo_project.data.rows import RowTable
from grpo_project.domains import all_domains
from grpo_project.errors import ConfigError, DataError
from grpo_project.pddl import Task, compile_task, parse_domain, parse_problem, validate_text
from grpo_project.prompting import to_messages
from grpo_project.prompting.content import content_text
from grpo_project.rewards.score import score

TASKS_REMEMBERED = 4096
logger = logging.getLogger(__name__)


def compute_score(
    data_source: str,
    solution_str: str | Sequence[Any],
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    mode: str = "dense",
    **others: Any,
) -> dict[str, float]:
    """The reward of one answer: `score` in [-1, 1], `acc` 1.0 for a plan that solves the problem, else 0.0, `progress` in [0, 1].

    data_source: name of the planning domain. solution_str: the answer, a text or a list of content parts. ground_truth: the
    problem's PDDL text. extra_info["domain_pddl"]: the domain's text, where it is not the one shipped under that name. `mode` is
    a RewardConfig mode, set through verl's reward_kwargs; `others`: what verl adds, such as the address of a reward model; it is
    named once in the log and not used.
    Raises TypeError for an answer that is neither, DataError for a domain that is unknown and comes without its text, PddlError
    for PDDL that does not parse, and ConfigError for an unknown mode or a mistyped `mode`.
    """
    for name in others:
        _tell_unknown(name)
    domain_pddl = (extra_info or {}).get("domain_pddl") or _shipped_domain(data_source)
    parts = score(validate_text(_task(domain_pddl, ground_truth), content_text(solution_str)), RewardConfig(mode=mode))
    return {"score": parts.total, "acc": parts.success, "progress": parts.progress}


def verl_rows(table: RowTable, split: str) -> Iterator[dict[str, Any]]:
    """Every row of `table` as a row of verl's parquet files, in order. `split` is a name such as train or test."""
    for index, row in enumerate(table.rows):
        yield {
            "data_source": row.scenario,
            "prompt": to_messages(row.prompt),
            "ability": "planning",
            "reward_model": {"style": "rule", "ground_truth": row.problem_text},
            "extra_info": {"split": split, "index": index, "domain_pddl": row.domain_text},
        }


@lru_cache(TASKS_REMEMBERED)
def _tell_unknown(name: str) -> None:
    """Once for each name. Raises ConfigError for what was meant to be `mode`."""
    if get_close_matches(name, ["mode"]):
        raise ConfigError(f"compute_score knows no {name!r}: the reward is chosen by `mode`, in verl's reward_kwargs")
    logger.warning("compute_score has no use for the keyword %r, and goes on without it", name)


def _shipped_domain(name: str) -> str:
    known = all_domains()
    if name not in known:
        raise DataError(
            f"data_source {name!r} is no known domain ({', '.join(known)}): name one, or give the domain's text as "
            'extra_info["domain_pddl"]'
        )
    return known[name].domain_pddl


@lru_cache(TASKS_REMEMBERED)
def _task(domain_pddl: str, problem_pddl: str) -> Task:
    """Compiled once for all answers to a problem."""
    domain = parse_domain(domain_pddl, "domain_pddl")
    return compile_task(domain, parse_problem(problem_pddl, domain, "ground_truth"))
