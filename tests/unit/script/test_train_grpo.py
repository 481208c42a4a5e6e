"""The main script from the outside: help, flags, precedence, and what bad input looks like."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from grpo_project.configs.setting import BUILT_IN
from grpo_project.errors import ConfigError, ModelError
from grpo_project.runs.checkpoint import RUN_STATE_FORMAT, begin, commit

GUIDE_FLAGS = (
    "--base_model --data_root --domains --output_dir --batch_size --gradient_accumulation_steps --max_steps --learning_rate "
    "--beta --temperature --num_generations --save_steps --logging_steps --use_gradient_checkpointing --no_4bit --wandb_project "
    "--run_name --no_wandb --seed --resume_from_checkpoint"
).split()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "script" / "train_grpo_unsloth_stl_v2.py"
    spec = importlib.util.spec_from_file_location("train_grpo_script", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """Looks like a model as far as can be told without loading it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "planner.json").write_text(
        json.dumps({"prompt_style": "compact", "grpo_defaults": {"batch_size": 24, "beta": 0.5}})
    )
    return folder


def test_help_takes_less_than_a_second_and_loads_nothing_heavy(script: ModuleType, repository: Path) -> None:
    heavy = {"torch", "transformers", "trl", "numpy", "wandb", "datasets"}
    code = (
        "import runpy, sys; sys.argv = ['train', '--help']\n"
        f"try: runpy.run_path({script.__file__!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repository, timeout=60, check=True)
    assert time.monotonic() - began < 1.0
    assert done.stdout.rstrip().endswith("[]")
    assert [flag for flag in GUIDE_FLAGS if flag not in done.stdout] == []


def test_the_guides_commands_are_understood(script: ModuleType) -> None:
    command = (
        "--base_model /jfan5/sft_models/qwen3_14b --data_root /jfan5/grpo_data/five_domain_0109 --output_dir out "
        "--batch_size 16 --gradient_accumulation_steps 2 --max_steps 2000 --learning_rate 5e-6 --beta 0.01 --save_steps 100 "
        "--use_gradient_checkpointing --wandb_project pddl-grpo-v2 --run_name qwen3-14b-curriculum-long"
    )
    given = script.parse_flags(command.split())
    assert given["use_gradient_checkpointing"] is True
    assert (given["batch_size"], given["learning_rate"], given["max_steps"]) == (16, 5e-6, 2000)
    assert script.parse_flags(["--no_4bit", "--no_wandb", "--domains", "ferry,", "spanner"]) == {
        "load_in_4bit": False,
        "use_wandb": False,
        "domains": ("ferry", "spanner"),
    }
    assert script.parse_flags([]) == {}


def test_the_schedule_is_the_guides(script: ModuleType) -> None:
    at = [tuple(script.get_curriculum_weights(step, 1000).values()) for step in (0, 299, 300, 699, 700, 999)]
    assert at == [(0.7, 0.25, 0.05)] * 2 + [(0.4, 0.4, 0.2)] * 2 + [(0.2, 0.4, 0.4)] * 2


def test_the_schedule_in_the_script_is_the_one_that_is_used(
    script: ModuleType, data_root: Path, tiny_planner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grpo_project.training import run
    from grpo_project.training.inputs import gather_inputs
    from grpo_project.training.launch import starting_point

    seen: list[Any] = []

    def train(config: Any, weights: Any) -> int:
        seen.append(gather_inputs(config, weights, starting_point(config)))
        return 0

    monkeypatch.setattr(run, "train", train)
    monkeypatch.setattr(script, "get_curriculum_weights", lambda step, max_steps: {"easy": 0.0, "medium": 0.0, "hard": 1.0})
    flags = ["--base_model", str(tiny_planner), "--data_root", str(data_root), "--output_dir", str(tmp_path / "out")]
    assert script.main([*flags, "--max_steps", "3", "--batch_size", "4", "--eval_samples", "0"]) == 0
    (inputs,) = seen
    curriculum = inputs.curriculum
    assert [curriculum.engine.weights_at(step) for step in range(3)] == [{"easy": 0.0, "medium": 0.0, "hard": 1.0}] * 3
    drawn = {bucket for plan in curriculum.planner.plans(3) for bucket in plan.buckets}
    assert "easy" not in drawn and "hard" in drawn
    assert "lambda step, max_steps" in curriculum.source
    assert not (tmp_path / "out").exists()


def test_the_control_draws_every_problem_equally_often(data_root: Path, tiny_planner: Path, tmp_path: Path) -> None:
    from grpo_project.configs.training import TrainingConfig
    from grpo_project.training.inputs import gather_inputs
    from grpo_project.training.launch import starting_point

    config = TrainingConfig(
        base_model=str(tiny_planner),
        data_root=str(data_root),
        curriculum="uniform",
        max_steps=2,
        eval_samples=0,
        output_dir=str(tmp_path / "out"),
    )
    inputs = gather_inputs(config, lambda step, max_steps: {"easy": 1.0, "medium": 0.0, "hard": 0.0}, starting_point(config))
    plan = inputs.curriculum.planner.plan(0)
    for domain, statistics in inputs.data.buckets.statistics.items():
        assert plan.domain_weights[domain] == pytest.approx({name: statistics.share(name) for name in statistics.counts})


def test_command_line_beats_environment_beats_the_models_card_beats_the_default(
    script: ModuleType, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grpo_project.training.launch import resolve_settings

    monkeypatch.setenv("GRPO_BETA", "0.25")
    monkeypatch.setenv("GRPO_MAX_STEPS", "11")
    config = resolve_settings(script.parse_flags(["--base_model", str(model_folder), "--max_steps", "7"]))
    assert (config.max_steps, config.beta, config.batch_size, config.save_steps) == (7, 0.25, 24, 100)
    assert [config.sources[name] for name in ("max_steps", "beta", "save_steps")] == ["command line", "environment", BUILT_IN]
    assert config.sources["batch_size"].endswith("planner.json")


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_checkpoint(run: Path, step: int, settings: Mapping[str, Any] | None = None) -> Path:
    """A whole checkpoint as far as can be told without loading it."""
    folder = begin(run, step)
    for name in ("optimizer.pt", "scheduler.pt"):
        (folder / name).write_text("precious")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "train_batch_size": 1}))
    state = {"format": RUN_STATE_FORMAT, "settings": dict(settings or {}), "fingerprints": {}}
    (folder / "run_state.json").write_text(json.dumps(state))
    return commit(run, step)


def _break_empty(root: Path) -> None:
    (root / "ferry.jsonl").write_text("")


def _break_json(root: Path) -> None:
    with open(root / "ferry.jsonl", "a") as file:
        file.write('{"prompt": "x", \n')


def _break_problem(root: Path) -> None:
    meta = {"scenario": "ferry", "problem_file": "ferry-l4-c2-s1.pddl", "problem_pddl": "(define (problem"}
    with open(root / "ferry.jsonl", "a") as file:
        file.write(json.dumps({"prompt": "x", "meta": meta}) + "\n")


def _break_nothing(root: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "flags", "message"),
    [
        (_break_nothing, ["--data_root", "no/such/root"], "no/such/root does not exist"),
        (_break_empty, [], "no row left for ferry"),
        (_break_json, ["--on_bad_row", "error"], "ferry.jsonl:13: broken JSON"),
        (_break_problem, ["--on_bad_row", "error"], "ferry.jsonl:13"),
        (_break_nothing, ["--base_model", "no/such/model"], "--base_model no/such/model: no such folder"),
        (_break_nothing, ["--output_dir", "USED"], "already holds a run with a checkpoint at step 5. Go on with it by"),
        (_break_nothing, ["--max_steps", "0"], "--max_steps must lie in [1, 1000000], got 0"),
        (_break_nothing, ["--max_steps", "many"], "--max_steps must be a whole number, got 'many'"),
        (_break_nothing, ["--learning_rate", "-1"], "--learning_rate must lie in (0, 1)"),
        (_break_nothing, ["--temperature", "nan"], "--temperature must lie in (0, 10]"),
        (_break_nothing, ["--batch_size", "10"], "sizes that work: 4, 8, 12, 16"),
        (
            _break_nothing,
            ["--batch_size", "4000000000"],
            "must be at most 1,048,576 completions per step, got 4000000000 x 1 x 8",
        ),
        (_break_nothing, ["--gradient_accumulation_steps", "4000000000"], " x 4000000000 x "),
        (_break_nothing, ["--num_generations", "4000000000"], " x 1 x 4000000000"),
        (_break_nothing, ["--max_seq_length", "2559"], "completion长度(512) = 2560 > 最大序列长度(2559)"),
        (_break_nothing, ["--domains", "ferry", "chess"], "chess"),
        (_break_nothing, ["--domain_weights", "ferry=2"], "ferry=2, grippers=1, spanner=1, 5 parts in all; sizes that work: 5"),
        (_break_nothing, ["--domain_weights", "ferry"], "--domain_weights 'ferry': write domain=N"),
        (
            _break_nothing,
            ["--curriculum", "stages"],
            "must be one of step, uniform, stage, adaptive, frontier, or path",
        ),
        (_break_nothing, ["--curriculum", "no/such.py:own"], "--curriculum no/such.py:own: there is no file no/such.py"),
        (_break_nothing, ["--curriculum", "stage", "--eval_every_n_steps", "0"], "--eval_every_n_steps may not be 0"),
        (_break_nothing, ["--bogus", "1"], "unrecognized arguments: --bogus 1"),
        (_break_nothing, ["--reward", "shiny"], "--reward must be one of dense, banded, sparse"),
        (_break_nothing, ["--resume_from_checkpoint", "no/such"], "--resume_from_checkpoint no/such: no such folder"),
        (_break_nothing, ["--test_data", "no/such"], "--test_data no/such: no such folder"),
    ],
)
def test_bad_input_ends_in_one_line_and_leaves_the_disk_alone(
    script: ModuleType,
    make_data_root: Callable[..., Path],
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    flags: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    root = make_data_root()
    spoil(root)
    used = tmp_path / "used"
    write_checkpoint(used, 5)
    (used / "resolved_config.json").write_text("{}")
    before = _files(tmp_path)
    flags = [str(used) if flag == "USED" else flag for flag in flags]
    given = ["--base_model", str(model_folder), "--data_root", str(root), "--eval_samples", "2", "--no_wandb"]
    status = script.main([*given, *flags])
    error = capsys.readouterr().err
    assert status == 2
    assert message in error
    assert "Traceback" not in error
    assert error.count("\n") == 1, error
    assert _files(tmp_path) == before


def test_a_mistake_is_told_before_torch_is_loaded(
    script: ModuleType, make_data_root: Callable[..., Path], model_folder: Path
) -> None:
    flags = ["--base_model", str(model_folder), "--data_root", str(make_data_root()), "--batch_size", "10"]
    code = f"import runpy, sys; sys.argv = ['train', *{flags!r}]\ntry: runpy.run_path({script.__file__!r}, run_name='__main__')\n"
    code += "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["2", "False"], done.stderr


# -- continuing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped_run(tmp_path: Path, data_root: Path, model_folder: Path) -> Path:
    """A run folder with a checkpoint at step 4, made with --beta 0.125."""
    from grpo_project.configs.training import TrainingConfig

    run = tmp_path / "run"
    config = TrainingConfig(base_model=str(model_folder), data_root=str(data_root), beta=0.125, domains=("ferry", "spanner"))
    config = replace(config, wandb_continuity="fork", force_new_wandb_run=True)
    write_checkpoint(run, 4, config.as_dict())
    return run


def test_a_continued_run_takes_its_settings_from_the_run(stopped_run: Path) -> None:
    from grpo_project.training.launch import resolve_settings

    for flags in (
        {"resume_from_checkpoint": "auto", "output_dir": str(stopped_run)},
        {"resume_from_checkpoint": str(stopped_run / "checkpoint-4"), "beta": 0.125, "logging_steps": 3},
    ):
        config = resolve_settings(flags)
        assert config.beta == 0.125 and config.domains == ("ferry", "spanner")
        assert config.output_dir == str(stopped_run)
        assert config.resume_from_checkpoint == str(stopped_run / "checkpoint-4")
        assert config.sources["batch_size"] == "the run being continued"
        assert (config.wandb_continuity, config.force_new_wandb_run) == ("continue", False)  # asked of one start only


def test_what_would_make_it_another_run_is_refused_by_name(stopped_run: Path, tmp_path: Path) -> None:
    from grpo_project.training.launch import resolve_settings

    again = {"resume_from_checkpoint": str(stopped_run / "checkpoint-4")}
    with pytest.raises(ConfigError, match=r"--beta is 0.5 \(command line\), but the run being continued has 0.125"):
        resolve_settings({**again, "beta": 0.5})
    with pytest.raises(ConfigError, match="--domains is"):
        resolve_settings({**again, "domains": ("ferry",)})
    with pytest.raises(ConfigError, match="is not the folder of the run being continued"):
        resolve_settings({**again, "output_dir": str(tmp_path / "elsewhere")})


def test_a_wandb_project_changes_with_a_new_run_alone(stopped_run: Path) -> None:
    from grpo_project.training.launch import resolve_settings

    record = {"wandb": {"run_id": "abc", "project": "typo", "points": 4}}
    (stopped_run / "checkpoint-4" / "tracking_state.json").write_text(json.dumps(record))
    again = {"resume_from_checkpoint": str(stopped_run / "checkpoint-4")}
    with pytest.raises(ConfigError, match=r"--wandb_project right: the W&B run of checkpoint-4 is in project typo, .* new"):
        resolve_settings({**again, "wandb_project": "right"})
    for more in ({"wandb_continuity": "fork"}, {"force_new_wandb_run": True}, {"use_wandb": False}, {"wandb_project": "typo"}):
        given = {"wandb_project": "right", **more}
        assert resolve_settings({**again, **given}).wandb_project == given["wandb_project"]
    resolve_settings(again)  # whatever an earlier version recorded


@pytest.mark.parametrize("name", ["team/project", "a#b", "50%", "what?", "a:b", "a\\b"])
def test_a_project_that_wandb_would_refuse_is_refused_before(name: str) -> None:
    from grpo_project.configs.training import TrainingConfig

    with pytest.raises(ConfigError, match=r"--wandb_project .*W&B takes no .*WANDB_ENTITY"):
        TrainingConfig(wandb_project=name)


def test_a_model_that_is_not_there_is_told_while_settings_are_resolved(tmp_path: Path) -> None:
    from grpo_project.training.launch import resolve_settings

    with pytest.raises(ModelError, match="no such folder"):
        resolve_settings({"base_model": str(tmp_path / "none")})


# -- where values come from --------------------------------------------------------------------------------------------


def _shown(text: str) -> dict[str, tuple[str, str]]:
    """{setting: (value, origin)} of --print_config."""
    lines = [line.split(None, 1) for line in text.splitlines()]
    return {name: tuple(part.strip() for part in rest.rsplit("  ", 1)) for name, rest in lines}  # type: ignore[misc]


def test_print_config_shows_every_value_with_its_origin(
    script: ModuleType, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from grpo_project.configs.settings import settings

    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"max_steps": 11, "temperature": 0.5, "learning_rate": 1e-3}))
    monkeypatch.setenv("GRPO_TEMPERATURE", "0.7")
    monkeypatch.setenv("GRPO_MAX_STEPS", "12")
    flags = ["--model_name", str(model_folder), "--config_file", str(file), "--max_steps", "13", "--print_config"]
    assert script.main(flags) == 0
    shown = _shown(capsys.readouterr().out)
    assert set(shown) == {spec.name for spec in settings()}
    assert shown["max_steps"] == ("13", "command line")
    assert shown["temperature"] == ("0.7", "environment")
    assert shown["learning_rate"] == ("0.001", str(file))
    assert shown["beta"] == ("0.5", f"{model_folder}/planner.json")
    assert shown["seed"] == ("42", BUILT_IN)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--grpo", "dleta=4"], "delta"),
        (["--grpo", "output_dir=x"], "output_dir"),
        (["--grpo", "delta=much"], "must be of kind"),
        (["--algorithm", "rloo", "--loss_type", "dapo"], "--loss_type"),
    ],
)
def test_print_config_refuses_what_the_run_would(
    script: ModuleType, model_folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    assert script.main(["--model_name", str(model_folder), *flags, "--print_config"]) == 2
    shown = capsys.readouterr()
    assert words in shown.err and shown.err.count("\n") == 1 and not shown.out


@pytest.mark.parametrize("content", ["{", "[]", '{"lerning_rate": 1}', '{"seed": "many"}', '{"config_file": "other.json"}'])
def test_a_config_file_that_is_wrong_is_named(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    file = tmp_path / "settings.json"
    file.write_text(content)
    assert script.main(["--config_file", str(file), "--print_config"]) == 2
    error = capsys.readouterr().err
    assert str(file) in error and error.count("\n") == 1


def test_both_entry_points_know_the_flags_of_the_improved_script(
    script: ModuleType, model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(script.__file__ or "").parent))
    spec = importlib.util.spec_from_file_location("improved", Path(script.__file__ or "").parent / "improved_training_script.py")
    assert spec is not None and spec.loader is not None
    improved = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(improved)
    guide = (
        f"--output_dir out --model_name {model_folder} --dataset_path data/four_domain --eval_every_n_steps 50 "
        "--max_eval_samples 4 --wandb_project p --force_new_wandb_run --save_steps 50 --save_total_limit 3 "
        "--per_device_train_batch_size 1 --print_config"
    ).split()
    answers = []
    for entry in (script, improved):
        assert entry.main([*guide, "--curriculum", "stage"]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    shown = _shown(answers[0])
    assert (shown["base_model"][0], shown["data_root"][0]) == (f'"{model_folder}"', '"data/four_domain"')
    assert (shown["eval_every_n_steps"][0], shown["micro_batch_size"][0]) == ("50", "1")
    assert shown["force_new_wandb_run"][0] == "true"

    assert improved.main(["--model_name", str(model_folder), "--print_config"]) == 0
    own = _shown(capsys.readouterr().out)
    assert (own["eval_every_n_steps"][0], own["max_eval_samples"][0], own["curriculum"][0]) == ("25", "8", '"stage"')
    assert improved.main(["--model_name", str(model_folder), "--enable_curriculum", "false", "--print_config"]) == 0
    assert _shown(capsys.readouterr().out)["curriculum"] == ('"uniform"', "command line")
    for wrong, words in (
        (["--curriculum", "step"], "contradicts --curriculum step"),
        (["--enable_curriculum", "2"], "true or false"),
    ):
        assert script.main(["--enable_curriculum", "false", *wrong]) == 2
        assert words in capsys.readouterr().err


def test_an_auto_resume_without_a_checkpoint_begins_and_a_damaged_run_does_not(stopped_run: Path, tmp_path: Path) -> None:
    from grpo_project.training.launch import resolve_settings

    fresh = resolve_settings({"resume_from_checkpoint": "auto", "output_dir": str(tmp_path / "new")})
    assert fresh.resume_from_checkpoint == "auto"
    (stopped_run / "checkpoint-4" / "optimizer.pt").write_text("other")
    with pytest.raises(ConfigError, match="no checkpoint in .* is good .*optimizer.pt.* Nothing was deleted"):
        resolve_settings({"resume_from_checkpoint": "auto", "output_dir": str(stopped_run)})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("data", "other", r"the training data .--data_root. changed"),
        ("schedule", "other", "the curriculum schedule changed"),
        ("model", "other", r"the base model .--base_model. changed"),
        ("tokenizer", "other", "the tokenizer changed"),
        ("reward", "other", "the reward changed"),
        ("steering", "other", "the problems that steer the run .*changed"),
        ("world_size", 2, r"the number of processes .world size. changed .2 -> 1."),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_by_name(
    data_root: Path, tiny_planner: Path, tmp_path: Path, name: str, value: object, words: str
) -> None:
    from grpo_project.configs.training import TrainingConfig
    from grpo_project.training.inputs import gather_inputs
    from grpo_project.training.launch import resolve_settings, starting_point

    flags = {"base_model": str(tiny_planner), "data_root": str(data_root), "batch_size": 4, "max_steps": 2, "eval_samples": 1}
    config = TrainingConfig(**flags, output_dir=str(tmp_path / "run"))

    def weights(step: int, max_steps: int) -> dict[str, float]:
        return {"easy": 1.0, "medium": 0.0, "hard": 0.0}

    identity = gather_inputs(config, weights, starting_point(config)).identity.state_dict()
    folder = write_checkpoint(tmp_path / "run", 1, config.as_dict())
    state = {**identity, "fingerprints": {**identity["fingerprints"], name: value}}
    (folder / "run_state.json").write_text(json.dumps(state))
    (folder / "manifest.json").unlink()
    begin(tmp_path / "run", 1).rmdir()
    folder.rename(tmp_path / "run" / ".checkpoint-1.partial" / "checkpoint-1")
    commit(tmp_path / "run", 1)
    again = resolve_settings({"resume_from_checkpoint": str(folder)})
    with pytest.raises(ConfigError, match=f"{words} since .*checkpoint-1 was written: restore it, or start a new run"):
        gather_inputs(again, weights, starting_point(again))
    with pytest.raises(ConfigError, match="--batch_size is 8 .*but the run being continued has 4"):
        resolve_settings({"resume_from_checkpoint": str(folder), "batch_size": 8})
