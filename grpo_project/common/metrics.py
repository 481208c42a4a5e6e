"""The figures of a log line in metrics.jsonl, each declared once: monitor, health, report and figures read them from here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LARGEST = 2**53  # JavaScript counts no further
POOLS = ("mean", "mean by step", "sum", "max", "min", "last", "none")
# What a figure looks like in JSON. The plurals are mappings, by domain, by difficulty or by other names.
FORMS = (
    "number count share text names alarms numbers shares counts pairs intervals cells solved_cells numbers_by_difficulty"
).split()
# The forms that are curves: {form: how the names of its curves go on}.
DRAWN = {"number": "", "count": "", "share": ""} | dict.fromkeys(("numbers", "shares", "counts", "numbers_by_difficulty"), "/*")
# How W&B sums a figure up; what is not here is summed up by its last value, as W&B does by itself.
SUMMARIES = {"mean": "last,mean", "mean by step": "last,mean", "max": "max", "min": "min"}


@dataclass(frozen=True)
class Metric:
    """One figure of a log line.

    theirs: its name in the logs of TRL and transformers; "" where the suite counts it. pooled: how neighbouring log lines become
    one: `mean` weighs them by their completions, `mean by step` by their steps, `none` is not pooled. form: one of FORMS.
    finite: NaN or infinity is an error of the run.
    """

    name: str
    label: str
    unit: str = ""
    theirs: str = ""
    pooled: str = "mean"
    form: str = "number"
    finite: bool = False

    def __post_init__(self) -> None:
        if self.pooled not in POOLS:
            raise ValueError(f"{self.name}: pooled must be one of {', '.join(POOLS)}, got {self.pooled!r}")
        if self.form not in FORMS:
            raise ValueError(f"{self.name}: form must be one of {', '.join(FORMS)}, got {self.form!r}")


_ALL = (
    Metric("step", "Optimizer step", "steps", pooled="last", form="count"),
    # what TRL and transformers log
    Metric("loss", "Loss", theirs="loss", finite=True),
    Metric("grad_norm", "Gradient norm", theirs="grad_norm", finite=True),
    Metric("learning_rate", "Learning rate", theirs="learning_rate", pooled="last"),
    Metric("reward_std", "Reward std", "within groups", theirs="reward_std"),
    Metric("kl", "KL to the starting model", "nats", theirs="kl", finite=True),
    Metric("entropy", "Entropy", "nats per token", theirs="entropy"),
    Metric("clip_ratio", "Clipped tokens", "share", theirs="clip_ratio/region_mean"),
    Metric("completion_length_mean", "Completion length", "tokens", theirs="completions/mean_length"),
    Metric("completion_length_min", "Shortest completion", "tokens", theirs="completions/min_length", pooled="min"),
    Metric("completion_length_max", "Longest completion", "tokens", theirs="completions/max_length", pooled="max"),
    Metric("completions_cut_off", "Cut off at the limit", "share", theirs="completions/clipped_ratio"),
    Metric("tokens_seen", "Tokens seen", "tokens", theirs="num_tokens", pooled="last"),
    Metric("resampled_groups", "Groups drawn anew", "share", theirs="resampled_groups"),
    # what the rewards tell
    Metric("completions", "Completions", "completions", pooled="sum", form="count"),
    Metric("successes", "Valid plans", "completions", pooled="sum", form="count"),
    Metric("reward", "Reward", "mean", finite=True),
    Metric("success_rate", "Success rate", "share"),
    Metric("mixed_groups", "Groups that differ in reward", "share"),
    Metric("zero_variance_groups", "Groups with equal rewards", "share"),
    Metric("identical_completions", "Completions that repeat one of their group", "share"),
    Metric("empty_plans", "Plans without a step", "share"),
    Metric("cut_off_while_thinking", "Cut off while thinking", "share"),
    Metric("repaired_completions", "Completions that were repaired", "share"),
    Metric("success_rate_by_turn", "Success after so many repairs", "share", form="shares"),
    Metric("success_rate_by_domain", "Success rate by domain", "share", form="shares"),
    Metric("success_rate_by_difficulty", "Success rate by difficulty", "share", form="shares"),
    Metric("reward_by_domain", "Reward by domain", "mean", form="numbers"),
    Metric("reward_by_difficulty", "Reward by difficulty", "mean", form="numbers"),
    Metric("reward_by_name", "Reward by reward function", "mean", form="numbers"),
    Metric("completions_by_domain", "Completions by domain", "completions", pooled="sum", form="counts"),
    Metric("completions_by_difficulty", "Completions by difficulty", "completions", pooled="sum", form="counts"),
    Metric("bucket_shares", "Difficulties drawn", "share of prompts", form="shares"),
    Metric("domain_shares", "Domains drawn", "share of prompts", form="shares"),
    Metric("zero_variance_by_domain", "Groups with equal rewards, by domain", "share", form="shares"),
    Metric("zero_variance_by_difficulty", "Groups with equal rewards, by difficulty", "share", form="shares"),
    Metric("verdict_shares", "Verdicts", "share of completions", form="shares"),
    Metric("prompts_per_batch", "Fewest and most prompts in a batch", "prompts", pooled="none", form="pairs"),
    Metric("cells", "Prompts, completions and valid plans by domain and difficulty", pooled="sum", form="cells"),
    # the run itself
    Metric("seconds_per_step", "Seconds per step", "seconds", pooled="mean by step", form="numbers"),
    Metric("curriculum_weights", "Curriculum weights", "share of prompts", form="numbers"),
    # the tokens of the answers, and health
    Metric("one_token_answers", "Answers of one token", "share"),
    Metric("prompt_in_answers", "Answers that begin with a piece of the prompt", "share"),
    Metric("repeated_end_tokens", "Answers with many end tokens", "share"),
    Metric("prompts_not_opened", "Prompts without the end of the chat template", "share"),
    Metric("zero_entropy_answers", "Answers without entropy", "share"),
    Metric("grad_norm_max", "Largest gradient norm", pooled="max"),
    Metric("alarm_count", "Alarms that stand", "alarms", pooled="max"),
    Metric("alarms", "Alarms that begin", pooled="none", form="alarms"),
    Metric("alarm", "Alarms by name", pooled="max", form="numbers"),
    # what an adaptive curriculum says of itself
    Metric("curriculum/latest_performance", "Latest held-out success", "share", pooled="last"),
    Metric("curriculum/evaluation_count", "Evaluations so far", "evaluations", pooled="last"),
    Metric("curriculum/stage", "Stage", pooled="none", form="text"),
    Metric("curriculum/stage_number", "Stage", pooled="last"),
    Metric("curriculum/collapsed_domains", "Collapsed domains", "domains", pooled="last"),
    Metric("curriculum/rollbacks", "Rollbacks", "rollbacks", pooled="last"),
    Metric("curriculum/expected_reward_std", "Expected reward std", form="numbers_by_difficulty"),
    Metric("curriculum/frontier_score", "Score of the frontier", form="numbers"),
    Metric("curriculum/frontier_completions", "Completions that the frontier rests on", "completions", form="numbers"),
    Metric("curriculum/domain_reward_std", "Reward std by domain", form="numbers"),
    # evaluations during training
    Metric("eval_step", "Step of the evaluation", "steps", pooled="none", form="count"),
    Metric("inference/step", "Step of the evaluation, by the guide's name", "steps", pooled="none", form="count"),
    Metric("_trainer_step", "Step of the evaluation, as W&B's axis", "steps", pooled="none", form="count"),
    Metric("eval_avg_test_pass_rate", "Held-out success", "share", pooled="none", form="share"),
    Metric("eval_avg_test_pass_rate_interval", "Its 95% interval", "share", pooled="none", form="shares"),
    Metric("eval_pass_rate_by_domain", "Held-out success by domain", "share", pooled="none", form="shares"),
    Metric("eval_interval_by_domain", "Its 95% intervals", "share", pooled="none", form="intervals"),
    Metric("eval_pass_rate_by_difficulty", "Held-out success by difficulty", "share", pooled="none", form="shares"),
    Metric("eval_counts", "Solved and asked problems", "problems", pooled="none", form="solved_cells"),
    Metric("eval_collapsed", "Domains then held for collapsed", pooled="none", form="names"),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}

# The parts of `seconds_per_step`, as the page shows them; the rest of a step is `other`, the whole `total`.
TIMINGS = {
    "generation": "generation",
    "reward": "reward",
    "log_probs": "log probabilities",
    "entropy": "entropies",  # where the loss computes none (training/entropy.py)
    "backward": "backward",
    "sampling": "sampling",
    "logging": "logging",
    "checkpoint": "checkpoint",
    "evaluation": "evaluation",
    "other": "other",
}
# The classes of `verdict_shares`.
VERDICTS = {
    "success_plans": "success",
    "goal_not_satisfied": "goal not reached",
    "safety_constraints_violation": "constraint violated",
    "precondition_violation": "precondition violated",
    "plan_format_error": "format error",
}


def trainer_names() -> dict[str, str]:
    """{TRL's or transformers' log name: ours} of the figures that are taken over from there."""
    return {metric.theirs: metric.name for metric in _ALL if metric.theirs}


def finite_names() -> tuple[str, ...]:
    """The figures that may never be NaN or infinite."""
    return tuple(metric.name for metric in _ALL if metric.finite)


def is_drawn(name: str) -> bool:
    """Whether the form of a figure is a number or numbers by name, which every tracker draws; so is what nobody declared."""
    return name not in METRICS or METRICS[name].form in DRAWN


def wandb_summaries() -> dict[str, str]:
    """{figure, or `figure/*` where it is numbers by name: how W&B sums it up}."""
    return {
        f"{metric.name}{DRAWN[metric.form]}": SUMMARIES[metric.pooled]
        for metric in _ALL
        if metric.form in DRAWN and metric.pooled in SUMMARIES
    }


def described() -> str:
    """A Markdown table of every drawn figure, its label and its unit, for trackers that show a text beside their curves."""
    rows = [f"| {metric.name} | {metric.label} | {metric.unit} |" for metric in _ALL if metric.form in DRAWN]
    return "\n".join(("| figure | label | unit |", "|---|---|---|", *rows))


def key_label(name: str) -> str:
    """A key of a nested figure for people: a part of a step, a verdict, a domain; an unknown one without its underscores."""
    return TIMINGS.get(name) or VERDICTS.get(name) or name.replace("_", " ")


def is_number(value: Any) -> bool:
    """An int or float of a size that can be drawn; no bool, no NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def pool(how: str, values: Sequence[Any], weights: Sequence[float]) -> Any:
    """One figure for several log lines, by a name of POOLS; None where none of `values` is a number.

    weights: of a mean, at least 0, one for each value.
    """
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if is_number(value)]
    numbers = [value for value, _ in known]
    if not numbers:
        return None
    if how.startswith("mean"):
        total = math.fsum(weight for _, weight in known)
        return math.fsum(value * weight for value, weight in known) / total if total else math.fsum(numbers) / len(numbers)
    if how == "last":
        return numbers[-1]
    return sum(numbers) if how == "sum" else max(numbers) if how == "max" else min(numbers)
