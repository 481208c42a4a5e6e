"""What only a GPU can show, in one call of less than ten minutes.

    python script/verify_gpu.py                        a random Llama of 0.6 B parameters, made on the spot
    python script/verify_gpu.py --base_model FOLDER    a model of yours, with rewards that can vary

Trains a few GRPO steps with LoRA through Unsloth (4 bit) and through plain transformers on the same model and prompts, each in a
process of its own; continues the Unsloth run from its middle; merges its adapters. Prints a table; exit status 0 when every
check held, 1 when one did not, 2 without CUDA. A random model writes no plans, so its rewards are all the lowest and its
gradient is zero: memory, speed, batches and resuming are shown all the same, learning is not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from grpo_project.common.entry_point import entry_point  # noqa: E402

SECONDS = 570.0
STEPS, MIDDLE = 6, 3
LARGE = {"hidden_size": 1536, "intermediate_size": 6144, "num_hidden_layers": 16, "num_attention_heads": 12}
SETTINGS: dict[str, Any] = {
    "data_root": "data/four_domain", "batch_size": 8, "num_generations": 8, "max_steps": STEPS, "save_steps": MIDDLE,
    "eval_samples": 0, "eval_every_n_steps": 0, "logging_steps": 1, "lora_rank": 16, "load_in_4bit": True, "beta": 0.0,
    "max_completion_length": 128, "max_prompt_length": 1024, "use_wandb": False, "curriculum": "uniform", "seed": 42,
}  # fmt: skip


class Check(NamedTuple):
    """One line of the table. `held` is None for a figure that is neither right nor wrong."""

    name: str
    held: bool | None
    found: str


def make_model(folder: Path, sizes: dict[str, int]) -> Path:
    """A random Llama with the planner's tokenizer, in bfloat16, as a model folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from grpo_project.models.tokenizer import build_planner_tokenizer

    tokenizer = build_planner_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_key_value_heads=sizes["num_attention_heads"],
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **sizes,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "planner.json").write_text(json.dumps({"prompt_style": "compact", "grpo_defaults": {}}))
    return folder


def train_once(settings: dict[str, Any]) -> dict[str, Any]:
    """A run with these settings in this process. {status, peak_gib}; peak_gib is None without CUDA."""
    from grpo_project.training.launch import resolve_settings
    from grpo_project.training.run import train

    status = train(resolve_settings(settings), lambda step, max_steps: {"easy": 1.0, "medium": 1.0, "hard": 1.0})
    return {"status": status, "peak_gib": _peak_gib()}


def merge_once(settings: dict[str, Any]) -> dict[str, Any]:
    """Merges the adapters in settings["adapters"] into 16-bit weights in settings["merged"], loads those and runs them once."""
    import torch

    from grpo_project.models.loading import load_policy

    policy = load_policy(settings["adapters"], backend="unsloth", max_sequence_length=1152)
    policy.model.save_pretrained_merged(settings["merged"], policy.tokenizer, save_method="merged_16bit")
    from transformers import AutoModelForCausalLM

    merged = AutoModelForCausalLM.from_pretrained(settings["merged"], dtype=torch.bfloat16).to("cuda")
    tokens = torch.arange(5, 25, device="cuda")[None]
    with torch.inference_mode():
        logits = merged(tokens).logits.float()
    return {"status": 0, "finite": bool(torch.isfinite(logits).all())}


def _peak_gib() -> float | None:
    import torch

    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None


TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"train": train_once, "merge": merge_once}


def in_own_process(task: str, settings: dict[str, Any], folder: Path, deadline: float) -> dict[str, Any] | str:
    """What the task returned, or why it did not: its last line on stderr, or that the time was up."""
    asked, answer = folder / f"{task}.json", folder / f"{task}-answer.json"
    asked.write_text(json.dumps(settings))
    answer.unlink(missing_ok=True)
    left = deadline - time.monotonic()
    if left < 10:
        return "not run: the time was up"
    command = [sys.executable, __file__, "--task", task, str(asked), str(answer)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=left)
    except subprocess.TimeoutExpired:
        return f"stopped after {left:.0f} s: the time was up"
    if done.returncode or not answer.exists():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"ended with status {done.returncode}"
    found: dict[str, Any] = json.loads(answer.read_text())
    return f"ended with status {found['status']}" if found["status"] else found


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics that belong to a training step, in order."""
    from grpo_project.common.files import read_lines

    lines = [json.loads(line) for line in read_lines(run / "metrics.jsonl")]
    return [line for line in lines if line.get("seconds_per_step")]


def tokens_per_second(metrics: Sequence[dict[str, Any]]) -> float:
    """Median over the steps after the first, which warms up; prompt and completion tokens together."""
    pairs = zip(metrics, metrics[1:], strict=False)
    return statistics.median((b["tokens_seen"] - a["tokens_seen"]) / b["seconds_per_step"]["total"] for a, b in pairs)


def checks_of_run(backend: str, outcome: dict[str, Any] | str, run: Path) -> list[Check]:
    """What a run of training showed."""
    if isinstance(outcome, str):
        return [Check(f"{backend}: {STEPS} GRPO steps", False, outcome)]
    metrics = read_metrics(run)
    balanced = all(len(set(line["completions_by_domain"].values())) == 1 for line in metrics)
    mixed = statistics.mean(line["mixed_groups"] for line in metrics)
    peak = outcome["peak_gib"]
    return [
        Check(f"{backend}: {STEPS} GRPO steps", len(metrics) == STEPS, f"{len(metrics)} done"),
        Check(f"{backend}: every domain the same number in every batch", balanced, str(metrics[-1]["completions_by_domain"])),
        Check(f"{backend}: groups whose rewards differ", None, f"{mixed:.0%}"),
        Check(f"{backend}: peak memory of tensors", None, "none measured" if peak is None else f"{peak:.2f} GiB"),
        Check(f"{backend}: peak estimated before loading, without CUDA's own", None, f"{estimated_gib(run):.2f} GiB"),
        Check(f"{backend}: prompt and completion tokens per second", None, f"{tokens_per_second(metrics):.0f}"),
    ]


def estimated_gib(run: Path) -> float:
    """What --estimate_memory says of a run's settings; at the greatest lengths allowed, so above what short prompts take."""
    from grpo_project.configs.resolution import resolve
    from grpo_project.models.forecast import forecast_for_a_gpu
    from grpo_project.models.memory import GIB

    settings = json.loads((run / "resolved_config.json").read_text())["settings"]
    found = forecast_for_a_gpu(resolve([("the run", settings)]), None).estimate
    return (found.total - found.context) / GIB


SAME_AFTER_RESUME = ("reward", "completion_length_mean", "entropy", "completions_by_domain", "cells")


def check_of_resume(outcome: dict[str, Any] | str, before: Sequence[dict[str, Any]], run: Path) -> Check:
    """Whether the steps after the checkpoint came out again as they had."""
    name = f"unsloth: steps {MIDDLE + 1} to {STEPS} again from checkpoint-{MIDDLE}"
    if isinstance(outcome, str):
        return Check(name, False, outcome)
    after = {line["step"]: line for line in read_metrics(run)}
    differing = [
        f"{field} at step {line['step']}"
        for line in before
        if line["step"] > MIDDLE
        for field in SAME_AFTER_RESUME
        if line.get(field) != after.get(line["step"], {}).get(field)
    ]
    return Check(name, not differing, "the same" if not differing else "differs: " + ", ".join(differing[:4]))


def verify(base_model: Path, folder: Path, deadline: float) -> list[Check]:
    """Every check, in order; one that fails does not keep the next from running."""
    checks = []
    for backend in ("unsloth", "transformers"):
        run = folder / backend
        settings = SETTINGS | {"base_model": str(base_model), "backend": backend, "output_dir": str(run)}
        outcome = in_own_process("train", settings, folder, deadline)
        checks += checks_of_run(backend, outcome, run)
        if backend == "transformers" or isinstance(outcome, str):
            continue
        before = read_metrics(run)
        merged = in_own_process("merge", {"adapters": str(run / "model"), "merged": str(folder / "merged")}, folder, deadline)
        sound = isinstance(merged, dict) and merged["finite"]
        checks.append(
            Check("unsloth: adapters merged to 16 bit, loaded, run", sound, merged if isinstance(merged, str) else "done")
        )
        (run / "model").rename(folder / "model-before")
        again = in_own_process("train", {"resume_from_checkpoint": str(run / f"checkpoint-{MIDDLE}")}, folder, deadline)
        checks.append(check_of_resume(again, before, run))
    return checks


def table(checks: Sequence[Check]) -> str:
    """Markdown, one line per check."""
    from grpo_project.common.text import text_table

    words = {True: "yes", False: "NO", None: ""}
    return text_table(["check", "held", "found"], [[check.name, words[check.held], check.found] for check in checks], ["found"])


def _headline() -> str:
    from importlib import metadata

    import torch

    versions = []
    for name in ("torch", "transformers", "trl", "peft", "unsloth", "bitsandbytes"):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    return f"{torch.cuda.get_device_name(0)}; {', '.join(versions)}"


@entry_point()
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--base_model", type=Path, help="a model folder; default: a random Llama made for this")
    parser.add_argument("--task", nargs=3, metavar=("NAME", "SETTINGS", "ANSWER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.task:
        name, asked, answer = arguments.task
        Path(answer).write_text(json.dumps(TASKS[name](json.loads(Path(asked).read_text()))))
        return 0
    import torch

    if not torch.cuda.is_available():
        print(
            "verify_gpu.py: no CUDA device is there, so there is nothing to verify; run it on a machine with one", file=sys.stderr
        )
        return 2
    deadline = time.monotonic() + SECONDS
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = arguments.base_model or make_model(folder / "random-llama", LARGE)
        checks = verify(model, folder, deadline)
    print(f"{_headline()}\n\n{table(checks)}")
    return 1 if any(check.held is False for check in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
