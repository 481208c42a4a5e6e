"""A folder of rows: problems by number, solved in parallel, written in order, so that a killed run can go on exactly."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from grpo_project import __version__
from grpo_project.common.files import alone_in, json_value, naming, write_json_atomically, write_text_atomically
from grpo_project.common.processors import usable_processors
from grpo_project.data.instances import (
    SPLITS,
    Instance,
    generate_instance,
    own_stream,
    policy_plan,
    reasoned_plan,
    reference_plan,
    split_of,
    under_other_names,
    without_constraints,
)
from grpo_project.data.middle import from_the_middle
from grpo_project.data.mistakes import failed_attempt
from grpo_project.data.neutral_symbols import inline_pddl, under_neutral_symbols
from grpo_project.data.object_names import NAMINGS
from grpo_project.data.rows import read_rows
from grpo_project.domains import get_domain, training_domains
from grpo_project.domains.base import PlanningDomain, Ranges
from grpo_project.errors import ConfigError, DataError
from grpo_project.pddl import SearchResult, render_domain, render_problem
from grpo_project.pddl.canonical import canonical_form
from grpo_project.pddl.explanation import DETAILS
from grpo_project.prompting import PROMPT_FORMATS, SCHEMAS, render_answer, render_prompt

BATCH = 100  # most attempts per task of a worker process; part of nothing that is written
# Without a new row in so many attempts the space of problems counts as used up.
PATIENCE = 20_000

ShowProgress = Callable[[str, int, int], None]  # domain, rows written, rows asked for


@dataclass(frozen=True)
class CorpusConfig:
    """What decides the rows. domains empty: all. count is per domain, over all shards. constraints_share in [0, 1].

    repairs_share: of the rows that hold, before the right plan, one that fails and what the verifier says of it, by
    `repair_detail`, one of DETAILS; middle_share: of those that begin in the middle of a plan.
    seed names the stream; shard lies in [0, shards); inline: rows carry their problem's PDDL;
    with_prompt: and the prompt made of it, which readers otherwise make themselves. exclude: data roots whose problems, up to
    renaming, no row may hold. names: one of NAMINGS; the problems of a stream are the same under all of them.
    """

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
    plans: str = "search"
    ignore_constraints_share: float = 0.0
    prompt_style: str = "full"
    allow_duplicates: bool = False
    inline: bool = True
    with_prompt: bool = True
    prompt_format: str = "pddl"
    exclude: tuple[str, ...] = ()
    names: str = "conventional"
    repairs_share: float = 0.0
    repair_detail: str = DETAILS[-1]
    middle_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("count", "node_budget"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} must be at least 1, got {getattr(self, name)}")
        for name in ("constraints_share", "ignore_constraints_share", "repairs_share", "middle_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"--{name} must lie in [0, 1], got {getattr(self, name)}")
        if self.split not in SPLITS:
            raise ConfigError(f"--split must be one of {', '.join(SPLITS)}, got {self.split!r}")
        if not 0 <= self.shard < self.shards:
            raise ConfigError(f"--shard must be I/N with 0 <= I < N, got {self.shard}/{self.shards}")
        if self.names not in NAMINGS:
            raise ConfigError(f"--names must be one of {', '.join(NAMINGS)}, got {self.names!r}")
        if self.repair_detail not in DETAILS:
            raise ConfigError(f"--repair_detail must be one of {', '.join(DETAILS)}, got {self.repair_detail!r}")
        if self.repairs_share and not self.with_prompt:
            raise ConfigError("--repairs_share and --no_prompt: what is said of a failed plan follows a prompt")
        if self.repairs_share and self.prompt_style == SCHEMAS:
            raise ConfigError(f"--repairs_share and --prompt_style {SCHEMAS}: there are no demonstrations of repairs in symbols")
        if len(set(self.domains)) != len(self.domains):
            raise ConfigError(f"--domains names one twice: {', '.join(self.domains)}")
        if not (self.inline or self.with_prompt):
            raise ConfigError("--no_inline and --no_prompt together leave nothing of the problem in a row")
        if self.prompt_format not in PROMPT_FORMATS:
            raise ConfigError(f"--prompt_format must be one of {', '.join(PROMPT_FORMATS)}, got {self.prompt_format!r}")
        if self.prompt_format != "pddl" and (self.prompt_style != "full" or not self.with_prompt):
            raise ConfigError(f"--prompt_format {self.prompt_format} is for rows with a prompt of the full style")


def parse_ranges(text: str, domains: Sequence[PlanningDomain]) -> dict[str, Ranges]:
    """By domain: `train`, `harder`, from `small-far` the least of the first to the most of the second, or "n=3-5,l=4", where
    parameters not named keep their training range. Raises ConfigError.

    A name that only some of the domains know counts for those. Every domain must have a problem of these sizes.
    """
    if all(text in domain.sizes for domain in domains):
        return {domain.name: domain.sizes[text] for domain in domains}
    least, _, most = text.partition("-")
    if all({least, most} <= domain.sizes.keys() for domain in domains):
        return {domain.name: _span(domain.sizes[least], domain.sizes[most]) for domain in domains}
    known = sorted({name for domain in domains for name in domain.sizes["train"]})
    asked: dict[str, tuple[int, int]] = {}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in known:
            named = "small, train, harder, far"
            raise ConfigError(f"--sizes: no chosen domain has a size {name!r}; known are {', '.join(known)}, and {named}")
        match = re.fullmatch(r"(\d+)(?:\s*-\s*(\d+))?", value)
        if not match or int(match[1]) > int(match[2] or match[1]):
            raise ConfigError(f"--sizes: expected a number or a range such as 3-5 for {name}, got {value!r}")
        asked[name] = (int(match[1]), int(match[2] or match[1]))
    ranges: dict[str, Ranges] = {}
    for domain in domains:
        ranges[domain.name] = {name: asked.get(name, given) for name, given in domain.sizes["train"].items()}
        domain.draw_parameters(random.Random(0), ranges[domain.name])  # refuses what does not fit, before anything is written
    return ranges


def _span(least: Ranges, most: Ranges) -> Ranges:
    return {name: (least[name][0], max(most[name][1], least[name][1])) for name in least}


def generate_corpus(config: CorpusConfig, workers: int = 0) -> None:
    """Writes OUT/<domain>.jsonl, OUT/domains/<domain>.pddl and OUT/manifest.json. Raises GrpoProjectError.

    A killed run leaves OUT/<domain>.jsonl.partial with whole rows and goes on after them.
    """
    if not config.out:
        raise ConfigError("--out must name a folder")
    names = config.domains or tuple(training_domains())
    domains = [get_domain(name) for name in names]
    ranges = parse_ranges(config.sizes, domains)
    out = Path(config.out)
    manifest_path = out / "manifest.json"
    wanted = {**asdict(config), "domains": list(names), "generator_version": __version__}
    del wanted["out"]
    excluded = excluded_forms(config.exclude)
    del wanted["exclude"]
    if config.exclude:  # what is kept out decides the rows, not what the folders are called
        digest = hashlib.sha256("\n".join(sorted(excluded)).encode()).hexdigest()
        wanted["exclude"] = {"problems": len(excluded), "sha256": digest}
    # The usual case leaves no trace: folders made before there was a choice can be continued.
    for name, usual in (
        ("with_prompt", True),
        ("prompt_format", "pddl"),
        ("ignore_constraints_share", 0.0),
        ("names", "conventional"),
        ("repairs_share", 0.0),
        ("repair_detail", DETAILS[-1]),
        ("middle_share", 0.0),
    ):
        if wanted[name] == usual:
            del wanted[name]
    with alone_in(out):
        manifest = _manifest(manifest_path, wanted)
        with _progress_bars() as show, _pool(workers) as pool:
            for domain in domains:
                if domain.name in manifest["domains"] and (out / f"{domain.name}.jsonl").exists():
                    continue
                write_text_atomically(out / "domains" / f"{domain.name}.pddl", domain.domain_pddl)
                manifest["domains"][domain.name] = _generate_domain(
                    domain, config, ranges[domain.name], out, pool, show, excluded
                )
                write_json_atomically(manifest_path, manifest)


def _manifest(path: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """What is in the folder already, or a new manifest. Raises DataError where the folder holds anything else than `wanted`."""
    out = path.parent
    manifest: dict[str, Any] = {"arguments": wanted, "domains": {}}
    if path.exists():
        try:
            manifest = json_value(path.read_text(encoding="utf-8"))
            manifest["arguments"], manifest["domains"]
        except (ValueError, KeyError, TypeError):
            message = f"{path} is not a manifest of this script; nothing was changed. Choose another --out."
            raise DataError(message) from None
        for key in {**wanted, **manifest["arguments"]}:
            value = wanted.get(key)
            if manifest["arguments"].get(key) != value:
                raise DataError(
                    f"{out} holds data made with {key}={manifest['arguments'].get(key)!r}, now asked for {value!r}. "
                    "Choose another --out, or repeat the old arguments."
                )
    elif any(out.glob("*.jsonl*")):
        raise DataError(f"{out} holds rows but no manifest.json; nothing was changed. Choose another --out.")
    else:
        write_json_atomically(path, manifest)
    return manifest


@contextmanager
def _progress_bars() -> Iterator[ShowProgress]:
    """One bar a domain where rich is installed, nothing elsewhere: making data needs no more than numpy."""
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield lambda name, done, total: None
        return
    bars: dict[str, Any] = {}
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as progress:

        def show(name: str, done: int, total: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=total)
            progress.update(bars[name], completed=done)

        yield show


def excluded_forms(roots: Sequence[str]) -> frozenset[str]:
    """Canonical forms of all problems of these data roots. Raises DataError as reading them does."""
    return frozenset().union(*(row.known_forms for root in roots for row in read_rows(root).rows))


def _pool(workers: int) -> ProcessPoolExecutor:
    if workers < 0:
        raise ConfigError(f"--workers must be at least 1 (or 0 for one a core), got {workers}")
    return ProcessPoolExecutor(workers or usable_processors(), initializer=_start_worker, initargs=(os.getpid(),))


def _start_worker(main_process: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process alone; it stops between rows

    def watch() -> None:
        # A main process that was killed outright cannot stop its workers, which would wait for work without end.
        while os.getppid() == main_process:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _generate_domain(
    domain: PlanningDomain,
    config: CorpusConfig,
    ranges: Ranges,
    out: Path,
    pool: ProcessPoolExecutor,
    show: ShowProgress,
    excluded: frozenset[str],
) -> dict[str, Any]:
    target = config.count // config.shards + (1 if config.shard < config.count % config.shards else 0)
    partial = out / f"{domain.name}.jsonl.partial"
    rows = _whole_rows(partial)
    seen = {row["meta"]["canonical"] for row in rows}
    start = rows[-1]["meta"]["index"] + 1 if rows else 0
    written = len(rows)
    not_optimal = sum(not row["meta"]["reference_optimal"] for row in rows)
    show(domain.name, written, target)
    last_new = start
    with naming(partial), partial.open("a", encoding="utf-8") as file:
        # Few rows take small batches: what is worked on ahead is thrown away in the end.
        batch = max(4, min(BATCH, (target - written) // 8))
        for index, row in _attempts(domain.name, config, ranges, start, batch, pool):
            if written >= target:
                break
            form = row["meta"]["canonical"] if row is not None else None
            if row is not None and form not in excluded and (config.allow_duplicates or form not in seen):
                seen.add(form)
                file.write(json.dumps(row) + "\n")
                written += 1
                not_optimal += not row["meta"]["reference_optimal"]
                show(domain.name, written, target)
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
    return {"rows": written, "not_proven_optimal": not_optimal, "sha256": hashlib.sha256(final.read_bytes()).hexdigest()}


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
    name: str, config: CorpusConfig, ranges: Ranges, start: int, batch: int, pool: ProcessPoolExecutor
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """(index, row or None) in order of index, without end; a few batches are worked on ahead."""
    waiting: deque[Any] = deque()
    following = start
    try:
        while True:
            while len(waiting) < 8:
                waiting.append(pool.submit(_attempt_batch, name, config, ranges, range(following, following + batch)))
                following += batch
            yield from waiting.popleft().result()
    finally:  # enough rows, or stopped: what was planned ahead is not wanted
        for result in waiting:
            result.cancel()


def _attempt_batch(name: str, config: CorpusConfig, ranges: Ranges, indices: range) -> list[tuple[int, dict[str, Any] | None]]:
    return [(index, attempt(get_domain(name), config, ranges, index)) for index in indices]


def attempt(domain: PlanningDomain, config: CorpusConfig, ranges: Ranges, index: int) -> dict[str, Any] | None:
    """Row `index` of the stream, or None where it belongs to the other split or another shard, or has no plan in the budget."""
    instance = generate_instance(domain, config.seed, index, ranges, config.constraints_share)
    if instance.split != config.split or int(instance.canonical, 16) // 4 % config.shards != config.shard:
        return None
    shown, names = under_other_names(domain, instance, config.names)
    by_rule = config.plans != "search"
    # A rule takes what it leaves open in the order of the list that the model is shown; some heuristics read the usual names.
    solved = shown if by_rule else instance
    repaired, middle = (
        share > 0 and own_stream(name, instance).random() < share
        for name, share in (("repairs", config.repairs_share), ("middle", config.middle_share))
    )

    def plan(posed: Instance) -> tuple[SearchResult, tuple[str, ...]]:
        if config.plans == "reasoned_policy" and not middle:
            return reasoned_plan(domain, posed)
        if by_rule:
            return policy_plan(domain, posed, varied=config.plans == "varied_policy"), ()
        found = reference_plan(domain, posed, config.node_budget, config.plan_ties == "random")
        return replace(found, steps=names.steps(found.steps)) if found.steps else found, ()

    # A repair ends with a plan that is right, and no way leads on from a broken constraint.
    posed = without_constraints(solved, 0.0 if repaired or middle else config.ignore_constraints_share)
    result, reasoning = plan(posed)
    if not result.steps:
        return None
    steps, problem, turns = result.steps, shown.problem, list[str]()
    if middle:
        problem, steps = from_the_middle(domain, problem, steps, own_stream("cut", instance))
    taken = len(result.steps) - len(steps)
    canonical = canonical_form(domain.domain, problem) if taken else instance.canonical
    if taken and split_of(canonical) != config.split:
        return None
    if repaired:
        whole = problem.constraints is not None and not taken
        careless = plan(without_constraints(solved, 1.0))[0].steps if whole else None
        turns = failed_attempt(
            domain, problem, steps, careless, config.prompt_style, config.repair_detail, own_stream("mistakes", instance)
        )
    asked_domain = domain.domain
    if config.prompt_style == SCHEMAS:
        asked_domain, problem, symbols = under_neutral_symbols(asked_domain, problem, own_stream("symbols", instance))
        steps, reasoning = symbols.steps(steps), tuple(symbols.objects.get(word, word) for word in reasoning)
    meta: dict[str, Any] = {
        "scenario": domain.name,
        "problem_file": f"{domain.name}/{instance.file_name}",
        "domain_file": f"domains/{domain.name}.pddl",
        "constraints": problem.constraints is not None,
        "split": config.split,
        "parameters": dict(instance.parameters),
        "reference_cost": None if taken else result.cost,
        "reference_optimal": result.optimal and not taken,
        "canonical": canonical,
        "index": index,
    }
    if config.inline:
        text = render_problem(problem)
        # Without the prompt a row is meant to be small, and half of PDDL is indentation.
        meta["problem_pddl"] = text if config.with_prompt else " ".join(text.split())
        if config.prompt_style == SCHEMAS:
            meta |= inline_pddl(asked_domain, problem)
    if posed is not solved:
        meta["plan_ignores_constraints"] = True
    if taken:
        meta["steps_taken"] = taken
    if config.names != "conventional":
        meta["names"] = config.names
    if config.prompt_style != "full":
        meta["prompt_style"] = config.prompt_style
    if config.prompt_format != "pddl":
        meta["prompt_format"] = config.prompt_format
    row = {"response": render_answer(reasoning, steps), "meta": meta}
    if turns:
        row = {"turns": turns, **row}
    if config.with_prompt:
        how = config.prompt_style, domain.unsaid_atoms(problem, config.prompt_style), config.prompt_format, domain.phrases
        pddl = domain.domain_pddl if asked_domain is domain.domain else render_domain(asked_domain)
        prompt = render_prompt(domain.name, pddl, problem, *how)
        row = {"prompt": prompt, **row}
    return row
