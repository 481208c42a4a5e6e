"""The control, and a schedule from a user's own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_project.common.user_code import load_function
from grpo_project.curriculum.schedules import uniform
from grpo_project.errors import ConfigError


def located(path: str) -> Path | None:
    return Path(path) if Path(path).exists() else None


def test_uniform_draws_buckets_as_they_are_filled() -> None:
    schedule = uniform({"ferry": {"easy": [1, 2, 3], "medium": [4], "hard": []}})
    assert schedule.weights(0, 10) == schedule.weights(9, 10) == {"ferry": {"easy": 3, "medium": 1, "hard": 0}}
    assert schedule.state_dict() == {} and schedule.metrics() == {}


def test_a_users_function_is_found_in_a_users_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Share:\n    easy: float = 1.0\n"
        "def own(step, max_steps):\n    return {'easy': Share().easy, 'medium': step, 'hard': max_steps}\n"
    )
    assert load_function(f"{file}:own", "--curriculum", located)(2, 7) == {"easy": 1.0, "medium": 2, "hard": 7}


@pytest.mark.parametrize(
    ("text", "spec", "words"),
    [
        ("x = 1", "mine.py:own", "has no function own"),
        ("own = 3", "mine.py:own", "has no function own"),
        ("1 / 0", "mine.py:own", "fails when it is loaded: ZeroDivisionError: division by zero"),
        ("def own(:", "mine.py:own", "fails when it is loaded: SyntaxError"),
        ("", "other.py:own", "there is no file other.py"),
        ("", "mine.py:not a name", "write path/to/file.py:function"),
        ("", "mine.txt:own", "write path/to/file.py:function"),
    ],
)
def test_what_cannot_be_used_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, spec: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        load_function(spec, "--curriculum", located)
    assert "\n" not in str(error.value)
