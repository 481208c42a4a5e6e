"""`stage`: named stages of rising difficulty, entered and left by held-out success."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_project.common.files import read_json_object, write_json_atomically
from grpo_project.common.statistics import Interval, wilson_interval
from grpo_project.curriculum.base import EvaluationOutcome, GroupOutcome
from grpo_project.curriculum.weights import normalise_weights
from grpo_project.errors import ConfigError

logger = logging.getLogger(__name__)

ONE_SIDED_90 = 1.2816  # a stage is left when success lies above its threshold with 90% confidence


@dataclass(frozen=True)
class Stage:
    """`weights`: {bucket: share}. The stage is left upwards when eval_avg_test_pass_rate lies above `threshold` (in [0, 1];
    None for the last stage), seen in at least `min_evaluations` evaluations since it was entered."""

    name: str
    weights: Mapping[str, float]
    threshold: float | None
    min_evaluations: int = 2


DEFAULT_STAGES = (
    Stage("foundation", {"easy": 0.8, "medium": 0.2, "hard": 0.0}, 0.5),
    Stage("intermediate", {"easy": 0.4, "medium": 0.5, "hard": 0.1}, 0.65),
    Stage("advanced", {"easy": 0.25, "medium": 0.45, "hard": 0.3}, 0.8),
    Stage("mastery", {"easy": 0.2, "medium": 0.4, "hard": 0.4}, None),
)


class FixedCurriculumManager:
    """Moves through `stages` by evaluations alone.

    Upwards: the mean of the last `min_evaluations` rates, with the interval of a single evaluation (they ask the same
    problems, so they are no independent evidence), lies above the stage's threshold. Downwards: the same mean lies below the
    threshold of the stage before by more than `hysteresis`, again with its interval, or a domain collapsed. Between the two
    nothing happens, so a rate that hovers about a threshold does not make the stage flicker. Every change of stage starts the
    counting anew.

    state_file: written by `save_state`, read by `load_state`; a run keeps it beside its checkpoints. Raises ConfigError for
    stages that cannot work.
    """

    name = "stage"
    uses_groups = False
    uses_evaluations = True

    def __init__(
        self, stages: Sequence[Stage] = DEFAULT_STAGES, hysteresis: float = 0.05, state_file: str | Path | None = None
    ) -> None:
        _check(stages, hysteresis)
        self.stages = tuple(stages)
        self.hysteresis = hysteresis
        self.state_file = Path(state_file) if state_file is not None else None
        self.place = 0
        self.evaluation_count = 0
        self.latest_performance: float | None = None
        self.history: list[dict[str, Any]] = []  # changes of stage: {"step", "from", "to", "why"}
        self._recent: list[tuple[float, float]] = []  # (rate, problems it counts for) since the stage was entered

    @property
    def stage(self) -> Stage:
        """The stage in force."""
        return self.stages[self.place]

    def weights(self, step: int, max_steps: int) -> dict[str, float]:
        return dict(self.stage.weights)

    def observe_groups(self, groups: Sequence[GroupOutcome]) -> None:
        """Training success depends on what is drawn, so it says nothing about readiness."""

    def observe_evaluation(self, outcome: EvaluationOutcome) -> None:
        """One evaluation; may change the stage."""
        self.evaluation_count += 1
        self.latest_performance = outcome.average()
        self._recent.append((self.latest_performance, outcome.effective_count()))
        self._recent = self._recent[-max(stage.min_evaluations for stage in self.stages) :]
        low, high = self.recent_interval()
        if len(self._recent) < self.stage.min_evaluations:
            return
        threshold = self.stage.threshold
        if threshold is not None and low > threshold:
            self._move(1, outcome.step, f"success above {threshold:.0%}, interval {low:.1%} to {high:.1%}")
        elif self.place > 0:
            before = self.stages[self.place - 1].threshold
            assert before is not None  # only the last stage has none
            if high < before - self.hysteresis:
                self._move(-1, outcome.step, f"success below {before:.0%}, interval {low:.1%} to {high:.1%}")

    def recent_interval(self) -> Interval:
        """The one-sided 90% bounds of the mean of the last `min_evaluations` rates; (0, 1) before the first."""
        recent = self._recent[-self.stage.min_evaluations :]
        if not recent:
            return Interval(0.0, 1.0)
        rate = sum(rate for rate, _ in recent) / len(recent)
        count = min(count for _, count in recent)
        return wilson_interval(min(rate * count, count), count, ONE_SIDED_90)

    def observe_collapse(self, domain: str) -> None:
        """A domain fell significantly below its best: one stage down at once."""
        if self.place > 0:
            self._move(-1, None, f"{domain} collapsed")

    def _move(self, change: int, step: int | None, why: str) -> None:
        before = self.stage.name
        self.place += change
        self._recent = []
        self.history.append({"step": step, "from": before, "to": self.stage.name, "why": why})
        logger.info("curriculum stage %s -> %s: %s", before, self.stage.name, why)

    def metrics(self) -> dict[str, Any]:
        return {"curriculum/stage": self.stage.name, "curriculum/stage_number": self.place}

    # -- state --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {
            "stage": self.stage.name,
            "evaluation_count": self.evaluation_count,
            "latest_performance": self.latest_performance,
            "recent": [list(pair) for pair in self._recent],
            "history": [dict(change) for change in self.history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ConfigError for a state that is not of these stages."""
        names = [stage.name for stage in self.stages]
        try:
            place = names.index(state["stage"])
            evaluation_count = int(state["evaluation_count"])
            latest = state["latest_performance"]
            latest = None if latest is None else float(latest)
            recent = [(float(rate), float(count)) for rate, count in state["recent"]]
            history = [dict(change) for change in state["history"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"the saved curriculum state does not fit the stages {', '.join(names)}: {error}") from None
        self.place, self.evaluation_count, self.latest_performance = place, evaluation_count, latest
        self._recent, self.history = recent, history

    def save_state(self) -> None:
        """Writes `state_file`, whole or not at all. Raises ConfigError where none was named."""
        if self.state_file is None:
            raise ConfigError("the curriculum manager was set up without a state_file")
        write_json_atomically(self.state_file, {"curriculum": self.name, "state": self.state_dict()})

    def load_state(self) -> bool:
        """Takes up `state_file`, this class's own or a run's; False where there is none. Raises ConfigError for a broken one."""
        if self.state_file is None or not self.state_file.exists():
            return False
        found = read_json_object(self.state_file)
        if found.get("curriculum") != self.name or not isinstance(found.get("state"), dict):
            raise ConfigError(f"{self.state_file} holds no state of the stage curriculum")
        self.load_state_dict(found["state"])
        return True


def setup_fixed_curriculum_manager(
    stages: Sequence[Stage] | None = None, hysteresis: float = 0.05, state_file: str | Path | None = None
) -> FixedCurriculumManager:
    """The manager of the `stage` curriculum, at its first stage or, where `state_file` exists, where that one left off."""
    manager = FixedCurriculumManager(stages or DEFAULT_STAGES, hysteresis, state_file)
    manager.load_state()
    return manager


def _check(stages: Sequence[Stage], hysteresis: float) -> None:
    if not stages:
        raise ConfigError("a stage curriculum needs at least one stage")
    names = [stage.name for stage in stages]
    if len(set(names)) != len(names):
        raise ConfigError(f"two stages have the same name: {', '.join(names)}")
    if not 0 <= hysteresis < 1:
        raise ConfigError(f"hysteresis must lie in [0, 1), got {hysteresis}")
    before = -1.0
    for place, stage in enumerate(stages):
        normalise_weights(stage.weights, 0, f"stage {stage.name}")
        if stage.min_evaluations < 1:
            raise ConfigError(f"stage {stage.name}: min_evaluations must be at least 1, got {stage.min_evaluations}")
        last = place == len(stages) - 1
        if (stage.threshold is None) != last:
            raise ConfigError(f"stage {stage.name}: every stage but the last has a threshold, and the last has none")
        if stage.threshold is not None:
            if not before < stage.threshold < 1:
                raise ConfigError(f"stage {stage.name}: thresholds must rise and lie in [0, 1), got {stage.threshold}")
            before = stage.threshold
