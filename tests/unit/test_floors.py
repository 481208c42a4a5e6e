"""The floors hold: pure packages load nothing heavy, imports point downwards, no circle, and one file imports unsloth."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "grpo_project"
# docs/architecture.md says what each holds.
FLOORS = {
    "errors": 0, "common": 0, "pddl": 0,
    "domains": 1, "prompting": 1, "configs": 1,
    "data": 2, "rewards": 2, "evaluation": 2,
    "curriculum": 3,
    "runs": 4,
    "health": 5, "tracking": 5, "repair": 5,
    "callbacks": 6, "models": 6, "core": 6, "reporting": 6,
    "training": 7,
    "sft": 8,
}  # fmt: skip
# Without torch and its kin; `pip install .` brings what they need.
PURE = [name for name, floor in FLOORS.items() if floor <= 5] + ["core", "reporting"]
HEAVY = ("torch", "transformers", "trl", "unsloth", "datasets", "wandb")


def imports(path):
    """Modules that a file imports, also for types alone and inside functions; `from package import module` names the module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(module):
    return module.split(".")[1]


def files_of(package):
    return sorted((PACKAGE / package).rglob("*.py")) if (PACKAGE / package).is_dir() else [PACKAGE / f"{package}.py"]


def ours(path):
    return {module for module in imports(path) if module.startswith("grpo_project.") and package_of(module) in FLOORS}


def circle_in(uses):
    """A way from a name back to itself, or None."""
    done = set()

    def walk(name, way):
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return None
        for used in sorted(uses.get(name, ())):
            found = walk(used, [*way, name])
            if found:
                return found
        done.add(name)
        return None

    return next((found for name in uses if (found := walk(name, []))), None)


def test_every_package_has_a_floor():
    found = {path.stem if path.suffix else path.name for path in PACKAGE.iterdir() if not path.name.startswith("__")}
    assert found - {"py"} == set(FLOORS)  # py.typed


@pytest.mark.parametrize("package", PURE)
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
    code = f"import sys, grpo_project.training.run; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_imports_point_downwards_and_packages_of_one_floor_make_no_circle():
    uses = defaultdict(set)
    wrong = []
    for name, floor in FLOORS.items():
        for file in files_of(name):
            for module in ours(file):
                if FLOORS[package_of(module)] > floor:
                    wrong.append(f"{file.relative_to(ROOT)} imports {module}")
                uses[name].add(package_of(module))
    assert wrong == []
    assert sum(map(len, uses.values())) > 50
    assert circle_in({name: found - {name} for name, found in uses.items()}) is None


def test_files_make_no_circle_either_not_even_for_types():
    names = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in PACKAGE.rglob("*.py")
    }
    uses = {name: {module for module in ours(file) if module in names and module != name} for name, file in names.items()}
    for name, file in names.items():
        if file.name == "__init__.py":  # a face hands on what its files define, and they may name it
            uses[name] = set()
    assert len(uses) > 100
    assert circle_in(uses) is None


def test_the_lowest_floors_need_the_standard_library_alone():
    for name in ("errors", "pddl", "configs"):
        for file in files_of(name):
            for module in imports(file):
                assert module.split(".")[0] in {*sys.stdlib_module_names, "grpo_project"}, f"{file} imports {module}"


def test_one_file_imports_unsloth():
    users = [file for file in PACKAGE.rglob("*.py") if any(m.split(".")[0] == "unsloth" for m in imports(file))]
    assert [file.name for file in users] == ["loading.py"]


def test_one_file_overrides_how_trainers_save():
    users = [file for file in PACKAGE.rglob("*.py") if "def _save_checkpoint(" in file.read_text(encoding="utf-8")]
    assert [file.relative_to(PACKAGE).as_posix() for file in users] == ["training/trainer.py"]
