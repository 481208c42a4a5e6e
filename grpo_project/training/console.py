"""What a run says on the console while all goes well: one line at a time, from one process. `endings.py` has the rest."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

from grpo_project.common import ranks
from grpo_project.training.preparation import Preparation


def say(text: str) -> None:
    """One line on the console, at once; of several processes the first one speaks."""
    if ranks.is_main():
        print(text, flush=True)


def show_progress(done: int, total: int) -> None:
    """A counter of solved problems that writes over itself; nothing where the output is no terminal."""
    if sys.stdout.isatty():
        text = f"solving held-out problems: {done}/{total}"
        print(f"\r{text if done < total else ' ' * len(text)}", end="\r", flush=True)


def describe_quotas(quotas: Mapping[str, int], batches: int) -> str:
    """`6 prompts of each domain`, or the number for each where they differ."""
    if len(set(quotas.values())) == 1:
        return f"{batches * next(iter(quotas.values()))} prompts of each domain"
    return ", ".join(f"{batches * quota} of {domain}" for domain, quota in quotas.items())


def describe_data(prepared: Preparation) -> str:
    """`2000 training problems (blocksworld 500: easy 205, ...); 800 held-out ones from data/test`."""
    parts = []
    for domain, statistics in prepared.buckets.statistics.items():
        sizes = ", ".join(f"{name} {count}" for name, count in statistics.counts.items())
        parts.append(f"{domain} {statistics.count}: {sizes}")
    skipped = f", {len(prepared.rows.bad_rows)} bad rows skipped" if prepared.rows.bad_rows else ""
    held_out = f"; {len(prepared.held_out_rows)} held-out ones from {prepared.held_out_name}" if prepared.held_out else ""
    return f"{len(prepared.rows)} training problems ({'; '.join(parts)}{skipped}){held_out}"


def silence_libraries() -> None:
    """Only warnings that say something about the run reach the console."""
    import warnings

    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    logging.getLogger("trl").setLevel(logging.ERROR)
