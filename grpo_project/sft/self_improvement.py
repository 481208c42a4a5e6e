"""Self-improvement: a model's own verified plans for problems that grow from round to round are what it learns from next.

    problems of the round's sizes -> sampled answers -> verified plans -> SFT on them and on demonstrations -> next round

Rejection sampling with fine-tuning, as RAFT (Dong et al. 2023, arXiv 2304.06767) and STaR (Zelikman et al. 2022, arXiv
2203.14465); the growing sizes are those of arXiv 2502.01612, which took addition from 10 to 100 digits in this way. Every part of
a round is written whole or not at all, so that a killed run goes on with the part that was under way.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_project.common.files import alone_in, read_json_object, write_json_atomically, write_text_atomically
from grpo_project.common.paths import REPOSITORY
from grpo_project.common.random_streams import stream
from grpo_project.common.statistics import wilson_interval
from grpo_project.common.text import percent
from grpo_project.data.asked_words import in_asked_words
from grpo_project.data.instances import generate_instance, row_of, under_other_names
from grpo_project.data.object_names import NAMINGS
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import Row
from grpo_project.domains import get_domain
from grpo_project.domains.base import PlanningDomain, Ranges
from grpo_project.errors import ConfigError, DataError, GrpoProjectError
from grpo_project.pddl import compile_task, extract_plan, validate
from grpo_project.pddl.plan import reasoning_of
from grpo_project.prompting import ChatOptions, render_plan
from grpo_project.training.console import silence_libraries

SETTINGS_FILE = "self_improvement.json"
ROUND_FILE = "round.json"
DRAWS_PER_PROBLEM = 50  # small sizes have few different problems; then there are fewer than asked for


@dataclass(frozen=True)
class SelfImprovementConfig:
    """What a run is made of. problems: per domain and round. samples: answers drawn for each at `temperature`. kept: plans of a
    problem that are learned from, the shortest ones. first_sizes, last_sizes: names of sizes that every domain has; round r of R
    draws from the least of the first up to r/R of the way to the most of the last. demonstrations: data roots that SFT mixes in.
    sft: further flags of script/train_sft.py.
    """

    base_model: str
    output_dir: Path
    domains: tuple[str, ...]
    rounds: int = 6
    problems: int = 400
    samples: int = 8
    kept: int = 2
    temperature: float = 1.0
    max_completion_length: int = 256
    first_sizes: str = "train"
    last_sizes: str = "harder"
    constraints_share: float = 0.7
    names: str = "conventional"
    demonstrations: tuple[str, ...] = ()
    seed: int = 1
    sft: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ConfigError, naming the flag, for a value out of range."""
        for name in ("rounds", "problems", "samples", "kept", "max_completion_length"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if not self.temperature > 0:
            raise ConfigError(f"--temperature must be above 0, got {self.temperature:g}")
        if not 0 <= self.constraints_share <= 1:
            raise ConfigError(f"--constraints_share must lie in 0..1, got {self.constraints_share:g}")
        if self.names not in NAMINGS:
            raise ConfigError(f"--names must be one of {', '.join(NAMINGS)}, got {self.names!r}")

    def settings(self) -> dict[str, Any]:
        """What decides the outcome, as plain data."""
        kept = {name: value for name, value in vars(self).items() if name != "output_dir"}
        plain: dict[str, Any] = json.loads(json.dumps(kept))
        return plain


def sizes_of_round(domain: PlanningDomain, config: SelfImprovementConfig, number: int) -> Ranges:
    """Inclusive ranges of the parameters in round `number`, 1..rounds. Raises ConfigError for sizes that the domain has not."""
    for name in (config.first_sizes, config.last_sizes):
        if name not in domain.sizes:
            raise ConfigError(f"{domain.name} has no sizes {name!r}; it has {', '.join(domain.sizes)}")
    first, last = domain.sizes[config.first_sizes], domain.sizes[config.last_sizes]
    share = number / config.rounds
    return {name: (low, round(high + share * (last[name][1] - high))) for name, (low, high) in first.items()}


def improve(config: SelfImprovementConfig, say: Callable[[str], None] = print) -> Path:
    """All rounds that are not done yet; the folder of the last model. Raises a GrpoProjectError for what people can put right."""
    domains = [get_domain(name) for name in config.domains]
    for number in range(1, config.rounds + 1):
        for domain in domains:
            sizes_of_round(domain, config, number)
    with alone_in(config.output_dir):
        _refuse_other_settings(config)
        model = Path(config.base_model)
        for number in range(1, config.rounds + 1):
            folder = config.output_dir / f"round_{number:02d}"
            result = folder / "sft" / "model"
            if not result.exists():
                if not (folder / ROUND_FILE).exists():
                    _sample_round(config, domains, number, model, folder, say)
                _fine_tune(config, model, folder, say)
            model = result
    return model


def _refuse_other_settings(config: SelfImprovementConfig) -> None:
    """Raises ConfigError for a folder that was begun with other settings, or by something else."""
    path = config.output_dir / SETTINGS_FILE
    if path.exists():
        before = read_json_object(path)
        for name, value in config.settings().items():
            if before.get(name) != value:
                raise ConfigError(
                    f"{config.output_dir} was begun with {name} {before.get(name)!r}, now it is {value!r}: repeat the first "
                    "settings, or choose another --output_dir"
                )
    elif any(config.output_dir.iterdir()):
        raise ConfigError(f"{config.output_dir} is in use by something else: choose another --output_dir")


def problems_of_round(domain: PlanningDomain, config: SelfImprovementConfig, number: int) -> list[Row]:
    """`problems` different ones of the training split, or fewer where these sizes have not as many."""
    ranges = sizes_of_round(domain, config, number)
    seed = stream(config.seed, "self-improvement", number).randrange(2**31)
    found: list[Row] = []
    seen: set[str] = set()
    for index in range(DRAWS_PER_PROBLEM * config.problems):
        if len(found) == config.problems:
            break
        instance = generate_instance(domain, seed, index, ranges, config.constraints_share)
        if instance.split == "train" and instance.canonical not in seen:
            seen.add(instance.canonical)
            found.append(
                row_of(domain, under_other_names(domain, instance, config.names)[0], f"<round {number}, {domain.name} {index}>")
            )
    return found


def _sample_round(
    config: SelfImprovementConfig,
    domains: Sequence[PlanningDomain],
    number: int,
    model: Path,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """Writes plans/<domain>.jsonl, and round.json last of all: it says that they are whole."""
    from grpo_project.models.generation import complete
    from grpo_project.models.loading import load_policy

    policy = load_policy(str(model), training=False, chat=ChatOptions())
    silence_libraries()
    write_json_atomically(config.output_dir / SETTINGS_FILE, config.settings())  # not before: the model may not be there
    counts: dict[str, dict[str, Any]] = {}
    for domain in domains:
        began = time.monotonic()
        problems = [in_asked_words(row, policy.prompt_style)[0] for row in problems_of_round(domain, config, number)]
        prompts = [row_prompt(row, policy.prompt_style) for row in problems]
        answers = complete(
            policy.model,
            policy.tokenizer,
            prompts,
            config.max_completion_length,
            samples=range(1, config.samples + 1),
            temperature=config.temperature,
            seed=config.seed,
            chat=policy.chat,
        )
        rows: list[dict[str, Any]] = []
        solved = plans = 0
        for row, prompt, own in zip(problems, prompts, answers, strict=True):
            verified = _verified_plans(row, [answer.text for answer in own])
            plans += sum(map(len, verified.values()))
            solved += bool(verified)
            distinct = sorted(verified, key=lambda plan: (plan.count("\n"), plan))[: config.kept]
            for plan in distinct:
                reasoning = min(filter(None, verified[plan]), key=len, default="")  # not that of an answer without any
                rows.append(_demonstration(row, prompt, reasoning + plan, policy.prompt_style))
        write_text_atomically(folder / "plans" / f"{domain.name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        write_text_atomically(folder / "plans" / "domains" / f"{domain.name}.pddl", domain.domain_pddl)
        counts[domain.name] = {
            "sizes": {name: list(bounds) for name, bounds in sizes_of_round(domain, config, number).items()},
            "problems": len(problems),
            "solved_by_an_answer": solved,
            "answers": len(problems) * config.samples,
            "plans": plans,
            "kept": len(rows),
            "seconds": round(time.monotonic() - began, 1),
        }
        low, high = wilson_interval(solved, len(problems))
        say(
            f"Round {number} of {config.rounds}, {domain.name}: {plans} of {len(problems) * config.samples} answers are plans; "
            f"{solved} of {len(problems)} problems solved by one of {config.samples} "
            f"({percent(solved / len(problems))} [{100 * low:.0f}, {100 * high:.0f}]); {len(rows)} plans kept"
        )
    if not any(count["kept"] for count in counts.values()):
        raise DataError(f"round {number}: no answer is a plan, so there is nothing to learn from: begin with smaller sizes")
    write_json_atomically(folder / ROUND_FILE, counts)


def _verified_plans(row: Row, texts: Sequence[str]) -> dict[str, list[str]]:
    """The valid plans among the answers, as we write plans; to each the reasoning that stood before it, answer by answer."""
    task = compile_task(row.domain, row.problem)
    found: dict[str, list[str]] = {}
    for text in texts:
        steps = extract_plan(text).steps
        if steps and validate(task, steps).success:
            reasoning = reasoning_of(text)
            found.setdefault(render_plan(steps), []).append(f"{reasoning}\n" if reasoning else "")
    return found


def _demonstration(row: Row, prompt: str, plan: str, style: str) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "scenario": row.scenario,
        "problem_file": f"{row.scenario}/{row.problem_file}",
        "domain_file": f"domains/{row.scenario}.pddl",
        "canonical": row.meta["canonical"],
    }
    if style != "full":
        meta["prompt_style"] = style
    return {"prompt": prompt, "response": plan, "meta": meta}


def _fine_tune(config: SelfImprovementConfig, model: Path, folder: Path, say: Callable[[str], None]) -> None:
    """A process of its own, by the script that people call. Raises GrpoProjectError where it fails."""
    output = folder / "sft"
    roots = [str(folder / "plans"), *config.demonstrations]
    script = [sys.executable, str(REPOSITORY / "script" / "train_sft.py")]
    command = [*script, "--base_model", str(model), "--data_root", *roots, "--output_dir", str(output), *config.sft]
    if output.exists():
        command = [*script, "--output_dir", str(output), "--resume_from_checkpoint", "auto"]
    with (folder / "sft.log").open("a", encoding="utf-8") as log:
        status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=Path.cwd()).returncode
    if status in (130, -2):
        raise KeyboardInterrupt
    if status != 0:
        raise GrpoProjectError(f"train_sft.py ended with status {status}; see {folder / 'sft.log'}")
