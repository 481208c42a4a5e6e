#!/usr/bin/env python
"""Which curriculum helps: the same training under each, at least five seeds, equal completions, paired by seed.

    python script/compare_curricula.py                      everything that is left, until it is done or Ctrl-C
    python script/compare_curricula.py --budget_minutes 50  as much as fits; the run under way is stopped with a checkpoint
    python script/compare_curricula.py --only adaptive      one curriculum, or one run: --only adaptive-seed3
    python script/compare_curricula.py --report             what is done and left, and the figures so far

Every run is a process of the main script with a folder of its own under --out; what is finished stays, what was stopped goes
on from its checkpoint, exactly. The same command in a second terminal takes other runs. After each run the figures go to the
--evidence file, a page beside it. That file holds what is known of every finished run: where it is carried to another machine,
those count as done there. Settings of the main script that all runs share stand after `--`:

    python script/compare_curricula.py --seeds 1 2 3 4 5 -- --max_steps 100 --learning_rate 1e-4
"""

from __future__ import annotations

import argparse
import fcntl
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from grpo_project.common import signals  # noqa: E402
from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.common.files import read_json_object, write_json_atomically, write_text_atomically  # noqa: E402
from grpo_project.errors import ConfigError, DataError  # noqa: E402
from grpo_project.reporting.curriculum_comparison import CONTROL, Run, compare, read_run, tables  # noqa: E402
from grpo_project.runs.run_folder import checkpoints  # noqa: E402

TRAINING_SCRIPT = ROOT / "script" / "train_grpo_unsloth_stl_v2.py"
GRACE_SECONDS = 300  # what a stopped run gets to finish its step and write a checkpoint


@dataclass(frozen=True)
class Part:
    """One run of the comparison. `curriculum`: its name, and settings that only this arm has: adaptive,adaptive_quotas"""

    curriculum: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def done(self) -> bool:
        return (self.folder / "evaluation_after.json").exists()


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "curricula", help="folder of all runs")
    parser.add_argument(
        "--curricula",
        nargs="+",
        default=["uniform", "step", "stage", "adaptive"],
        help="NAME or NAME,setting=value,switch; uniform is the control",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--eval_every", type=int, default=10, help="steps between two evaluations")
    parser.add_argument("--eval_problems", type=int, default=50, help="problems per domain in each of them")
    parser.add_argument("--final_problems", type=int, default=200, help="problems per domain, others, before and after")
    parser.add_argument("--only", nargs="+", default=[], help="curricula or runs (adaptive-seed3) to do now; default: all")
    parser.add_argument("--budget_minutes", type=float, help="stop after this time, with a checkpoint to go on from")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument(
        "--evidence", type=Path, help="where the figures go and finished runs are read; default evidence.json in --out"
    )
    parser.add_argument("shared", nargs="*", help="after --: settings of the main script, the same for all runs")
    options = parser.parse_args(argv)
    options.evidence = options.evidence or options.out / "evidence.json"
    return options


def parts_of(options: argparse.Namespace) -> list[Part]:
    """All runs, a seed of every curriculum before the next seed, so that what is done is always paired."""
    return [Part(name, seed, options.out / f"{_slug(name)}-seed{seed}") for seed in options.seeds for name in options.curricula]


def _arm(text: str) -> dict[str, str]:
    """The settings of an arm, "" for a switch. Raises ConfigError for text that is none."""
    name, *others = text.split(",")
    pairs = [other.partition("=") for other in others]
    if not name or not all(key.isidentifier() and bool(equals) == bool(value) for key, equals, value in pairs):
        raise ConfigError(f"--curricula {text}: write NAME, or NAME,setting=value,switch with settings of the main script")
    return {"curriculum": name} | {key: value for key, _, value in pairs}


def _flags(settings: Mapping[str, Any]) -> list[str]:
    return [text for name, value in settings.items() for text in (f"--{name}", str(value)) if text]


def _slug(curriculum: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in curriculum)


def fix_settings(options: argparse.Namespace) -> list[Run]:
    """Writes down what all runs share, and returns the finished runs of the evidence file. Raises ConfigError where an earlier
    part of the comparison was run with something else, DataError for evidence that cannot be read."""
    settings = {
        "eval_every": options.eval_every,
        "eval_problems": options.eval_problems,
        "final_problems": options.final_problems,
        "shared": options.shared,
    }
    path = options.out / "comparison.json"
    if path.exists():
        _refuse_others(options.out, "--out", read_json_object(path), settings)
    elif not options.report:
        write_json_atomically(path, settings)
    if not options.evidence.exists():
        return []
    evidence = read_json_object(options.evidence)
    try:
        _refuse_others(options.evidence, "--evidence", evidence["made_with"]["comparison"], settings)
        return [Run.from_json(run) for run in evidence["runs"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{options.evidence} is no evidence of this script: {type(error).__name__}: {error}") from None


def _refuse_others(where: Path, flag: str, before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if before.get(name) != value:
            raise ConfigError(
                f"{where} was begun with {name} {before.get(name)}, now it is {value}: runs under different settings "
                f"cannot be compared. Repeat the first settings, or choose another {flag}"
            )


def command_of(part: Part, options: argparse.Namespace) -> list[str]:
    """The main script's command that begins the run or goes on with it."""
    script = [sys.executable, str(TRAINING_SCRIPT)]
    if checkpoints(part.folder):
        return [*script, "--output_dir", str(part.folder), "--resume_from_checkpoint", "auto"]
    if part.folder.exists():  # stopped before its first checkpoint: renamed and kept
        number = sum(1 for _ in part.folder.parent.glob(f"{part.name}.stopped-*")) + 1
        part.folder.rename(part.folder.with_name(f"{part.name}.stopped-{number}"))
    own: dict[str, Any] = {
        "seed": part.seed,
        "output_dir": part.folder,
        "eval_every_n_steps": options.eval_every,
        "max_eval_samples": options.eval_problems,
        "eval_samples": options.final_problems,
        "save_steps": options.eval_every,
        "save_total_limit": 2,
        "logging_steps": options.eval_every,
    }
    return [*script, *_flags(own), "--no_wandb", *options.shared, *_flags(_arm(part.curriculum))]  # the last one counts


def run_part(part: Part, options: argparse.Namespace, deadline: float | None) -> bool:
    """Runs it, unless another process does, until done or the deadline (time.monotonic()), and says what became of it.

    Whether it is done. Raises DataError where the run fails by itself.
    """
    with open(options.out / f"{part.name}.log", "a", encoding="utf-8") as log:
        try:
            # Inherited with the output: held for as long as the run lives, also where this process is killed.
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{part.name}: another process is at it", flush=True)
            return False
        if part.done:  # by another process, since this one began
            return True
        print(f"{part.name}: {'goes on' if checkpoints(part.folder) else 'begins'}", flush=True)
        began = time.monotonic()
        finished = _train(part, options, deadline, log)
    minutes = (time.monotonic() - began) / 60
    print(f"{part.name}: {'done' if finished else 'stopped, to be continued'} after {minutes:.1f} minutes", flush=True)
    return finished


def _train(part: Part, options: argparse.Namespace, deadline: float | None, log: IO[str]) -> bool:
    """Whether the run was done by the deadline. Raises DataError where it fails by itself."""
    # A session of its own: Ctrl-C at the terminal would reach it as well, and two of them end it without a checkpoint.
    process = subprocess.Popen(command_of(part, options), stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
    try:
        process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as stopped:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if isinstance(stopped, KeyboardInterrupt):
            raise
        return part.done
    if process.returncode != 0 or not part.done:
        raise DataError(f"{part.name} ended with status {process.returncode}; see {options.out / f'{part.name}.log'}")
    return True


def report(parts: list[Part], recorded: list[Run], options: argparse.Namespace) -> list[str]:
    """Shows what is done and left, with the figures so far, and writes the evidence where a run has come to it. The names of
    the runs that are left."""
    done = [part for part in parts if part.done]
    runs = {(run.curriculum, run.seed): run for run in recorded}
    runs |= {(part.curriculum, part.seed): read_run(part.folder, part.curriculum, part.seed) for part in done}
    left = [part.name for part in parts if (part.curriculum, part.seed) not in runs]
    print(f"{len(parts) - len(left)} of {len(parts)} runs are done" + (f"; left: {', '.join(left)}" if left else ""))
    if not any(curriculum == CONTROL for curriculum, _ in runs):
        print(f"No run of {CONTROL}, the control, is finished yet, so there is nothing to compare.")
        return left
    evidence = compare(list(runs.values()))
    shown = tables(evidence)
    print(f"\n{shown}")
    if not done or options.report:
        return left
    resolved = json.loads((done[-1].folder / "resolved_config.json").read_text(encoding="utf-8"))
    made = {
        "settings": {name: value for name, value in resolved["settings"].items() if name not in _OWN},
        "environment": {name: value for name, value in resolved["environment"].items() if name != "platform"},
        "comparison": json.loads((options.out / "comparison.json").read_text(encoding="utf-8")),
    }
    write_json_atomically(options.evidence, {**evidence, "made_with": made})
    write_text_atomically(
        options.evidence.with_suffix(".md"),
        f"# Which curriculum helps\n\nWritten by script/compare_curricula.py; {options.evidence.name} has all figures, and "
        f"docs/curriculum.md says how to read them.\n\n{shown}\n",
    )
    print(f"\nWritten: {options.evidence} and {options.evidence.with_suffix('.md').name} beside it")
    return left


_OWN = ("curriculum", "seed", "output_dir", "run_name", "resume_from_checkpoint")


@entry_point("\nStopped. The same command goes on from here.", outlives_output=True)
def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 all done (or a report), 3 some runs are left, 2 a mistake that the message names, 130 interrupted."""
    options = parse(argv)
    deadline = None if options.budget_minutes is None else time.monotonic() + 60 * options.budget_minutes
    parts = parts_of(options)
    for part in parts:
        _arm(part.curriculum)
    unknown = set(options.only) - {part.name for part in parts} - set(options.curricula)
    if unknown:
        raise ConfigError(f"--only {', '.join(sorted(unknown))}: no such run; they are {', '.join(p.name for p in parts)}")
    options.out.mkdir(parents=True, exist_ok=True)
    recorded = fix_settings(options)
    known = {(run.curriculum, run.seed) for run in recorded}
    chosen = [p for p in parts if not options.only or p.name in options.only or p.curriculum in options.only]
    left = report(parts, recorded, options)
    for part in chosen if not options.report else []:
        if part.done or (part.curriculum, part.seed) in known:
            continue
        if deadline is not None and time.monotonic() >= deadline:
            break
        if run_part(part, options, deadline):
            left = report(parts, recorded, options)
    return 3 if left and not options.report else 0


if __name__ == "__main__":
    with signals.caught(signals.WARNINGS | {signal.SIGTERM}, signal.default_int_handler):  # so that no run is left behind
        sys.exit(main())
