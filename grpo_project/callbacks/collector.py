"""Counts what the reward saw between two log lines: success by domain and difficulty, rewards, verdict classes."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from grpo_project.curriculum.base import without_variance
from grpo_project.data.difficulty import BUCKETS
from grpo_project.pddl.plan import open_reasoning
from grpo_project.rewards.trl import ScoredCompletion
from grpo_project.runs.observer import Observer, Record


class CompletionCollector(Observer):
    """Adds up completions between two records. `row_domain` and `row_bucket` give domain and difficulty of each row index;
    `num_generations`: completions of a prompt, which stand together."""

    def __init__(self, row_domain: Mapping[int, str], row_bucket: Mapping[int, str], num_generations: int) -> None:
        self._row_domain = row_domain
        self._row_bucket = row_bucket
        self._num_generations = num_generations
        self._start()

    def _start(self) -> None:
        self._batches: list[Counter[tuple[str, str]]] = []  # prompts by domain and difficulty
        self._count: Counter[tuple[str, str]] = Counter()
        self._success: Counter[tuple[str, str]] = Counter()
        self._reward: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._prompts: Counter[tuple[str, str]] = Counter()
        self._idle: Counter[tuple[str, str]] = Counter()  # groups whose rewards were all equal
        self._verdicts: Counter[str] = Counter()
        self._by_name: defaultdict[str, float] = defaultdict(float)  # sums of each reward, without its weight
        self._identical = 0
        self._empty = 0
        self._thinking = 0  # ended inside their reasoning
        self._turns: Counter[int] = Counter()  # completions by how many repairs came before their last plan
        self._success_at: Counter[int] = Counter()  # those of them that succeed

    def completions_scored(self, step: int, scored: Sequence[ScoredCompletion]) -> None:
        """Raises ValueError when they do not form whole groups."""
        num_generations = self._num_generations
        if len(scored) % num_generations:
            raise ValueError(f"{len(scored)} completions do not form groups of {num_generations}")
        self._batches.append(
            Counter((self._row_domain[item.row_index], self._row_bucket[item.row_index]) for item in scored[::num_generations])
        )
        for item in scored:
            key = (self._row_domain[item.row_index], self._row_bucket[item.row_index])
            self._count[key] += 1
            self._success[key] += item.success
            self._turns[item.turn] += 1
            self._success_at[item.turn] += item.success
            self._reward[key] += item.total
            self._verdicts[item.verdict.verdict_class] += 1
            for name, value in item.rewards.items():
                self._by_name[name] += value
            self._thinking += bool(open_reasoning(item.text))
            self._empty += item.verdict.verdict_class != "plan_format_error" and item.verdict.steps_total == 0
        for start in range(0, len(scored), num_generations):
            row = scored[start].row_index
            rewards = [item.total for item in scored[start : start + num_generations]]
            self._identical += num_generations - len({item.text for item in scored[start : start + num_generations]})
            self._prompts[self._row_domain[row], self._row_bucket[row]] += 1
            self._idle[self._row_domain[row], self._row_bucket[row]] += without_variance(rewards)

    def record_due(self, record: Record) -> None:
        """`figures()` go into the record, and counts start anew."""
        record |= self.figures()
        self._start()

    def figures(self) -> dict[str, Any]:
        """The figures since the last record, {} when nothing came in.

        Rates lie in [0, 1]; `bucket_shares` and `domain_shares` are shares of prompts; `mixed_groups` is the share of groups
        that differ in reward and so teach something, `zero_variance_groups` that of the others. `identical_completions` is the
        share that repeats an earlier one of its group, among those that could; `empty_plans` the share of plans without a step,
        `cut_off_while_thinking` that of completions that end inside a reasoning block.
        Where plans were repaired, `success_rate_by_turn` is the share of completions that succeed after at most so many repairs,
        `repaired_completions` that of those that needed one or more.
        `reward_by_name` is there where several rewards add up to `reward`: the mean of each, without its weight.
        """
        if not self._prompts:
            return {}
        total = sum(self._count.values())
        prompts = sum(self._prompts.values())
        idle = sum(self._idle.values())
        buckets, domains = self._sums(self._prompts, 1), self._sums(self._prompts, 0)
        record: dict[str, Any] = {
            "completions": total,
            "reward": sum(self._reward.values()) / total,
            "success_rate": sum(self._success.values()) / total,
            "successes": sum(self._success.values()),
            "success_rate_by_domain": self._rates(0, self._success, self._count),
            "success_rate_by_difficulty": self._rates(1, self._success, self._count),
            "reward_by_domain": self._means(0),
            "reward_by_difficulty": self._means(1),
            "completions_by_domain": self._sums(self._count, 0),
            "completions_by_difficulty": self._sums(self._count, 1),
            "bucket_shares": {name: buckets.get(name, 0) / prompts for name in BUCKETS},
            "domain_shares": {name: count / prompts for name, count in domains.items()},
            "mixed_groups": 1 - idle / prompts,
            "zero_variance_groups": idle / prompts,
            "zero_variance_by_domain": self._rates(0, self._idle, self._prompts),
            "zero_variance_by_difficulty": self._rates(1, self._idle, self._prompts),
            "identical_completions": self._identical / max(total - prompts, 1),
            "empty_plans": self._empty / total,
            "cut_off_while_thinking": self._thinking / total,
            "verdict_shares": {name: count / total for name, count in sorted(self._verdicts.items())},
        }
        if len(self._by_name) > 1:
            record["reward_by_name"] = {name: value / total for name, value in self._by_name.items()}
        if max(self._turns, default=0):
            turns = sorted(self._turns)
            reached = itertools.accumulate(self._success_at[turn] for turn in turns)
            record["success_rate_by_turn"] = {str(turn): count / total for turn, count in zip(turns, reached, strict=True)}
            record["repaired_completions"] = 1 - self._turns[0] / total
        return record | self._by_batch_and_cell()

    def state_dict(self) -> dict[str, Any]:
        """The counts since the last record as JSON-ready data: a run stopped between two log lines loses none of them."""
        cells = [
            [*key, self._count[key], self._success[key], self._reward[key], self._prompts[key], self._idle[key]]
            for key in self._count
        ]
        batches = [[[*key, prompts] for key, prompts in batch.items()] for batch in self._batches]
        further = {"identical": self._identical, "empty": self._empty, "by_name": dict(self._by_name), "thinking": self._thinking}
        if max(self._turns, default=0):
            further["turns"] = [[turn, count, self._success_at[turn]] for turn, count in self._turns.items()]
        return {"cells": cells, "verdicts": dict(self._verdicts), "batches": batches, **further}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on counting where `state` was taken."""
        self._start()
        for domain, bucket, count, success, reward, prompts, idle in state["cells"]:
            key = (domain, bucket)
            self._count[key], self._success[key], self._reward[key] = count, success, reward
            self._prompts[key], self._idle[key] = prompts, idle
        self._verdicts.update(state["verdicts"])
        self._identical, self._empty = state.get("identical", 0), state.get("empty", 0)  # older checkpoints have neither,
        self._by_name.update(state.get("by_name", {}))  # nor these
        self._thinking = state.get("thinking", 0)
        for turn, count, success in state.get("turns", [[0, sum(self._count.values()), sum(self._success.values())]]):
            self._turns[int(turn)], self._success_at[int(turn)] = count, success
        self._batches = [Counter({(domain, bucket): n for domain, bucket, n in batch}) for batch in state["batches"]]

    @staticmethod
    def _sums(counter: Mapping[tuple[str, str], float], part: int) -> dict[str, Any]:
        sums: defaultdict[str, Any] = defaultdict(int)
        for key, value in counter.items():
            sums[key[part]] += value
        order = BUCKETS.index if part else lambda name: 0
        return {name: sums[name] for name in sorted(sums, key=lambda name: (order(name), name))}

    def _rates(self, part: int, hits: Mapping[tuple[str, str], int], of: Mapping[tuple[str, str], int]) -> dict[str, float]:
        counts, sums = self._sums(of, part), self._sums(hits, part)
        return {name: sums.get(name, 0) / count for name, count in counts.items()}

    def _means(self, part: int) -> dict[str, float]:
        counts, sums = self._sums(self._count, part), self._sums(self._reward, part)
        return {name: sums[name] / count for name, count in counts.items()}

    def _by_batch_and_cell(self) -> dict[str, Any]:
        """What the report draws.

        prompts_per_batch: {domain: [fewest, most]} prompts in one batch. cells: {domain: {difficulty: [prompts,
        completions, successes]}}.
        """
        prompts: Counter[tuple[str, str]] = sum(self._batches, Counter())
        domains = sorted({domain for domain, _ in prompts})
        of_domain = {name: [sum(n for key, n in batch.items() if key[0] == name) for batch in self._batches] for name in domains}
        cells: dict[str, dict[str, list[int]]] = {name: {} for name in domains}
        for key in sorted(prompts, key=lambda key: BUCKETS.index(key[1])):
            cells[key[0]][key[1]] = [prompts[key], self._count[key], self._success[key]]
        return {
            "prompts_per_batch": {name: [min(counts), max(counts)] for name, counts in of_domain.items()},
            "cells": cells,
        }
