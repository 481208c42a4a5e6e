"""Curricula by name, and how a user's function, class and factory are told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from grpo_project.curriculum.base import EvaluationOutcome
from grpo_project.curriculum.frontier import levels_of
from grpo_project.curriculum.registry import CURRICULA, CurriculumInputs, make_curriculum, weights_function_of
from grpo_project.curriculum.schedules import Schedule
from grpo_project.errors import ConfigError

EVEN = {"easy": 1.0, "medium": 1.0, "hard": 1.0}
ROWS: dict[str, dict[str, list[int]]] = {"ferry": {"easy": [0, 1], "medium": [2], "hard": []}}
INPUTS = CurriculumInputs(ROWS, lambda step, max_steps: EVEN, levels_of(ROWS, [1.0, 1.0, 2.0]))

FILE = """
from grpo_project.curriculum.adaptive import AdaptiveCurriculum
from grpo_project.curriculum.schedules import BaseCurriculum

def ramp(step, max_steps):
    return {"easy": max_steps - step, "medium": 1, "hard": step}

def ramp_by_default(step, max_steps=10):
    return ramp(step, max_steps)

class Mine(BaseCurriculum):
    uses_evaluations = True
    solved = 0.0

    def observe_evaluation(self, outcome):
        self.solved = outcome.average()

    def weights(self, step, max_steps):
        return {"easy": 1 - self.solved, "medium": self.solved, "hard": 0}

class WithRows(Mine):
    def __init__(self, inputs):
        self.rows = sum(map(len, inputs.bucket_rows["ferry"].values()))

def sharper(inputs):
    return AdaptiveCurriculum(inputs.bucket_rows, sharpness=4.0)

def nothing(): return None
class Fails(Mine):
    def weights(self, step, max_steps):
        return ramp(step, max_steps) if step < 3 else {}["three"]
    def observe_groups(self, groups): self.kept = {1}
    def metrics(self): return None
def three(a, b, c): return {}
def fails(inputs): return inputs.rows
class Half: pass
class NoJson(Mine):
    def __init__(self): self.kept = {1, 2}
class Tuples(Mine):
    def __init__(self): self.kept = (1, 2)
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(FILE)


def test_every_built_in_name_is_the_name_of_what_it_makes() -> None:
    assert list(CURRICULA) == ["step", "uniform", "stage", "adaptive", "frontier"]
    assert [make_curriculum(name, INPUTS).name for name in CURRICULA] == list(CURRICULA)
    assert make_curriculum("step", INPUTS).weights(3, 9) == EVEN


@pytest.mark.usefixtures("mine")
def test_a_function_of_step_and_max_steps_is_a_schedule() -> None:
    for name in ("ramp", "ramp_by_default"):
        made = make_curriculum(f"mine.py:{name}", INPUTS)
        assert isinstance(made, Schedule) and made.name == f"mine.py:{name}"
        assert made.weights(2, 7) == {"easy": 5, "medium": 1, "hard": 2}
        found = weights_function_of(f"mine.py:{name}", INPUTS.weights_function)
        assert found is not None and found(2, 7) == made.weights(2, 7)


@pytest.mark.usefixtures("mine")
def test_a_class_and_a_factory_make_a_curriculum_that_goes_by_the_users_name_for_it() -> None:
    kinds = {
        name: type(vars(make_curriculum(f"mine.py:{name}", INPUTS))["made"]).__name__ for name in ("Mine", "WithRows", "sharper")
    }
    assert kinds == {"Mine": "Mine", "WithRows": "WithRows", "sharper": "AdaptiveCurriculum"}
    for name in kinds:
        assert make_curriculum(f"mine.py:{name}", INPUTS).name == f"mine.py:{name}"
        assert weights_function_of(f"mine.py:{name}", INPUTS.weights_function) is None


@pytest.mark.usefixtures("mine")
def test_what_a_users_class_sets_on_itself_is_its_state() -> None:
    first, second = (make_curriculum("mine.py:WithRows", INPUTS) for _ in range(2))
    assert first.state_dict() == {"rows": 3}
    first.observe_evaluation(EvaluationOutcome(5, {"ferry": {"easy": (1, 4)}}))
    assert first.state_dict() == {"rows": 3, "solved": 0.25}
    second.load_state_dict(first.state_dict())
    assert second.weights(0, 10) == first.weights(0, 10) == {"easy": 0.75, "medium": 0.25, "hard": 0}


@pytest.mark.usefixtures("mine")
def test_only_step_and_a_users_function_are_a_weights_function() -> None:
    own = INPUTS.weights_function
    assert [weights_function_of(name, own) is own for name in CURRICULA] == [True, False, False, False, False]
    assert weights_function_of("uniform", own) is None


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("fast", "--curriculum must be one of step, uniform, stage, adaptive, frontier, or path/to/file.py:name; got 'fast'"),
        ("mine.py:other", "mine.py has no function other"),
        ("mine.py:three", "--curriculum mine.py:three takes neither (step, max_steps)"),
        ("mine.py:fails", "--curriculum mine.py:fails fails at its start: AttributeError: 'CurriculumInputs' object has no"),
        ("mine.py:nothing", "--curriculum mine.py:nothing gives NoneType without uses_groups"),
        ("mine.py:Half", "--curriculum mine.py:Half gives Half without uses_groups, uses_evaluations, weights, observe_groups"),
        ("mine.py:NoJson", "state_dict gives {'kept': {1, 2}}, which is no JSON: Object of type set is not JSON serializable"),
        ("mine.py:Tuples", "state_dict gives {'kept': (1, 2)}, which JSON changes: use lists and text keys"),
    ],
)
def test_what_is_no_curriculum_ends_in_one_line(spec: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_curriculum(spec, INPUTS)
    assert words in str(error.value) and "\n" not in str(error.value)
    if ".py" not in spec:
        with pytest.raises(ConfigError, match="--curriculum must be one of"):
            weights_function_of(spec, INPUTS.weights_function)


@pytest.mark.usefixtures("mine")
def test_a_method_that_fails_during_a_run_ends_in_one_line_that_names_it() -> None:
    made = make_curriculum("mine.py:Fails", INPUTS)
    assert made.weights(2, 7)
    made.observe_groups([])
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: made.weights(3, 7), "weights at step 3 raised KeyError: 'three' in line 31"),
        (made.metrics, "metrics gives None; return a dict"),
        (made.state_dict, "state_dict gives {'kept': {1}}, which is no JSON"),
    ]
    for call, words in calls:
        with pytest.raises(ConfigError) as error:
            call()
        assert str(error.value).startswith(f"--curriculum mine.py:Fails: {words}") and "\n" not in str(error.value)
