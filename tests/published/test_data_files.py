"""Data and settings files that broke programs of this kind (trials.md)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from grpo_project.common.files import json_object
from grpo_project.common.paths import locate_model
from grpo_project.configs.environment import read_environment
from grpo_project.configs.model_card import read_model_card
from grpo_project.configs.resolution import read_config_file, resolve
from grpo_project.data.corpus import excluded_forms
from grpo_project.data.object_names import rename_objects
from grpo_project.data.row_files import domain_names
from grpo_project.data.rows import read_rows, stream_rows
from grpo_project.domains import get_domain
from grpo_project.errors import ConfigError, DataError, ModelError
from grpo_project.evaluation.answers import Answer, Journal, Question
from grpo_project.evaluation.fingerprint import model_fingerprint
from grpo_project.pddl import render_problem
from tests.sample_rows import a_row, write

ROWS = b"".join(json.dumps(a_row(seed=seed)).encode() + b"\n" for seed in (1, 2))
MARK = b"\xef\xbb\xbf"


def holds(folder: Path, content: bytes, name: str = "blocksworld.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder


def test_a_byte_order_mark_changes_nothing_about_a_data_set(tmp_path: Path) -> None:
    plain, marked = (read_rows(holds(tmp_path / name, mark + ROWS)) for name, mark in (("plain", b""), ("marked", MARK)))
    assert len(plain) == len(marked) == 2 and plain.fingerprint == marked.fingerprint


def test_settings_files_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_bytes(MARK + b'{"learning_rate": 3e-6}')
    assert read_config_file(str(tmp_path / "settings.json")) == {"learning_rate": 3e-6}
    (tmp_path / "planner.json").write_bytes(MARK + b'{"prompt_style": "compact"}')
    assert read_model_card(str(tmp_path)) == {"prompt_style": "compact"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1e08\nsize 886\n", "is a Git LFS pointer.*: git lfs pull"),
        (gzip.compress(ROWS), r"is compressed \(gzip\): unpack it"),
        (b"PK\x03\x04" + bytes(60), "is a zip archive: unpack it"),
        (b"PAR1\x15\x04" + bytes(60), "is a Parquet file"),
        (b"<!DOCTYPE html>\n<html>Not found</html>\n", "is a web page, not rows"),
        (ROWS.decode().encode("utf-32"), "is UTF-32 text"),
        (b"\0\1\2\3" * 20, "is no text"),
    ],
    ids=["pointer", "gzip", "zip", "Parquet", "web page", "UTF-32", "binary"],
)
def test_a_file_that_is_no_text_of_rows_is_called_what_it_is(tmp_path: Path, content: bytes, told: str) -> None:
    path = holds(tmp_path, content) / "blocksworld.jsonl"
    for read in (lambda: read_rows(tmp_path, on_bad_row="error"), lambda: list(stream_rows(tmp_path))):
        with pytest.raises(DataError, match=f"^{path} {told}"):
            read()


def test_packed_rows_are_seen_although_they_cannot_be_read(tmp_path: Path) -> None:
    holds(tmp_path, gzip.compress(ROWS), "blocksworld.jsonl.gz")
    with pytest.raises(DataError, match=r"holds no \.jsonl file \(unpack blocksworld\.jsonl\.gz\)"):
        domain_names(tmp_path)


def test_hidden_files_beside_the_data_are_no_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    holds(tmp_path, ROWS)
    holds(tmp_path, b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "._blocksworld.jsonl")
    holds(tmp_path, b"b0VIM 8.2", ".ferry.jsonl")
    assert domain_names(tmp_path) == ["blocksworld"] and len(read_rows(tmp_path, on_bad_row="error")) == 2
    assert caplog.messages == []


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\r", "\ud83d", "\0"], ids=ascii)
def test_an_answer_of_any_characters_comes_back_from_its_journal(tmp_path: Path, sign: str) -> None:
    answer = Answer(f"(sail a b){sign}(debark c b)", completion_tokens=9)
    with Journal(tmp_path / "answers.jsonl", {"seed": 1}) as journal:
        journal.add(Question(0, 0, "p"), answer)
        journal.add(Question(1, 0, "p"), Answer("(next)"))
    with Journal(tmp_path / "answers.jsonl", {"seed": 1}) as again:
        assert list(again.answers.values()) == [answer, Answer("(next)")]


def test_a_benchmark_problem_under_other_names_is_kept_out_as_the_same(tmp_path: Path) -> None:
    import random

    domain = get_domain("ferry")
    write(tmp_path, "ferry", [a_row("ferry", seed=1)])
    (row,) = read_rows(tmp_path).rows
    renamed, _ = rename_objects(domain, row.problem, "invented", random.Random(1))
    assert render_problem(renamed) != row.problem_text
    (tmp_path / "paraphrased").mkdir()
    write(tmp_path / "paraphrased", "ferry", [a_row("ferry", seed=1, meta__problem_pddl=render_problem(renamed))])
    assert excluded_forms([str(tmp_path)]) == excluded_forms([str(tmp_path / "paraphrased")])


@pytest.mark.parametrize("written", ["1e-5", "1E-05", ".00001"])
def test_a_learning_rate_in_any_notation_is_that_number(written: str) -> None:
    assert read_environment({"GRPO_LEARNING_RATE": written}).values == {"learning_rate": 1e-5}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('"learning_rate": "1e-5"', "learning_rate must be of kind float, got '1e-5'"),
        ('"learning_rat": 1e-5', "there is no setting 'learning_rat'; did you mean 'learning_rate'?"),
        ('"max_steps": 1e3', "max_steps must be of kind int, got 1000.0"),
    ],
)
def test_a_setting_of_another_kind_is_refused_by_its_name_and_never_taken(tmp_path: Path, setting: str, told: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text("{" + setting + "}")
    with pytest.raises(ConfigError) as refused:
        resolve([(str(file), read_config_file(str(file)))])
    assert str(refused.value) == f"{file}: {told}"


def test_a_setting_that_stands_twice_is_refused_instead_of_the_last_taken(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"max_steps": 10, "learning_rate": 1e-6, "max_steps": 1000}')
    with pytest.raises(ConfigError, match=f"^--config_file {file} cannot be read: 'max_steps' stands in it twice$"):
        read_config_file(str(file))
    with pytest.raises(ConfigError, match="^--request_fields is no JSON: 'effort' stands in it twice$"):
        json_object('{"a": {"effort": 1}, "b": {"effort": 1, "effort": 2}}', "--request_fields")


def test_a_number_that_json_lacks_is_never_written_and_is_read_as_missing(tmp_path: Path) -> None:
    from grpo_project.common.files import append_json_line, read_lines

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    append_json_line(
        tmp_path / "metrics.jsonl", {"loss": float("nan"), "parts": [float("inf"), 1.5], "kl": {"ferry": -float("inf")}}
    )
    (line,) = read_lines(tmp_path / "metrics.jsonl")
    assert json.loads(line, parse_constant=refuse) == {"loss": None, "parts": [None, 1.5], "kl": {"ferry": None}}


HEADER = json.dumps({"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
WEIGHTS = len(HEADER).to_bytes(8, "little") + HEADER + bytes(8)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:1e08\nsize 4965799096\n"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("model-00002-of-00002.safetensors", POINTER, "is a Git LFS pointer, not the weights themselves: git lfs pull"),
        ("pytorch_model.bin", POINTER, "is a Git LFS pointer, not the weights themselves: git lfs pull"),
        ("adapter_model.safetensors", WEIGHTS[:-1], "is cut off .*: download it again"),
        ("model.safetensors", WEIGHTS[:40], "is cut off .*: download it again"),
        ("model.safetensors", b"", "is cut off .*: download it again|is no safetensors file: download it again"),
        ("model.safetensors", b"<!DOCTYPE html>\n<html>Access denied</html>\n", "is (cut off|no safetensors file)"),
    ],
    ids=["pointer", "pointer to a .bin", "the last byte is missing", "half a header", "empty", "web page"],
)
def test_weights_that_are_not_there_as_a_whole_are_named_before_anything_loads(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(WEIGHTS)
    assert locate_model(str(tmp_path)) == str(tmp_path.resolve())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"^{tmp_path / name} ({told})"):
        locate_model(str(tmp_path))


def test_answers_of_other_weights_in_the_same_folder_are_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS)
    before = {"model": str(tmp_path), "weights": model_fingerprint(str(tmp_path))}
    with Journal(tmp_path.with_name("answers.jsonl"), before) as journal:
        journal.add(Question(0, 0, "p"), Answer("(sail a b)"))
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"\x01")  # of the same size
    with pytest.raises(DataError, match="holds answers of an evaluation with weights = .*: repeat the old command line"):
        Journal(tmp_path.with_name("answers.jsonl"), before | {"weights": model_fingerprint(str(tmp_path))})
