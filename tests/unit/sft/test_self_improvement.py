"""Rounds of self-improvement: only verified plans are learned from, sizes grow, and a stopped run goes on with what is left."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

from grpo_project.common import files  # noqa: E402
from grpo_project.domains import get_domain  # noqa: E402
from grpo_project.errors import ConfigError, DataError, GrpoProjectError  # noqa: E402
from grpo_project.models import generation, loading  # noqa: E402
from grpo_project.pddl import compile_task, validate  # noqa: E402
from grpo_project.prompting import render_plan  # noqa: E402
from grpo_project.sft import self_improvement  # noqa: E402
from grpo_project.sft.self_improvement import SelfImprovementConfig, improve, problems_of_round, sizes_of_round  # noqa: E402


@pytest.fixture
def config(tmp_path: Path) -> SelfImprovementConfig:
    return SelfImprovementConfig(
        "base", tmp_path / "out", ("ferry", "blocksworld"), rounds=2, problems=6, samples=3, kept=1,
        first_sizes="small", last_sizes="far", names="any",
    )  # fmt: skip


class Recorded:
    """Stands in for sampling and for SFT: `plans` decides what is answered; `commands` are the SFT runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, config: SelfImprovementConfig) -> None:
        self.sampled_from: list[str] = []
        self.commands: list[list[str]] = []
        self.good = True
        self.reasoning = ""
        self.status = 0
        self._config = config
        monkeypatch.setattr(loading, "load_policy", self.load)
        monkeypatch.setattr(generation, "complete", self.complete)
        monkeypatch.setattr(subprocess, "run", self.run)

    def load(self, model: str, training: bool, chat: Any) -> Any:
        self.sampled_from.append(model)
        return SimpleNamespace(model=None, tokenizer=None, prompt_style="compact", chat=None)

    def complete(self, model: Any, tokenizer: Any, prompts: list[str], *_: Any, samples: Any, **how: Any) -> list[list[Any]]:
        number = len(self.sampled_from)
        domain = get_domain(prompts[0].split()[0])
        found = []
        for row in problems_of_round(domain, self._config, number):
            steps = domain.policy(row.problem, None)
            good = self.good and steps is not None and validate(compile_task(row.domain, row.problem), steps).success
            plan = render_plan(steps) if good and steps else ""
            found.append([SimpleNamespace(text=text) for text in (plan, self.reasoning + plan, "(sail l0 l0)\n")])
        assert len(found) == len(prompts) and len(samples) == 3
        return found

    def run(self, command: list[str], **how: Any) -> Any:
        self.commands.append(command)
        if self.status == 0:
            output = Path(command[command.index("--output_dir") + 1])
            (output / "model").mkdir(parents=True)
        return SimpleNamespace(returncode=self.status)


def test_sizes_grow_from_the_first_to_the_last(config: SelfImprovementConfig) -> None:
    domain = get_domain("blocksworld")
    config = replace(config, rounds=4)
    found = [sizes_of_round(domain, config, number)["n"] for number in (1, 2, 3, 4)]
    assert found == [(3, 6), (3, 8), (3, 10), (3, 12)]
    with pytest.raises(ConfigError, match="blocksworld has no sizes 'huge'; it has small, train, harder, far"):
        sizes_of_round(domain, replace(config, last_sizes="huge"), 1)


def test_problems_are_different_ones_of_the_training_split(config: SelfImprovementConfig) -> None:
    domain = get_domain("ferry")
    first, again, second = (problems_of_round(domain, config, number) for number in (1, 1, 2))
    assert first == again and first != second
    assert len({row.canonical for row in first}) == 6 and {row.meta["split"] for row in first} == {"train"}
    assert any(list(row.problem.objects) != sorted(row.problem.objects) for row in first)


def test_only_verified_plans_are_learned_from_and_each_round_begins_where_the_last_ended(
    config: SelfImprovementConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = Recorded(monkeypatch, config)
    config = replace(config, demonstrations=("demos",), sft=("--max_steps", "5"))
    out = config.output_dir
    assert improve(config) == out / "round_02" / "sft" / "model"
    assert recorded.sampled_from == ["base", str(out / "round_01" / "sft" / "model")]
    for number, command in enumerate(recorded.commands, 1):
        folder = out / f"round_{number:02d}"
        assert command[2:] == [
            "--base_model", recorded.sampled_from[number - 1], "--data_root", str(folder / "plans"), "demos",
            "--output_dir", str(folder / "sft"), "--max_steps", "5",
        ]  # fmt: skip
        counts = json.loads((folder / "round.json").read_text())
        for name in config.domains:
            rows = [json.loads(line) for line in (folder / "plans" / f"{name}.jsonl").read_text().splitlines()]
            assert 0 < len(rows) == counts[name]["kept"] == counts[name]["solved_by_an_answer"] <= 6
            assert counts[name]["plans"] == 2 * len(rows) and counts[name]["answers"] == 18
            assert all(row["meta"]["prompt_style"] == "compact" and row["response"].startswith("(") for row in rows)
    assert "Round 2 of 2, ferry: " in capsys.readouterr().out
    improve(config)
    assert len(recorded.commands) == len(recorded.sampled_from) == 2  # nothing was left to do


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("<think> c1 l0 ; </think>\n", "<think> c1 l0 ; </think>\n"),
        (" c1 l0 ; </think>\n", ""),
        ("<think> c1 ; </think>\n(sail l0 l1)\n<think> c2 ; </think>\n", ""),
    ],
)
def test_reasoning_that_led_to_a_valid_plan_is_learned_with_it_where_it_is_one_block(
    config: SelfImprovementConfig, monkeypatch: pytest.MonkeyPatch, written: str, kept: str
) -> None:
    recorded = Recorded(monkeypatch, config)
    recorded.reasoning = written
    improve(config)
    rows = (config.output_dir / "round_01" / "plans" / "ferry.jsonl").read_text().splitlines()
    assert rows and all(json.loads(row)["response"].startswith(kept + "(") for row in rows)


def test_a_stopped_run_goes_on_with_the_part_that_was_under_way(
    config: SelfImprovementConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded(monkeypatch, config)
    recorded.status = 130
    with pytest.raises(KeyboardInterrupt):
        improve(config)
    recorded.status = 1
    with pytest.raises(GrpoProjectError, match="status 1; see .*sft.log"):
        improve(config)
    assert recorded.sampled_from == ["base"]
    (config.output_dir / "round_01" / "sft").mkdir()  # it had begun
    recorded.status = 0
    with pytest.raises(FileExistsError):  # the stand-in makes the folder of the model; the command says that it goes on
        monkeypatch.setattr(Path, "mkdir", _refuse)
        improve(config)
    assert recorded.commands[-1][-2:] == ["--resume_from_checkpoint", "auto"]


def _refuse(*_: Any, **__: Any) -> None:
    raise FileExistsError


def test_other_settings_and_a_folder_in_use_are_refused(config: SelfImprovementConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    Recorded(monkeypatch, config)
    improve(config)
    with pytest.raises(ConfigError, match="was begun with samples 3, now it is 4"):
        improve(replace(config, samples=4))
    (config.output_dir / self_improvement.SETTINGS_FILE).unlink()
    with pytest.raises(ConfigError, match="is in use by something else"):
        improve(config)


def test_two_at_once_in_one_folder_are_refused(config: SelfImprovementConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
    with files.alone_in(config.output_dir), pytest.raises(ConfigError, match="is in use by another process"):
        improve(config)


def test_a_model_that_is_not_there_leaves_nothing_behind(config: SelfImprovementConfig) -> None:
    with pytest.raises(GrpoProjectError):
        improve(replace(config, base_model="no/such/model"))
    assert not config.output_dir.exists()


def test_a_model_that_solves_nothing_is_told_so(config: SelfImprovementConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    Recorded(monkeypatch, config).good = False
    with pytest.raises(DataError, match="round 1: no answer is a plan"):
        improve(config)
    assert not list(config.output_dir.glob("round_*/round.json"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rounds": 0}, "--rounds must be at least 1, got 0"),
        ({"problems": 0}, "--problems must be at least 1"),
        ({"samples": 0}, "--samples must be at least 1"),
        ({"kept": 0}, "--kept must be at least 1"),
        ({"temperature": -1.0}, "--temperature must be above 0, got -1"),
        ({"temperature": float("nan")}, "--temperature must be above 0"),
        ({"constraints_share": 7.0}, "--constraints_share must lie in 0..1, got 7"),
        ({"names": "nonsense"}, "--names must be one of conventional, drawn"),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_named(config: SelfImprovementConfig, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(config, **wrong)


def test_a_mistake_behind_the_dashes_costs_no_round(config: SelfImprovementConfig, capsys: pytest.CaptureFixture[str]) -> None:
    from script.self_improve import main

    command = ["--base_model", config.base_model, "--output_dir", str(config.output_dir), "--", "--nonsense", "3"]
    with pytest.raises(SystemExit):
        main(command)
    assert "unrecognized arguments: --nonsense 3" in capsys.readouterr().err and not config.output_dir.exists()
