"""The schema of metrics: what a run writes is in it, what is in it is written, and pooling does what the names say."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_project.common.metrics import LARGEST, METRICS, POOLS, Metric, finite_names, is_number, pool, trainer_names

REPOSITORY = Path(__file__).resolve().parents[3]
# What a short run under the adaptive curriculum has no cause to write.
OF_OTHER_RUNS = {"reward_by_name", "curriculum/rollbacks", "curriculum/stage", "curriculum/stage_number", "alarm", "alarms"}
OF_OTHER_RUNS |= {"curriculum/frontier_score", "curriculum/frontier_completions", "repaired_completions", "success_rate_by_turn"}


@pytest.mark.slow
def test_a_run_writes_the_figures_of_the_schema_in_their_forms_and_no_others(
    data_root: Path, tiny_planner: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from grpo_project.reporting.shapes import well_formed

    flags: dict[str, Any] = {
        "base_model": tiny_planner, "data_root": data_root, "test_data": data_root, "output_dir": tmp_path / "run",
        "batch_size": 8, "num_generations": 4, "max_steps": 4, "max_completion_length": 12, "eval_samples": 0,
        "eval_every_n_steps": 2, "max_eval_samples": 2, "logging_steps": 1, "curriculum": "adaptive", "beta": 0.02,
        "resample_zero_variance": 1, "report_to": "none",
    }  # fmt: skip
    command = [sys.executable, "script/train_grpo_unsloth_stl_v2.py", "--adaptive_quotas"]
    command += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    written = {name for line in lines for name in line}
    assert written - set(METRICS) == set()
    assert set(METRICS) - written <= OF_OTHER_RUNS
    assert [well_formed(line)[1] for line in lines] == [[]] * len(lines)


def test_names_are_declared_once_and_trainers_names_are_apart() -> None:
    assert list(METRICS) == [metric.name for metric in METRICS.values()]
    theirs = [metric.theirs for metric in METRICS.values() if metric.theirs]
    assert len(theirs) == len(set(theirs)) == len(trainer_names())
    assert trainer_names()["completions/clipped_ratio"] == "completions_cut_off"
    assert set(finite_names()) == {"loss", "grad_norm", "reward", "kl"}


@pytest.mark.parametrize(("field", "value"), [("pooled", "median"), ("form", "matrix")])
def test_a_metric_of_an_unknown_kind_is_refused(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"x: {field} must be one of"):
        Metric("x", "X", **{field: value})


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(-10, 10)), st.integers(1, 9)), max_size=8))
def test_pooling_lines_is_counting_each_by_its_weight(pairs: list[tuple[float | None, int]]) -> None:
    values, weights = [value for value, _ in pairs], [weight for _, weight in pairs]
    known = [value for value, weight in pairs if value is not None for _ in range(weight)]
    if not known:
        assert [pool(how, values, weights) for how in POOLS if how != "none"] == [None] * (len(POOLS) - 1)
        return
    assert pool("mean", values, weights) == pytest.approx(math.fsum(known) / len(known), abs=1e-12)
    assert pool("last", values, weights) == [value for value in values if value is not None][-1]
    assert (pool("min", values, weights), pool("max", values, weights)) == (min(known), max(known))
    assert pool("sum", values, weights) == pytest.approx(sum(value for value in values if value is not None))


def test_what_cannot_be_drawn_is_no_number() -> None:
    assert [is_number(value) for value in (True, None, "1", math.nan, math.inf, 10**400, LARGEST + 1.0e6)] == [False] * 7
    assert is_number(LARGEST) and is_number(-0.5)
