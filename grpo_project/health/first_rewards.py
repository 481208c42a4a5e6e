"""A run whose rewards are all equal for its first steps learns nothing: it says so, with the likeliest reason for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grpo_project.evaluation.reasons import REASONS, likeliest, reason_of
from grpo_project.health.alarms import Alarm
from grpo_project.rewards import ScoredCompletion
from grpo_project.runs.observer import Control, Observer, Record

NAME = "equal_rewards"
SHOWN = 120  # characters of an answer


class FirstRewards(Observer):
    """Looks at the first `steps` steps of a run, not at those of a continued one. The alarm also goes into the next record."""

    def __init__(self, steps: int, say: Callable[[str], None] = print) -> None:
        self._steps, self._say = steps, say
        self._scored: list[ScoredCompletion] = []
        self._watching = steps > 0
        self._alarm: Alarm | None = None

    def training_begins(self, step: int, control: Control, model: object, optimizer: object) -> None:
        self._watching = self._watching and step == 0

    def completions_scored(self, step: int, scored: Sequence[ScoredCompletion]) -> None:
        if self._watching:
            self._scored += scored
            # One that differs is enough: there is something to learn from, or there will be.
            if len({item.total for item in self._scored}) > 1:
                self._watching, self._scored = False, []

    def step_ended(self, step: int, control: Control) -> None:
        if not self._watching or step < self._steps:
            return
        self._watching = False
        if len(self._scored) > 1:
            self._alarm = equal_rewards(self._scored, step)
            self._say(f"Alarm at step {step}, {NAME}: {self._alarm.title}. {self._alarm.detail}")
        self._scored = []

    def record_due(self, record: Record) -> None:
        if self._alarm is not None and "loss" in record:
            record["alarms"] = [*record.get("alarms", ()), self._alarm.as_dict()]
            self._alarm = None


def equal_rewards(scored: Sequence[ScoredCompletion], step: int) -> Alarm:
    """The alarm for completions of one reward, up to `step`: why most of them have it, one of them, and what helps."""
    reasons = [reason_of(item.text, item.verdict) for item in scored]
    name, count = likeliest(reasons)
    reward = f"All {len(scored)} rewards up to step {step} are {scored[0].total:+.3g}: no answer is better than another."
    if not name:
        detail = f"{reward} Every plan succeeds: train on harder problems."
    else:
        text = scored[reasons.index(name)].text
        shown = f"{text[:SHOWN]!r}" + (" ..." if len(text) > SHOWN else "")
        detail = (
            f"{reward} The likeliest reason, in {count} of them: {REASONS[name].label}, as in {shown}. What helps: "
            f"{REASONS[name].advice}. script/rescore.py shows more of them, and what would count under other readings."
        )
    return Alarm("warning", "The first rewards are all equal", detail, step, NAME)
