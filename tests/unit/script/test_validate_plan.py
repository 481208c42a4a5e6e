"""The hand tool: verdict and exit status."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LAMPS = ROOT / "tests" / "golden" / "lamps"


@pytest.fixture(scope="module")
def main():
    spec = importlib.util.spec_from_file_location("validate_plan", ROOT / "script" / "validate_plan.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("(switch-on a)\n(switch-on b)\n", 0, "success_plans"),
        ("(switch-on b)\n(switch-on a)\n", 1, "safety_constraints_violation"),
        ("(switch-on a)\n", 1, "goal_not_satisfied"),
        ("(switch-on a)\n(switch-on a)\n", 1, "precondition_violation"),
        ("hello", 1, "plan_format_error"),
    ],
)
def test_verdicts(main, tmp_path, capsys, text, status, words):
    plan = tmp_path / "plan.txt"
    plan.write_text(text)
    assert main([str(LAMPS / "domain.pddl"), str(LAMPS / "problem.pddl"), str(plan)]) == status
    assert capsys.readouterr().out.startswith(words)


def test_bad_input_is_one_line(main, tmp_path, capsys):
    assert main([str(tmp_path / "no.pddl"), "x", "y"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
