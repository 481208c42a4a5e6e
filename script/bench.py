"""Where the time goes: the parts of a training step, and validations per second.

    python script/bench.py

One real run of the main job on the shipped planner (a few steps, no evaluation), then the validator on plans of the shipped
test problems, whole and broken. Times depend on the machine; shares of a step hardly do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def bench_training(steps: int) -> None:
    """Prints seconds per step, split, from the metrics of a real run; the first step is left out (it warms up)."""
    with tempfile.TemporaryDirectory() as folder:
        script, data, output = ROOT / "script" / "train_grpo_unsloth_stl_v2.py", ROOT / "data" / "four_domain", f"{folder}/run"
        command = [sys.executable, str(script), "--data_root", str(data), "--output_dir", output, "--max_steps", str(steps)]
        command += ["--eval_samples", "0", "--logging_steps", "1", "--no_wandb"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        lines = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
    timed = [line["seconds_per_step"] for line in lines if line.get("seconds_per_step")][1:]
    totals: dict[str, float] = {}
    for line in timed:
        for name, seconds in line.items():
            totals[name] = totals.get(name, 0.0) + seconds / len(timed)
    step = totals.pop("total")
    print(f"training step: {step:.2f} s (mean of {len(timed)})")
    for name, seconds in sorted(totals.items(), key=lambda item: -item[1]):
        print(f"  {name:12} {seconds:7.3f} s  {100 * seconds / step:5.1f}%")


def bench_validator() -> None:
    """Prints parse time and validations per second, first pass and warm."""
    from grpo_project.core.rows import read_rows
    from grpo_project.pddl import validate_text

    began = time.perf_counter()
    rows = read_rows(ROOT / "data" / "test")
    print(f"reading: {1e3 * (time.perf_counter() - began) / len(rows):.2f} ms per row, PDDL parsed")
    tasks = [rows.task(index) for index in range(len(rows))]
    texts = [row.response or "" for row in rows.rows]
    broken = ["\n".join(text.splitlines()[1:]) for text in texts]
    for name in ("first pass", "warm"):
        began = time.perf_counter()
        solved = sum(
            validate_text(task, text).success for group in (texts, broken) for task, text in zip(tasks, group, strict=True)
        )
        seconds = time.perf_counter() - began
        print(f"validator, {name}: {2 * len(tasks) / seconds:,.0f} plans/s on one core ({solved} of {2 * len(tasks)} succeed)")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8, help="training steps (default 8)")
    arguments = parser.parse_args(argv)
    bench_training(max(2, arguments.steps))
    bench_validator()
    return 0


if __name__ == "__main__":
    sys.exit(main())
