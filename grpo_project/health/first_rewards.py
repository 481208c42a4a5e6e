"""A run whose rewards are all equal for its first steps learns nothing: it says so, with the likeliest reason for it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grpo_project.evaluation.reasons import REASONS, likeliest, reason_of
from grpo_project.health.alarms import Alarm
from grpo_project.rewards import ScoredCompletion
from grpo_project.runs.observer import Control, Observer, Record

NAME = "equal_rewards"
SHOWN = 120  # characters of an answer


class FirstRewards(Observer):
    """Looks at the first `steps` steps of a run; the alarm also goes into the next record. A continued run looks on."""

    def __init__(self, steps: int, say: Callable[[str], None] = print) -> None:
        self._steps, self._say = steps, say
        # Plain data: `counts` and `examples` by reason, of completions that all earned `reward`; `alarm` waits for its record.
        self._seen: dict[str, Any] = {"watching": steps > 0, "reward": None, "counts": {}, "examples": {}, "alarm": None}

    def completions_scored(self, step: int, scored: Sequence[ScoredCompletion]) -> None:
        seen = self._seen
        for item in scored if seen["watching"] else ():
            if seen["reward"] not in (None, item.total):
                # One that differs is enough: there is something to learn from, or there will be.
                seen |= {"watching": False, "counts": {}, "examples": {}}
                return
            reason = reason_of(item.text, item.verdict)
            seen["reward"] = item.total
            seen["counts"][reason] = seen["counts"].get(reason, 0) + 1
            seen["examples"].setdefault(reason, item.text[: SHOWN + 1])

    def step_ended(self, step: int, control: Control) -> None:
        seen = self._seen
        if not seen["watching"] or step < self._steps:
            return
        if sum(seen["counts"].values()) > 1:
            alarm = self._equal_rewards(step)
            seen["alarm"] = alarm.as_dict()
            self._say(f"Alarm at step {step}, {NAME}: {alarm.title}. {alarm.detail}")
        seen |= {"watching": False, "counts": {}, "examples": {}}

    def record_due(self, record: Record) -> None:
        if self._seen["alarm"] is not None and "loss" in record:
            record["alarms"] = [*record.get("alarms", ()), self._seen["alarm"]]
            self._seen["alarm"] = None

    def state_dict(self) -> Mapping[str, Any]:
        return copy.deepcopy(self._seen)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises KeyError for a state that is not of this class."""
        self._seen = {name: copy.deepcopy(state[name]) for name in self._seen}

    def _equal_rewards(self, step: int) -> Alarm:
        """The alarm: why most completions up to `step` have the one reward, one of them, and what helps."""
        counts = self._seen["counts"]
        name, count = likeliest(counts)
        total, reward = sum(counts.values()), self._seen["reward"]
        said = f"All {total} rewards up to step {step} are {reward:+.3g}: no answer is better than another."
        if not name:
            detail = f"{said} Every plan succeeds: train on harder problems."
        else:
            text = self._seen["examples"][name]
            shown = f"{text[:SHOWN]!r}" + (" ..." if len(text) > SHOWN else "")
            detail = (
                f"{said} The likeliest reason, in {count} of them: {REASONS[name].label}, as in {shown}. What helps: "
                f"{REASONS[name].advice}. script/rescore.py shows more of them, and what would count under other readings."
            )
        return Alarm("warning", "The first rewards are all equal", detail, step, NAME)
