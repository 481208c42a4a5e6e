"""A folder of rows: problems by number, solved in parallel, written in order, so that a killed run can go on exactly."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from grpo_project import __version__
from grpo_project.core.files import write_json_atomically, write_text_atomically
from grpo_project.domains import all_domains, get_domain
from grpo_project.domains.base import PlanningDomain, Ranges
from grpo_project.domains.instances import SPLITS, generate_instance, reference_plan
from grpo_project.errors import ConfigError, DataError
from grpo_project.pddl import render_problem
from grpo_project.prompting import render_plan, render_prompt

BATCH = 100  # attempts per task of a worker process; part of nothing that is written
# Without a new row in so many attempts the space of problems counts as used up.
PATIENCE = 20_000


@dataclass(frozen=True)
class CorpusConfig:
    """What decides the rows. domains empty: all. count is per domain, over all shards. constraints_share in [0, 1]."""

    out: str
    domains: tuple[str, ...] = ()
    count: int = 100
    seed: int = 1
    sizes: str = "train"
    constraints_share: float = 1.0
    split: str = "train"
    shard: int = 0
    shards: int = 1
    node_budget: int = 200_000
    plan_ties: str = "random"
    prompt_style: str = "full"
    allow_duplicates: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"--count must be at least 1, got {self.count}")
        if not 0.0 <= self.constraints_share <= 1.0:
            raise ConfigError(f"--constraints_share must lie in [0, 1], got {self.constraints_share}")
        if self.split not in SPLITS:
            raise ConfigError(f"--split must be one of {', '.join(SPLITS)}, got {self.split!r}")
        if self.node_budget < 1:
            raise ConfigError(f"--node_budget must be at least 1, got {self.node_budget}")


def parse_ranges(text: str, domain: PlanningDomain) -> Ranges:
    """`train`, `harder`, or "n=3-5,l=4": parameters not named keep their training range. Raises ConfigError."""
    if text in domain.sizes:
        return domain.sizes[text]
    ranges = dict(domain.sizes["train"])
    for part in text.split(","):
        name, _, value = part.partition("=")
        low, _, high = value.partition("-")
        if name.strip() not in ranges:
            raise ConfigError(f"--sizes: {domain.name} has no size {name.strip()!r}; known are {', '.join(ranges)}, train, harder")
        try:
            ranges[name.strip()] = (int(low), int(high or low))
        except ValueError:
            raise ConfigError(f"--sizes: expected a number or range such as 3-5 for {name}, got {value!r}") from None
    return ranges


def generate_corpus(config: CorpusConfig, workers: int = 0) -> None:
    """Writes OUT/<domain>.jsonl, OUT/domains/<domain>.pddl and OUT/manifest.json. Raises GrpoProjectError.

    A killed run leaves OUT/<domain>.jsonl.partial with whole rows and goes on after them.
    """
    names = config.domains or tuple(all_domains())
    domains = [get_domain(name) for name in names]
    ranges = {domain.name: parse_ranges(config.sizes, domain) for domain in domains}
    out = Path(config.out)
    manifest_path = out / "manifest.json"
    wanted = {**asdict(config), "domains": list(names), "generator_version": __version__}
    del wanted["out"]
    manifest: dict[str, Any] = {"arguments": wanted, "domains": {}}
    if manifest_path.exists():
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        for key, value in wanted.items():
            if manifest["arguments"].get(key) != value:
                raise DataError(
                    f"{out} holds data made with {key}={manifest['arguments'].get(key)!r}, now asked for {value!r}. "
                    "Choose another --out, or repeat the old arguments."
                )
    elif out.exists() and any(out.glob("*.jsonl*")):
        raise DataError(f"{out} holds rows but no manifest.json; nothing was changed. Choose another --out.")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json_atomically(manifest_path, manifest)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress, ProcessPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for domain in domains:
            if domain.name in manifest["domains"]:
                continue
            write_text_atomically(out / "domains" / f"{domain.name}.pddl", domain.domain_pddl)
            manifest["domains"][domain.name] = _generate_domain(domain, config, ranges[domain.name], out, pool, progress)
            write_json_atomically(manifest_path, manifest)


def _generate_domain(
    domain: PlanningDomain, config: CorpusConfig, ranges: Ranges, out: Path, pool: ProcessPoolExecutor, progress: Progress
) -> dict[str, Any]:
    target = config.count // config.shards + (1 if config.shard < config.count % config.shards else 0)
    partial = out / f"{domain.name}.jsonl.partial"
    rows = _whole_rows(partial)
    seen = {row["meta"]["canonical"] for row in rows}
    start = rows[-1]["meta"]["index"] + 1 if rows else 0
    written = len(rows)
    not_optimal = sum(not row["meta"]["reference_optimal"] for row in rows)
    bar = progress.add_task(domain.name, total=target, completed=written)
    last_new = start
    began = time.perf_counter()
    with partial.open("a", encoding="utf-8") as file:
        for index, row in _attempts(domain.name, config, ranges, start, pool):
            if written >= target:
                break
            if row is not None and (config.allow_duplicates or row["meta"]["canonical"] not in seen):
                seen.add(row["meta"]["canonical"])
                file.write(json.dumps(row) + "\n")
                written += 1
                not_optimal += not row["meta"]["reference_optimal"]
                progress.update(bar, completed=written)
                last_new = index
            elif index - last_new > PATIENCE:
                raise DataError(
                    f"{domain.name}: {PATIENCE} attempts in a row gave no new problem after {written} of {target} rows. "
                    "Widen --sizes, lower --count, or pass --allow_duplicates."
                )
        file.flush()
        os.fsync(file.fileno())
    final = out / f"{domain.name}.jsonl"
    os.replace(partial, final)
    return {
        "rows": written,
        "not_proven_optimal": not_optimal,
        "sha256": hashlib.sha256(final.read_bytes()).hexdigest(),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _whole_rows(partial: Path) -> list[dict[str, Any]]:
    """The rows of a killed run; a torn last line is cut off the file."""
    if not partial.exists():
        return []
    text = partial.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) != len(text):
        with partial.open("r+b") as file:
            file.truncate(len(whole))
    return [json.loads(line) for line in whole.decode("utf-8").splitlines()]


def _attempts(
    name: str, config: CorpusConfig, ranges: Ranges, start: int, pool: ProcessPoolExecutor
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """(index, row or None) in order of index, without end; a few batches are worked on ahead."""
    waiting: list[Any] = []
    following = start
    while True:
        while len(waiting) < 8:
            waiting.append(pool.submit(_attempt_batch, name, config, ranges, following))
            following += BATCH
        yield from waiting.pop(0).result()


def _attempt_batch(name: str, config: CorpusConfig, ranges: Ranges, start: int) -> list[tuple[int, dict[str, Any] | None]]:
    return [(index, attempt(get_domain(name), config, ranges, index)) for index in range(start, start + BATCH)]


def attempt(domain: PlanningDomain, config: CorpusConfig, ranges: Ranges, index: int) -> dict[str, Any] | None:
    """Row `index` of the stream, or None where it belongs to the other split or another shard, or has no plan in the budget."""
    instance = generate_instance(domain, config.seed, index, ranges, config.constraints_share)
    if instance.split != config.split or int(instance.canonical, 16) // 4 % config.shards != config.shard:
        return None
    result = reference_plan(domain, instance, config.node_budget, config.plan_ties == "random")
    if not result.steps:
        return None
    problem = replace(instance.problem, name=instance.file_name.removesuffix(".pddl"))
    meta: dict[str, Any] = {
        "scenario": domain.name,
        "problem_file": f"{domain.name}/{instance.file_name}",
        "domain_file": f"domains/{domain.name}.pddl",
        "constraints": problem.constraints is not None,
        "split": config.split,
        "reference_cost": result.cost,
        "reference_optimal": result.optimal,
        "canonical": instance.canonical,
        "index": index,
    }
    if config.prompt_style == "full":
        meta["problem_pddl"] = render_problem(problem)
    else:
        meta["prompt_style"] = config.prompt_style
    prompt = render_prompt(domain.name, domain.domain_pddl, problem, config.prompt_style, domain.implied_atoms(problem))
    return {"prompt": prompt, "response": render_plan(result.steps), "meta": meta}
