"""What the trainer and a DataLoader see is the batch plans, in TRL's layout, and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planners import scheduled_planner
from torch.utils.data import DataLoader
from trl.trainer.utils import RepeatSampler

from grpo_project.curriculum.batch_plan import BatchPlanner
from grpo_project.data.difficulty import BUCKETS
from grpo_project.errors import ConfigError
from grpo_project.training.dataset import BalancedDomainDifficultyDataset
from grpo_project.training.sampler import CurriculumSampler

ROWS_PER_BUCKET = 20


def planner(domains: int = 4, quota: int = 2, seed: int = 0, max_steps: int = 50) -> BatchPlanner:
    bucket_rows = {
        f"d{domain}": {
            bucket: list(range((3 * domain + place) * ROWS_PER_BUCKET, (3 * domain + place + 1) * ROWS_PER_BUCKET))
            for place, bucket in enumerate(BUCKETS)
        }
        for domain in range(domains)
    }

    def weights(step: int, max_steps: int) -> dict[str, float]:
        return {"easy": 1 - step / max_steps, "medium": 0.5, "hard": step / max_steps}

    return scheduled_planner(seed, bucket_rows, domains * quota, weights, max_steps)


@settings(max_examples=40, deadline=None)
@given(
    domains=st.integers(1, 4),
    quota=st.integers(1, 3),
    num_generations=st.integers(1, 4),
    num_generation_batches=st.integers(1, 4),
    repeat_count=st.integers(1, 4),
    batches_per_generation=st.integers(1, 3),
)
def test_the_layout_is_that_of_trls_sampler_over_rows_in_plan_order(
    domains: int,
    quota: int,
    num_generations: int,
    num_generation_batches: int,
    repeat_count: int,
    batches_per_generation: int,
) -> None:
    plans = planner(domains, quota)
    sampler = CurriculumSampler(
        plans,
        num_generation_batches=num_generation_batches,
        num_generations=num_generations,
        repeat_count=repeat_count,
        batches_per_generation=batches_per_generation,
    )
    in_order = [index for plan in plans.plans(num_generation_batches * batches_per_generation) for index in plan.row_indices]
    theirs = RepeatSampler(
        in_order,
        mini_repeat_count=num_generations,
        batch_size=batches_per_generation * plans.batch_size,
        repeat_count=repeat_count,
        shuffle=False,
    )
    ours = list(sampler)
    assert ours == [in_order[place] for place in theirs]
    assert len(sampler) == len(theirs) == len(ours)
    assert list(sampler) == ours  # a resumed Trainer iterates anew and skips


def test_a_small_layout_by_hand() -> None:
    sampler = CurriculumSampler(planner(2, 1), num_generation_batches=2, num_generations=2, repeat_count=2)
    (a, b), (c, d) = sampler.generation(0), sampler.generation(1)
    assert list(sampler) == [a, a, b, b, a, a, b, b, c, c, d, d, c, c, d, d]


@pytest.mark.parametrize(
    ("max_steps", "accumulation", "steps_per_generation", "num_iterations", "generations"),
    [
        (10, 1, 1, 1, 10),
        (10, 4, 4, 1, 10),
        (10, 4, 4, 2, 5),
        (9, 4, 4, 2, 5),
        (10, 2, 4, 1, 5),
        (10, 4, 2, 1, 20),
        (1, 1, 8, 3, 1),
    ],
)
def test_the_sampler_lasts_for_the_whole_run(
    max_steps: int, accumulation: int, steps_per_generation: int, num_iterations: int, generations: int
) -> None:
    sampler = CurriculumSampler.for_training(
        planner(),
        num_generations=3,
        max_steps=max_steps,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=steps_per_generation,
        num_iterations=num_iterations,
    )
    assert sampler.num_generation_batches == generations
    # TRL's loader hands over one generation batch for every micro-step, and accumulates that many for a step.
    micro_steps = len(sampler) // (sampler.prompts_per_generation * 3)
    assert micro_steps // accumulation >= max_steps
    assert (micro_steps - sampler.repeat_count) // accumulation < max_steps  # and not a generation batch longer


@pytest.mark.parametrize("name", ["num_generation_batches", "num_generations", "repeat_count", "batches_per_generation"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_counts_below_one_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a whole number of 1 or more"):
        CurriculumSampler(planner(), **{"num_generation_batches": 2, "num_generations": 2, name: value})
    if name == "num_generations":
        with pytest.raises(ConfigError, match="num_generation_batches"):
            CurriculumSampler.for_training(planner(), num_generations=2, max_steps=0)


def rows(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"prompt {index}"} for index in range(count)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine with one core
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batch_size", [8, 3])
def test_the_dataset_streams_the_plans_with_any_number_of_workers(num_workers: int, batch_size: int) -> None:
    plans = planner()
    dataset = BalancedDomainDifficultyDataset(rows(240), plans, batches=5)
    expected = [pair for plan in plans.plans(5) for pair in zip(plan.row_indices, plan.domains, plan.buckets, strict=True)]
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=num_workers, collate_fn=list)
    batches = list(loader)
    items = [item for batch in batches for item in batch]
    assert [(item["row_index"], item["domain"], item["bucket"]) for item in items] == expected
    assert all(item["prompt"] == f"prompt {item['row_index']}" for item in items)
    if batch_size == plans.batch_size:
        assert [Counter(item["domain"] for item in batch) for batch in batches] == [{f"d{n}": 2 for n in range(4)}] * 5


def test_the_dataset_and_the_sampler_agree_and_the_dataset_can_begin_later() -> None:
    plans = planner()
    sampler = CurriculumSampler(plans, num_generation_batches=3, num_generations=1, batches_per_generation=2)
    assert [item["row_index"] for item in BalancedDomainDifficultyDataset(rows(240), plans, 6)] == list(sampler)
    later = BalancedDomainDifficultyDataset(rows(240), plans, 6, first_batch=4)
    assert [item["row_index"] for item in later] == sampler.generation(2)
    assert [item["row_index"] for item in later] == sampler.generation(2)
    for batches, first in ((-1, 0), (2, 3), (2, -1)):
        with pytest.raises(ConfigError, match="first_batch"):
            BalancedDomainDifficultyDataset(rows(240), plans, batches, first)
