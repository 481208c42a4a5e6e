"""What is done when a domain collapses: --on_collapse warn, reweight, rollback or stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from grpo_project.curriculum.collapse import Change
from grpo_project.runs.observer import Control


class Weights(Protocol):
    """Weights of earlier steps, on disk."""

    def keep(self, step: int) -> None: ...

    def restore(self, step: int) -> None: ...


class CollapseActions:
    """`on_collapse`: warn does nothing here and reweight is the engine's; rollback goes back to the `weights` of the last
    evaluation without a collapsed domain, stop ends the run.

    `kept_step`: the step whose weights are kept, or None. `rollbacks`: (at step, back to the weights of step). `stopped_by`: the
    line that tells why training was stopped, or None. may_save(step): whether a run could be continued exactly from there.
    """

    def __init__(
        self,
        on_collapse: str = "warn",
        weights: Weights | None = None,
        may_save: Callable[[int], bool] = lambda step: True,
        say: Callable[[str], None] = print,
    ) -> None:
        self._on_collapse = on_collapse
        self._weights = weights
        self._may_save = may_save
        self._say = say
        self.kept_step: int | None = None
        self.rollbacks: list[tuple[int, int]] = []
        self.stopped_by: str | None = None

    def act(self, step: int, changes: Sequence[Change], collapsed: Sequence[str], control: Control) -> None:
        """After the evaluation of `step`: `changes` came with it, `collapsed` are the domains that are down now."""
        if not collapsed:
            if self._weights is not None:
                self._weights.keep(step)
                self.kept_step = step
        elif self._on_collapse == "rollback":
            self._go_back(step, collapsed)
        elif self._on_collapse == "stop" and any(change.collapsed for change in changes):
            self.stopped_by = "; ".join(str(change) for change in changes if change.collapsed)
            control.should_training_stop = True
            control.should_save = self._may_save(step)

    def _go_back(self, step: int, collapsed: Sequence[str]) -> None:
        if self._weights is None or self.kept_step is None:
            self._say("There are no earlier weights to go back to: training goes on")
            return
        self._weights.restore(self.kept_step)
        self.rollbacks.append((step, self.kept_step))
        names = ", ".join(collapsed)
        self._say(f"Step {step}: back to the weights of step {self.kept_step}, and more and easier prompts for {names}")

    def state_dict(self) -> dict[str, Any]:
        return {"kept_step": self.kept_step, "rollbacks": [list(pair) for pair in self.rollbacks]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        kept = state["kept_step"]
        self.kept_step = None if kept is None else int(kept)
        self.rollbacks = [(int(at), int(to)) for at, to in state["rollbacks"]]
