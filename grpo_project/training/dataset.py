"""The domain-balanced, curriculum-ordered stream of rows as an iterable dataset.

The GRPO run itself uses `training/sampler.py`, which resumes exactly; this is the same order for a plain DataLoader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.errors import ConfigError


class BalancedDomainDifficultyDataset(IterableDataset[dict[str, Any]]):
    """The rows of plan(0), plan(1), ..., plan(batches - 1), one item per prompt, in the order of the plans.

    Items are dicts: the columns of `rows[i]`, and `row_index` i, `domain`, `bucket`. Every run of `planner.batch_size` items
    holds the same number of each domain, so a DataLoader with that batch_size gives balanced batches.
    `rows[i]` is the row with index i as a mapping of columns. Iterating begins at `first_batch` every time.

    With worker processes the first one yields everything and the others nothing: order and counts stay those of one process
    for every batch size. Sharing the batches out would only keep the order where the loader's batch size equals the plan's,
    and there is nothing to gain: an item is a look-up.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], planner: BatchPlanner, batches: int, first_batch: int = 0) -> None:
        if batches < 0 or not 0 <= first_batch <= batches:
            raise ConfigError(
                f"batches and first_batch must satisfy 0 <= first_batch <= batches, got {first_batch} and {batches}"
            )
        self.rows = rows
        self.planner = planner
        self.batches = batches
        self.first_batch = first_batch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        if worker is not None and worker.id > 0:
            return
        for batch in range(self.first_batch, self.batches):
            plan = self.planner.plan(batch)
            for index, domain, bucket in zip(plan.row_indices, plan.domains, plan.buckets, strict=True):
                yield {**self.rows[index], "row_index": index, "domain": domain, "bucket": bucket}
