"""The package installs with numpy alone and does there what it promises; versions stand in one place; the front page is true."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from email.message import Message
from email.parser import Parser
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from grpo_project import __version__
from tests.pages import bash_commands

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for path in (ROOT / "script").glob("*.py"))
FOR_TRAINING = ("torch", "transformers", "trl", "datasets", "wandb", "rich", "jinja2", "matplotlib")
PURE = ("errors", "common", "pddl", "configs", "domains", "prompting", "rewards", "data", "curriculum", "reporting")
EXTRAS = {
    "train": ("train.txt",),
    "gpu": ("train.txt", "gpu.txt"),
    "report": ("report.txt",),
}


def requirements(file: Path) -> list[str]:
    """`name==version` of every line, without comments and references to other files."""
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-r ")]


def test_every_pinned_version_stands_in_one_place() -> None:
    files = [*ROOT.glob("requirements*.txt"), *(ROOT / "requirements").glob("*.txt"), ROOT / "pyproject.toml"]
    files.append(ROOT / "environments" / "pyproject.toml")
    pinned = Counter(
        name
        for file in [*files, ROOT / "script" / "setup_environment.sh"]
        for name in re.findall(r"^[^#\n]*?([\w-]+)[=~]=\d", file.read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert {"torch", "trl", "numpy", "matplotlib", "unsloth", "bitsandbytes", "pytest"} <= set(pinned)
    assert [name for name, times in pinned.items() if times > 1] == []


def test_the_whole_stacks_name_every_file_of_the_extras() -> None:
    def named(file: str) -> set[str]:
        return set(re.findall(r"^-r (\S+)$", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE))

    assert named("requirements-cpu.txt") == {"requirements/train.txt", "requirements/report.txt"}
    assert named("requirements.txt") == {"requirements-cpu.txt", "requirements/gpu.txt"}
    assert {path.name for path in (ROOT / "requirements").iterdir()} == {name for names in EXTRAS.values() for name in names}


@pytest.fixture(scope="module")
def wheel_and_python(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel, and the interpreter of an environment that holds it, numpy and nothing else."""
    folder = tmp_path_factory.mktemp("package")
    source, python = folder / "source", folder / "venv" / "bin" / "python"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("grpo_project", "requirements"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))

    def pip(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "pip", "--disable-pip-version-check", *words]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)

    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=300)
    numpy = next(line for line in requirements(ROOT / "requirements" / "train.txt") if line.startswith("numpy=="))
    reached = pip("download", "--no-deps", "--dest", "fetched", numpy, "setuptools>=77")
    if reached.returncode != 0:
        pytest.skip(f"no package index can be reached: {reached.stderr.strip().splitlines()[-1]}")
    built = pip("wheel", "--no-deps", "--wheel-dir", "wheels", "./source")
    assert built.returncode == 0, built.stderr[-3000:]
    (wheel,) = (folder / "wheels").glob("*.whl")
    # Without an index: a dependency beside numpy cannot be found, and is an error.
    installed = pip("install", "--no-index", "--find-links", "fetched", str(wheel))
    assert installed.returncode == 0, installed.stderr[-3000:]
    return wheel, python


def metadata_of(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode("utf-8"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_its_assets_and_no_more(wheel_and_python: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(wheel_and_python[0]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        metadata = metadata_of(wheel)
    expected = {path for path in (ROOT / "grpo_project").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert held == {str(path.relative_to(ROOT)) for path in expected}
    assert {"grpo_project/py.typed", "grpo_project/reporting/assets/page.html"} <= held
    assert metadata["Version"] == __version__
    needed: dict[str, list[str]] = {}
    for line in metadata.get_all("Requires-Dist", []):
        requirement, _, extra = line.partition("; extra == ")
        needed.setdefault(extra.strip('"'), []).append(requirement)
    assert [re.split(r"[^\w-]", requirement)[0] for requirement in needed.pop("")] == ["numpy"]
    assert needed == {
        extra: [line for name in names for line in requirements(ROOT / "requirements" / name)] for extra, names in EXTRAS.items()
    }


# Run by the empty environment's interpreter outside of the checkout. Arguments: data root, pure packages, what must be absent.
IN_THE_EMPTY_ENVIRONMENT = """
import importlib, importlib.util, json, pkgutil, sys, time
from pathlib import Path

root, pure, absent = Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3].split()
import grpo_project
for name in pure:
    top = importlib.import_module(f"grpo_project.{name}")
    for module in pkgutil.walk_packages(getattr(top, "__path__", []), top.__name__ + "."):
        importlib.import_module(module.name)

from grpo_project.configs.reward import RewardConfig
from grpo_project.data.rows import read_rows
from grpo_project.pddl import validate_text
from grpo_project.rewards import make_reward_function
from grpo_project.rewards.verl import compute_score, verl_rows

table = read_rows(root)
answers = [table.rows[0].response, table.rows[0].response.splitlines()[0], "", "I would rather not."]
row = next(verl_rows(table, "test"))
chosen = [index for domain in table.domains for index in table.indices_of(domain)[:20]]
cases = []
for index in chosen:
    plan = table.rows[index].response.splitlines()
    cases += [(table.task(index), "\\n".join(plan[:count])) for count in range(len(plan) + 1)]
verified, begin = 0, time.process_time()
while time.process_time() - begin < 1:
    for task, text in cases:
        validate_text(task, text)
    verified += len(cases)
print(json.dumps({
    "file": grpo_project.__file__,
    "version": grpo_project.__version__,
    "there": [name for name in absent if importlib.util.find_spec(name)],
    "verdicts": [validate_text(table.task(0), answer).verdict_class for answer in answers],
    "trl": make_reward_function(table, RewardConfig())([""] * 4, answers, row_index=[0] * 4),
    "verl": [
        compute_score(row["data_source"], answer, row["reward_model"]["ground_truth"], row["extra_info"])["score"]
        for answer in answers
    ],
    "plans_per_second": verified / (time.process_time() - begin),
}))
"""


@pytest.mark.slow
def test_verifier_and_rewards_work_where_numpy_is_all_there_is(
    wheel_and_python: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = wheel_and_python[1]
    words = [str(ROOT / "data" / "test"), " ".join(PURE), " ".join(FOR_TRAINING)]
    command = [str(python), "-I", "-c", IN_THE_EMPTY_ENVIRONMENT, *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["file"]).is_relative_to(python.parent.parent) and found["version"] == __version__
    assert found["there"] == []
    assert found["verdicts"] == ["success_plans", *["goal_not_satisfied"] * 2, "plan_format_error"]
    assert found["trl"] == found["verl"] and found["trl"][0] == 1.0 and max(found["trl"][1:]) < 0
    with capsys.disabled():
        print(f"\nverifier, installed with numpy alone: {found['plans_per_second']:,.0f} plans per second of one core")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_needs_no_training_stack(script: Path, wheel_and_python: tuple[Path, Path], tmp_path: Path) -> None:
    command = [str(wheel_and_python[1]), str(script), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout


@pytest.mark.slow
def test_data_is_made_and_plans_are_checked_without_the_training_stack(
    wheel_and_python: tuple[Path, Path], tmp_path: Path
) -> None:
    def run(script: str, *words: str) -> str:
        command = [str(wheel_and_python[1]), str(ROOT / "script" / script), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("generate_data.py", "--domains", "ferry", "--count", "3", "--workers", "1", "--out", "made")
    assert len((tmp_path / "made" / "ferry.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    lamps = ROOT / "tests" / "golden" / "lamps"
    assert "success_plans" in run(
        "validate_plan.py", *(str(lamps / name) for name in ("domain.pddl", "problem.pddl", "plan.txt"))
    )


# -- the front page -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def front_page() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_front_page_gives_the_memory_that_the_suite_estimates(front_page: str, tmp_path: Path) -> None:
    """Of its own GPU command, with the config.json of the model that it names, on the card that it names."""
    from grpo_project.configs.training import TrainingConfig
    from grpo_project.models.forecast import forecast_for_a_gpu
    from tests.unit.models.test_memory import QWEN_7B

    (command,) = (words for words in bash_commands(ROOT / "README.md") if "--base_model" in words)
    assert command[2:] == [
        *("--base_model", "unsloth/Qwen2.5-7B-Instruct-bnb-4bit", "--data_root", "data/four_domain"),
        "--use_gradient_checkpointing",
    ]
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B | {"quantization_config": {"load_in_4bit": True}}))
    config = TrainingConfig(base_model=str(tmp_path), data_root="data/four_domain", use_gradient_checkpointing=True)
    found = forecast_for_a_gpu(config, 24)
    assert found.fits
    text = " ".join(front_page.split())
    peak = f"{found.estimate.total / 2**30:.1f} GiB"
    assert f"On one GPU of 24 GB, a 7B model in 4 bit: ```bash {' '.join(command)} ``` {peak} by the suite's own estimate" in text
    batch = f"{config.batch_size} prompts x {config.num_generations} completions a step"
    lengths = f"prompts up to {config.max_prompt_length} tokens, completions up to {config.max_completion_length}"
    assert f"LoRA of rank {found.load.rank}, {batch}, {lengths}" in text
    assert "**not on any GPU yet**" in text


def test_the_six_lines_for_trl_train(
    front_page: str, tiny_planner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they stand on the page, with what the reader's own script has: a model and a GRPOConfig."""
    pytest.importorskip("trl")
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    (block,) = re.findall(r"```python\n(.*?)```", front_page, re.DOTALL)
    assert len([line for line in block.splitlines() if line]) == 6
    assert block in (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
    monkeypatch.chdir(ROOT)
    args = partial(GRPOConfig, str(tmp_path), max_steps=1, max_completion_length=4, num_generations=2)
    names: dict[str, Any] = {
        "args": args(
            per_device_train_batch_size=2, report_to="none", save_strategy="no", logging_steps=1, use_cpu=True, bf16=False
        ),
        "model": str(tiny_planner),
        "Dataset": Dataset,
        "GRPOTrainer": GRPOTrainer,
    }
    exec(block, names)
    trainer = names["trainer"]
    trainer.train()
    (logged,) = (line for line in trainer.state.log_history if "rewards/planning_reward/mean" in line)
    assert -1 <= logged["rewards/planning_reward/mean"] < 0  # random weights solve nothing


def test_a_set_up_that_fails_says_so_in_one_line(tmp_path: Path) -> None:
    """`make test-llm` where pip cannot get what is pinned."""
    shutil.copytree(ROOT / "script", tmp_path / "script", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    for file in (ROOT / "Makefile", *ROOT.glob("requirements*.txt")):
        shutil.copy(file, tmp_path)
    for name in ("python", "pip"):
        program = tmp_path / ".venv-llm" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found' >&2\nexit 1\n")
        program.chmod(0o755)
    done = subprocess.run(["make", "test-llm"], cwd=tmp_path, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if line.startswith("setup: ")]
    assert done.returncode == 2 and said == [
        "setup: requirements-llm.txt is not installed in .venv-llm: pip says why above. The same command takes it up again."
    ]
    assert not (tmp_path / ".venv-llm" / "requirements.stamp").exists()
