"""A continued run is the same run: what differs is named, and what breaks it is told from what may differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grpo_project.errors import ConfigError
from grpo_project.runs import identity


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1234")
    return tmp_path


def _describe(model: Path, source: str = "def f(): ...", mode: str = "dense", world_size: int = 1) -> dict[str, object]:
    return {
        "data": "d",
        "schedule": "s",
        "reward": identity.hash_of(mode),
        "schedule_source": identity.hash_of(source),
        **identity.of_the_machine(str(model), world_size),
    }


def test_nothing_changed_is_no_difference(model: Path) -> None:
    assert identity.differences(_describe(model), _describe(model)) == []
    assert identity.differences({}, _describe(model)) == []


@pytest.mark.parametrize(
    ("name", "file"), [("model", "model.safetensors"), ("model", "config.json"), ("tokenizer", "tokenizer.json")]
)
def test_another_model_or_tokenizer_is_named(model: Path, name: str, file: str) -> None:
    before = _describe(model)
    (model / file).write_bytes(b"4321")
    (found,) = identity.differences(before, _describe(model))
    assert found.name == name and found.fatal and found.text.startswith(identity.FATAL[name])


def test_a_large_file_is_told_by_its_ends(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "LARGE_BYTES", 10)
    monkeypatch.setattr(identity, "END_BYTES", 3)
    (model / "model.safetensors").write_bytes(b"abcdefghijklm")
    before = _describe(model)
    (model / "model.safetensors").write_bytes(b"abcdefghijklX")
    assert [found.name for found in identity.differences(before, _describe(model))] == ["model"]


def test_other_reward_data_schedule_and_world_size_are_fatal(model: Path) -> None:
    before = _describe(model)
    after = {**_describe(model, mode="sparse", world_size=2), "data": "e", "schedule": "t"}
    found = identity.differences(before, after)
    assert [one.name for one in found] == ["data", "schedule", "reward", "world_size"] and all(one.fatal for one in found)
    assert found[-1].text == "the number of processes (world size) changed (1 -> 2)"


def test_other_versions_and_an_edited_comment_are_only_mentioned(model: Path) -> None:
    before = {**_describe(model), "versions": {"torch": "1", "trl": "2"}}
    after = {**_describe(model, source="def f(): ...  # why"), "versions": {"torch": "1", "trl": "3"}}
    found = identity.differences(before, after)
    assert [(one.name, one.fatal) for one in found] == [("schedule_source", False), ("versions", False)]
    assert "trl 2 -> 3" in found[1].text


def test_a_checkpoint_of_another_version_says_so_and_not_that_something_changed(tmp_path: Path) -> None:
    (tmp_path / "run_state.json").write_text(json.dumps({"settings": {}, "fingerprints": {"reward": "of then"}}))
    now = identity.RunIdentity({}, {"reward": "of now"}, "step")
    with pytest.raises(ConfigError, match=r"was written by another version of this suite \(its run state has format None, this"):
        now.refuse_changes(tmp_path)
    (tmp_path / "run_state.json").write_text(json.dumps({**now.state_dict(), "fingerprints": {"reward": "of then"}}))
    with pytest.raises(ConfigError, match="the reward changed .*since"):
        now.refuse_changes(tmp_path)


def test_a_fingerprint_that_the_checkpoint_lacks_is_no_agreement(tmp_path: Path) -> None:
    now = identity.RunIdentity({}, {"reward": "of now", "model": "m"})
    (tmp_path / "run_state.json").write_text(json.dumps({**now.state_dict(), "fingerprints": {"model": "m"}}))
    with pytest.raises(ConfigError, match="run_state.json has no reward among its fingerprints: it is damaged, or another"):
        now.refuse_changes(tmp_path)
