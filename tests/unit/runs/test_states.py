"""States of a checkpoint: each comes back, and one that cannot be read is named with its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from grpo_project.callbacks.collapse import CollapseActions
from grpo_project.errors import ConfigError
from grpo_project.runs.states import COLLAPSE_STATE, RunStates, require_trainer_state


class Refusing:
    def state_dict(self) -> Mapping[str, Any]:
        return {"format": 1}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        raise ConfigError("it has format 1")


@pytest.mark.parametrize("content", ["{}", '{"kept_step": "two", "rollbacks": []}', '{"kept_step": null, "rollbacks": 3}'])
def test_a_state_of_another_form_is_named_with_its_file(tmp_path: Path, content: str) -> None:
    states = RunStates({COLLAPSE_STATE: CollapseActions()})
    states.save(tmp_path)
    states.load(tmp_path)
    (tmp_path / "collapse_state.json").write_text(content)
    with pytest.raises(ConfigError, match=f"^{tmp_path}/collapse_state.json: it is damaged: "):
        states.load(tmp_path)


def test_what_a_state_says_itself_is_said_with_its_file(tmp_path: Path) -> None:
    states = RunStates({"thing": Refusing()})
    states.save(tmp_path)
    with pytest.raises(ConfigError, match=f"^{tmp_path}/thing.json: it has format 1$"):
        states.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "has no trainer_state.json"),
        ("{", "cannot be read"),
        ("{}", "is not that of step 2"),
        ('{"global_step": 3, "train_batch_size": 8}', "is not that of step 2"),
    ],
)
def test_a_trainer_state_that_transformers_could_not_load_is_refused(tmp_path: Path, content: str | None, words: str) -> None:
    checkpoint = tmp_path / "checkpoint-2"
    checkpoint.mkdir()
    if content is not None:
        (checkpoint / "trainer_state.json").write_text(content)
    with pytest.raises(ConfigError, match=words):
        require_trainer_state(checkpoint)
    (checkpoint / "trainer_state.json").write_text('{"global_step": 2, "train_batch_size": 8}')
    require_trainer_state(checkpoint)
