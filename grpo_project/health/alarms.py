"""Figures to alarms: what the running monitor raises, and what the report finds in the same log lines later.

`faults` checks the tokens of one step: with any of these faults the training signal is worthless. `HealthMonitor` reads log lines
one by one and remembers nothing else, so a continued run that reads its log again raises the same alarms as one never stopped.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from grpo_project.common.metrics import finite_names
from grpo_project.configs.health import HealthConfig

Record = Mapping[str, Any]

NORMS_REMEMBERED = 50  # log lines
FEWEST_NORMS = 10
FINITE = finite_names()
EVENTS = ("gradient_spike", *(f"{name}_not_a_number" for name in FINITE))  # over when they are seen


@dataclass(frozen=True)
class Alarm:
    """level: error (the run's numbers cannot be trusted or it learns nothing), warning, or note. `step`: where it shows.

    `detail` says what was seen and what to try. `name`: for tools; "" where only people read it.
    """

    level: str
    title: str
    detail: str
    step: int | None = None
    name: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for a log line."""
        return dict(vars(self))


# -- one step ---------------------------------------------------------------------------------------------------------------


def faults(figures: Record, step: int, limits: HealthConfig, first_steps: int) -> list[Alarm]:
    """What stops a run, found in the tokens of one step; [] where all is well.

    Entropy counts in the `first_steps` of a run only: there zero entropy is a mistake, later training may have led to it.

    figures: `answers` (how many were looked at); shares of them `prompt_in_answers`, `repeated_end_tokens`, `prompts_not_opened`;
    `most_end_tokens` in one of them; `zero_entropy_answers`, a share of those whose entropy is known; `grad_norm`. What is
    missing is not checked.
    """
    found = []
    answers = figures.get("answers", 0)
    # One alone can be chance: a random model opens with any token.
    tolerated = max(limits.broken_answers, 1 / answers) if answers else 1.0
    told = {"answers": answers, "many": limits.end_tokens, "most": figures.get("most_end_tokens", limits.end_tokens)}
    for name, (title, text) in FAULTS.items():
        share = figures.get(name, 0.0)
        if share > tolerated:
            found.append(Alarm("error", title, text.format(share=share, **told), step, name))
    share = figures.get("zero_entropy_answers")
    if step <= first_steps and share is not None and share > limits.zero_entropy_answers:
        found.append(replace(_NO_ENTROPY.alarm(share), level="error", step=step))
    if _broken(figures, "grad_norm"):
        found.append(_not_a_number("grad_norm", step))
    return found


def _broken(figures: Record, name: str) -> bool:
    """Whether a figure is there and no number; JSON writes null for NaN and infinity."""
    value = figures.get(name, 0.0)
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _not_a_number(name: str, step: int) -> Alarm:
    text = f"{name} was NaN or infinite at step {step}. Lower the learning rate, or look at that step's rewards."
    return Alarm("error", f"{name} is not a number", text, step, f"{name}_not_a_number")


# -- log lines --------------------------------------------------------------------------------------------------------------


class HealthMonitor:
    """Reads log lines in order; `observe` returns the alarms that begin with a line; `active` holds those that stand after it."""

    def __init__(self, limits: HealthConfig) -> None:
        self.limits = limits
        self.active: frozenset[str] = frozenset()
        self._recent: deque[Record] = deque(maxlen=limits.window)
        self._lines = 0
        self._first_entropies: list[float] = []
        self._norms: deque[float] = deque(maxlen=NORMS_REMEMBERED)

    def observe(self, record: Record) -> list[Alarm]:
        """The alarms that this line begins."""
        verdicts = record.get("verdict_shares")
        formats = {"format_errors": verdicts.get("plan_format_error", 0.0)} if isinstance(verdicts, Mapping) else {}
        self._recent.append({**record, **formats})
        self._lines += 1
        standing = list(self._conditions(record))
        self._remember(record)
        begun = [alarm for alarm in standing if alarm.name not in self.active]
        self.active = frozenset(alarm.name for alarm in standing)
        return begun

    def _remember(self, record: Record) -> None:
        norm, entropy = _number(record, "grad_norm"), _number(record, "entropy")
        if norm is not None:
            self._norms.append(norm)
        if entropy is not None and len(self._first_entropies) < self.limits.window:
            self._first_entropies.append(entropy)

    def _conditions(self, record: Record) -> Iterator[Alarm]:
        step = int(record["step"])
        for name in FINITE:
            if _broken(record, name):
                yield _not_a_number(name, step)
        spike = self._spike(record)
        if spike is not None:
            yield replace(spike, step=step)
        for alarm in self._of_the_window():
            yield replace(alarm, step=step)

    def _of_the_window(self) -> Iterator[Alarm]:
        limits, recent = self.limits, self._recent
        counted = sum(int(_number(record, "completions") or 0) for record in recent)
        if counted < limits.enough_completions and len(recent) < limits.window:
            return
        for watch in _WATCHES:
            mean = _mean(recent, watch.figure)
            if mean is not None and watch.raised(mean, limits):
                yield watch.alarm(mean)
        entropy = _mean(recent, "entropy")
        if self._lines > limits.window and self._first_entropies and entropy is not None:
            first = statistics.fmean(self._first_entropies)
            if entropy < limits.entropy_left * first:
                yield _collapsed(first, entropy)

    def _spike(self, record: Record) -> Alarm | None:
        norms = [value for value in (_number(record, "grad_norm"), _number(record, "grad_norm_max")) if value is not None]
        if len(self._norms) < FEWEST_NORMS or not norms:
            return None
        usual = statistics.median(self._norms)
        if usual <= 0 or max(norms) <= self.limits.gradient_spike * usual:
            return None
        text = (
            f"Norm {max(norms):.3g} where the median is {usual:.3g}. --max_grad_norm bounds what one step can do; if more "
            "follow, lower --learning_rate."
        )
        return Alarm("warning", "A gradient spike", text, name="gradient_spike")


def replay(records: Iterable[Record], limits: HealthConfig) -> list[tuple[Alarm, int | None]]:
    """(alarm, the first step at which it no longer stood or None) for every alarm that these log lines raise, in order."""
    monitor = HealthMonitor(limits)
    found: list[tuple[Alarm, int | None]] = []
    for record in records:
        begun = monitor.observe(record)
        for place, (alarm, until) in enumerate(found):
            if until is None and alarm.name not in monitor.active:
                found[place] = (alarm, int(record["step"]))
        found += [(alarm, None) for alarm in begun]
    return found


# -- the alarms of a window -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Watch:
    """An alarm about the mean of `figure` over the window; its threshold in HealthConfig has the figure's name, and so has the
    alarm without a `name`. `text` holds the mean's place. `below`: raised where the mean lies below the threshold, not above."""

    figure: str
    title: str
    text: str
    name: str = ""
    below: bool = False

    def alarm(self, mean: float) -> Alarm:
        return Alarm("warning", self.title, self.text.format(mean), name=self.name or self.figure)

    def raised(self, mean: float, limits: HealthConfig) -> bool:
        limit = getattr(limits, self.figure)
        return bool(mean < limit if self.below else mean > limit)


# fmt: off
_NO_ENTROPY = _Watch(
    "zero_entropy_answers", "Entropy is zero",
    "{:.0%} of the answers have an entropy of 0.000 nats per token: sampling has no choice, so the answers to a prompt are the "
    "same and nothing is learned. Look at the boundary lines of the first steps; try a higher --temperature, a model that was "
    "trained for less long, or harder problems.", name="zero_entropy")
_WATCHES = (
    _Watch("completions_cut_off", "Many completions are cut off",
           "{:.0%} of the latest reach --max_completion_length and earn nothing for what they would have said. Raise it, or keep "
           "them out of the loss with --mask_truncated_completions."),
    _Watch("cut_off_while_thinking", "Cut off while thinking",
           "{:.0%} of the latest end inside their reasoning, before the plan begins: raise --max_completion_length, or ask for "
           "none with --enable_thinking false."),
    _Watch("format_errors", "Most completions are no plans",
           "{:.0%} of the latest are format errors: the model does not write the plan format yet, or no longer. Train it on "
           "plans first (script/train_sft.py), or lower --temperature."),
    _Watch("one_token_answers", "Answers of one token",
           "{:.0%} of the latest hold one token or none before their end. Look at the boundary lines of the first steps and at "
           "the length of the supervised plans; --min_new_tokens holds the end back."),
    _Watch("empty_plans", "Many plans are empty",
           "{:.0%} of the latest are empty plans, the lowest reward there is. Easier problems, --min_new_tokens or a lower "
           "--learning_rate bring plans back."),
    _Watch("identical_completions", "Completions of a prompt are the same",
           "{:.0%} of the latest repeat another completion of their prompt: there is little to compare. A higher --temperature "
           "or harder problems bring variety."),
    _NO_ENTROPY,
    _Watch("kl", "Far from the starting model",
           "{:.3g} nats per token in the latest log lines. A lower --learning_rate or a higher --beta holds the policy near the "
           "model it started from."),
    _Watch("mixed_groups", "Almost nothing to learn from",
           "Only {:.0%} of the latest groups differ in reward; in the others every advantage is zero. Easier or harder problems, "
           "or more generations per prompt, bring some back.", name="zero_variance_groups", below=True),
)
# What stops a run, by the figure of one step that shows it: title and text.
FAULTS = {
    "prompts_not_opened": (
        "Prompts do not end where the answer begins",
        "{share:.0%} of {answers} prompts lack the end of the chat template, so the model is asked in another form than it was "
        "trained on. Check the chat template and whether anything cuts or re-renders prompts."),
    "prompt_in_answers": (
        "Answers begin with a piece of the prompt",
        "{share:.0%} of {answers} answers open with a chat header or the prompt's last tokens, which then count as part of the "
        "plan. Check where generated tokens are cut from the padded prompt, and the template of the SFT examples."),
    "repeated_end_tokens": (
        "Answers hold many end tokens",
        "{share:.0%} of {answers} answers hold {many} end tokens or more, up to {most}: generation does not stop at the token "
        "that ends a turn. Check eos_token in the tokenizer and eos_token_id in generation_config.json against the chat "
        "template."),
}
# fmt: on


def _collapsed(first: float, last: float) -> Alarm:
    text = (
        f"From {first:.3g} to {last:.3g} nats per token: completions of a prompt are nearly the same. A higher --temperature, "
        "--epsilon_high or --beta keeps variety."
    )
    return Alarm("warning", "Entropy has collapsed", text, name="entropy_collapse")


def _number(record: Record, name: str) -> float | None:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _mean(records: Sequence[Record] | deque[Record], name: str) -> float | None:
    """By completions: the first log line of a run stands for one step, the others for several."""
    pairs = [(_number(record, name), _number(record, "completions") or 1.0) for record in records]
    known = [(value, weight) for value, weight in pairs if value is not None]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None
