"""One run's curriculum: takes in what happened, decides what comes next, and remembers both so that a resumed run agrees.

Work is counted in generations: the batches whose completions are made together. Everything that happened is filed under the
generation batch after which it was known. The decision for generation batch g uses what was known after generation batch g-2 and
nothing later, also where more is known already: the loader fetches one generation batch ahead, how early depends on the
micro-batch size, and a batch must not depend on that. Each decision is written to a journal when it is first asked for, so
asking again, in any order, gives the same; the journal, the curriculum's state and what is still waiting to be taken in are one
piece of plain data (`state_dict`), which goes into every checkpoint.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from grpo_project.curriculum.adaptive_quotas import AdaptiveQuotas
from grpo_project.curriculum.base import Curriculum, Decision, EvaluationOutcome, GroupOutcome, mean_weights
from grpo_project.curriculum.collapse import Change, CollapseGuard
from grpo_project.curriculum.quotas import shifted_quotas
from grpo_project.curriculum.weights import DomainLevels, DomainWeights, domain_weights, split_levels
from grpo_project.data.difficulty import BUCKETS
from grpo_project.errors import ConfigError

FORMAT = 3  # 1 had no adaptive quotas, 2 no levels
MOST_DECISIONS = 1_000_000  # of a run, one a generation batch
LAG = 2  # generation batches between what is known and what it decides; see above


class CurriculumEngine:
    """quotas: {domain: prompts per batch} as the run was set up. max_steps: optimizer steps of the run.

    optimizer_steps_per_generation: optimizer steps that train on one generation batch (TRL's num_iterations). reweight: a
    collapsed domain gets more prompts and easier ones until it has come back. skip_generations: for how many generation batches
    a problem is passed over after a group without variance; 0 never. batches_per_generation: as the planner's. adaptive_quotas:
    a part of the prompts follows reward variance from domain to domain (`adaptive_quotas.py`). Raises ConfigError.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        quotas: Mapping[str, int],
        max_steps: int,
        optimizer_steps_per_generation: int = 1,
        reweight: bool = False,
        skip_generations: int = 0,
        weights_name: str = "get_curriculum_weights",
        *,
        batches_per_generation: int = 1,
        adaptive_quotas: bool = False,
    ) -> None:
        self.curriculum = curriculum
        self.moving = AdaptiveQuotas(quotas) if adaptive_quotas else None
        self._batches_per_generation = batches_per_generation
        self.guard = CollapseGuard()
        self._quotas = dict(quotas)
        self._max_steps = max_steps
        self._steps_per_generation = Fraction(optimizer_steps_per_generation)
        self._reweight = reweight
        self._skip_generations = skip_generations
        self._weights_name = weights_name
        self.evaluations: list[EvaluationOutcome] = []
        self._waiting: list[tuple[int, str, Any]] = []  # (generation batch after which it was known, kind, plain data)
        self._taken = -1  # everything known after this generation batch, and before, was taken in
        self._known = -1  # the last generation batch whose groups were observed
        self._collapsed: list[str] = []  # as far as it was taken in
        self._journal: dict[int, dict[str, Any]] = {}  # generation batch -> decision as plain data, without `skipped`
        self._drawn_before: list[dict[str, int]] = [dict.fromkeys(quotas, 0)]  # by generation batch; it follows from the journal
        self._pauses: list[tuple[int, int]] = []  # (first generation batch, row index) of every pause, in order

    @property
    def domains(self) -> tuple[str, ...]:
        """Those that prompts are drawn from."""
        return tuple(self._quotas)

    @property
    def feedback(self) -> bool:
        """Whether anything observed can change a batch. Where nothing can, no journal is needed."""
        learns = self.curriculum.uses_groups or self.curriculum.uses_evaluations
        return learns or self._reweight or self._skip_generations > 0 or self.moving is not None

    # -- decisions ----------------------------------------------------------------------------------------------------

    def step_of(self, generation: int) -> int:
        """The optimizer step, 0..max_steps-1, that first trains on a generation batch."""
        return min(math.floor(generation * self._steps_per_generation), self._max_steps - 1)

    def generation_of(self, step: int) -> int:
        """The generation batch on which optimizer step `step` (from 0) trains."""
        return math.floor(step / self._steps_per_generation)

    def decide(self, generation: int) -> Decision:
        """What generation `generation` (from 0) is drawn by. Generation batches are first asked for in order; later in any."""
        if not self.feedback:
            weights, levels = self._weights(generation)
            return Decision(weights, self._quotas, levels=levels)
        if generation not in self._journal:
            self._decide_up_to(generation)
        entry = self._journal[generation]
        before = self._drawn_before[generation]
        return Decision(entry["weights"], entry["quotas"], self._skipped(generation), before, entry["levels"])

    def weights_at(self, step: int) -> dict[str, float]:
        """{bucket: share}, the mean over domains weighted by their quotas, for the batch of optimizer step `step`."""
        return mean_weights(self.decide(self.generation_of(step)))

    def _decide_up_to(self, generation: int) -> None:
        for number in range(len(self._journal), generation + 1):
            self._take_in(number - LAG)
            weights, levels = self._weights(number)
            quotas = self.moving.quotas() if self.moving else dict(self._quotas)
            if self._reweight and self._collapsed:
                quotas = shifted_quotas(quotas, self._collapsed)
                weights = {name: easier(own) if name in self._collapsed else own for name, own in weights.items()}
            self._journal[number] = {"weights": weights, "quotas": quotas, "levels": levels}
            self._count(quotas)

    def _count(self, quotas: Mapping[str, int]) -> None:
        last = self._drawn_before[-1]
        self._drawn_before.append({name: last[name] + quota * self._batches_per_generation for name, quota in quotas.items()})

    def _weights(self, generation: int) -> tuple[DomainWeights, DomainLevels]:
        step = self.step_of(generation)
        weights, levels = split_levels(self.curriculum.weights(step, self._max_steps), step, self._weights_name)
        return domain_weights(weights, self.domains, step, self._weights_name), levels

    def _take_in(self, last: int) -> None:
        """Hands the curriculum what was known after generation batch `last`, one generation batch after another."""
        if last > self._known and last >= 0:
            raise RuntimeError(
                f"generation batch {last + LAG} was asked for before the outcome of generation batch {last} was observed"
            )
        due = [event for event in self._waiting if event[0] <= last]
        self._waiting = [event for event in self._waiting if event[0] > last]
        for generation, kind, data in due:
            if kind == "groups":
                groups = [GroupOutcome(*group) for group in data]
                self.curriculum.observe_groups(groups)
                if self.moving:
                    self.moving.observe(groups)
                if self._skip_generations:
                    self._pauses += [(generation + LAG, group.row_index) for group in groups if group.reward_std == 0]
            elif kind == "evaluation":
                self.curriculum.observe_evaluation(EvaluationOutcome.from_json(data))
            elif kind == "collapsed":
                self._collapsed.append(data)
                self.curriculum.observe_collapse(data)
                if self.moving:
                    self.moving.forget(data)
            else:
                self._collapsed.remove(data)
        self._taken = max(self._taken, last)

    def _skipped(self, generation: int) -> frozenset[int]:
        """The rows that pause in a generation batch: from when it is known that they teach nothing, for `skip_generations`."""
        if not self._skip_generations:
            return frozenset()
        end = bisect_right(self._pauses, generation, key=lambda pause: pause[0])
        begin = bisect_right(self._pauses, generation - self._skip_generations, key=lambda pause: pause[0])
        return frozenset(row for _, row in self._pauses[begin:end])

    # -- what happened ------------------------------------------------------------------------------------------------

    def observe_groups(self, generation: int, groups: Sequence[GroupOutcome]) -> None:
        """The outcomes of a generation batch, each generation batch once and in order. Raises ValueError otherwise."""
        if generation != self._known + 1:
            raise ValueError(f"the outcome of generation batch {generation} came after that of generation batch {self._known}")
        self._known = generation
        if self.feedback:
            self._waiting.append((generation, "groups", [list(vars(group).values()) for group in groups]))

    def observe_evaluation(self, outcome: EvaluationOutcome) -> list[Change]:
        """Held-out success after `outcome.step` steps (0: before training). Returns the domains that fell or came back."""
        self.evaluations.append(outcome)
        changes = self.guard.check(outcome)
        if self.feedback:
            generation = self.generation_of(outcome.step - 1) if outcome.step else -1
            self._waiting.append((generation, "evaluation", outcome.to_json()))
            for change in changes:
                self._waiting.append((generation, "collapsed" if change.collapsed else "recovered", change.domain))
        return changes

    def metrics(self) -> dict[str, Any]:
        """Figures for the log; the names are those of W&B's charts."""
        record = {**self.curriculum.metrics(), **(self.moving.metrics() if self.moving else {})}
        record["curriculum/evaluation_count"] = len(self.evaluations)
        if self.evaluations:
            record["curriculum/latest_performance"] = self.evaluations[-1].average()
            record["curriculum/collapsed_domains"] = len(self.guard.collapsed)
        return record

    # -- state --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All of it as JSON-ready data. The journal is kept by runs of equal decisions: [first generation batch, weights,
        quotas, levels]."""
        runs: list[list[Any]] = []
        for generation, entry in self._journal.items():
            decision = [entry["weights"], entry["quotas"], entry["levels"]]
            if not runs or runs[-1][1:] != decision:
                runs.append([generation, *decision])
        return {
            "format": FORMAT,
            "curriculum": self.curriculum.name,
            "state": self.curriculum.state_dict(),
            "guard": self.guard.state_dict(),
            "evaluations": [outcome.to_json() for outcome in self.evaluations],
            "waiting": [list(event) for event in self._waiting],
            "taken": self._taken,
            "known": self._known,
            "collapsed": list(self._collapsed),
            "decided": len(self._journal),
            "journal": runs,
            "pauses": [list(pause) for pause in self._pauses],
            "moving": self.moving.state_dict() if self.moving else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken. Raises ConfigError for one of another curriculum or of another format."""
        if state.get("format") not in (2, FORMAT):
            raise ConfigError(f"the saved curriculum state has format {state.get('format')!r}; this version reads 2 and {FORMAT}")
        if state.get("curriculum") != self.curriculum.name:
            raise ConfigError(
                f"the saved curriculum state is of --curriculum {state.get('curriculum')}, this run has {self.curriculum.name}"
            )
        try:
            runs = state["journal"]
            ends = [run[0] for run in runs[1:]] + ([state["decided"]] if runs else [])
            spans = [range(run[0], end) for run, end in zip(runs, ends, strict=True)]
            if sum(max(0, span.stop - span.start) for span in spans) > MOST_DECISIONS:
                raise ValueError(f"more than {MOST_DECISIONS:,} decisions")  # a damaged number must not fill the memory
            journal = {
                generation: {"weights": run[1], "quotas": run[2], "levels": run[3] if len(run) > 3 else {}}
                for run, span in zip(runs, spans, strict=True)
                for generation in span
            }
            if any(set(entry["quotas"]) != set(self._quotas) for entry in journal.values()):
                raise ConfigError("the saved curriculum state is of other domains")
            self.curriculum.load_state_dict(state["state"])
            self.guard.load_state_dict(state["guard"])
            self.evaluations = [EvaluationOutcome.from_json(outcome) for outcome in state["evaluations"]]
            self._waiting = [(int(event[0]), str(event[1]), event[2]) for event in state["waiting"]]
            self._taken, self._known = int(state["taken"]), int(state["known"])
            self._collapsed = [str(domain) for domain in state["collapsed"]]
            self._pauses = [(int(pause[0]), int(pause[1])) for pause in state["pauses"]]
            if self.moving:
                self.moving.load_state_dict(state["moving"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ConfigError(f"the saved curriculum state is damaged: {type(error).__name__}: {error}") from None
        self._journal = journal
        self._drawn_before = [dict.fromkeys(self._quotas, 0)]
        for entry in journal.values():
            self._count(entry["quotas"])


def easier(weights: Mapping[str, float]) -> dict[str, float]:
    """Half of the weight of every bucket but the easiest moves to the easiest."""
    first, *others = BUCKETS
    return {first: weights[first] + sum(weights[name] for name in others) / 2} | {name: weights[name] / 2 for name in others}
