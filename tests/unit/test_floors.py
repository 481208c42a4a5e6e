"""The floors hold: pure packages load nothing heavy, imports point downwards, and one file imports unsloth."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "grpo_project"
FLOORS = {
    "errors": 0, "pddl": 0, "configs": 0,
    "domains": 1, "prompting": 1, "rewards": 1, "core": 1,
    "curriculum": 2, "evaluation": 2, "reporting": 2,
    "callbacks": 3, "training": 3,
}  # fmt: skip
HEAVY = ("torch", "transformers", "trl", "unsloth", "datasets", "wandb")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_package_has_a_floor():
    found = {path.stem if path.suffix else path.name for path in PACKAGE.iterdir() if not path.name.startswith("__")}
    assert found == set(FLOORS)


@pytest.mark.parametrize("package", [name for name, floor in FLOORS.items() if floor <= 2])
def test_a_pure_package_loads_nothing_heavy(package):
    code = (
        "import importlib, pkgutil, sys\n"
        f"top = importlib.import_module('grpo_project.{package}')\n"
        "for m in pkgutil.walk_packages(getattr(top, '__path__', []), top.__name__ + '.'): importlib.import_module(m.name)\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_the_run_itself_loads_nothing_heavy_before_unsloth_can():
    code = f"import sys, grpo_project.training.trainer; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_imports_point_downwards():
    checked = 0
    for name, floor in FLOORS.items():
        files = (PACKAGE / name).rglob("*.py") if (PACKAGE / name).is_dir() else [PACKAGE / f"{name}.py"]
        for file in files:
            for module in imports(file):
                if module.startswith("grpo_project."):
                    checked += 1
                    assert FLOORS[module.split(".")[1]] <= floor, f"{file} imports {module}"
                if floor == 0:
                    assert module.split(".")[0] in {*sys.stdlib_module_names, "grpo_project"}, f"{file} imports {module}"
    assert checked > 50


def test_one_file_imports_unsloth():
    users = [file for file in PACKAGE.rglob("*.py") if any(m.split(".")[0] == "unsloth" for m in imports(file))]
    assert [file.name for file in users] == ["backend.py"]
