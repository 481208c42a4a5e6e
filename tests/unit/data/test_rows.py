"""Reading a data root: good rows come through as they are, every bad one is named with file and line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data import row_files
from grpo_project.data import rows as rows_module
from grpo_project.data.rows import read_rows
from grpo_project.domains import get_domain
from grpo_project.errors import ConfigError, DataError, PddlError
from grpo_project.pddl import compile_task, parse_problem
from tests.sample_rows import a_row, problem_text, write


def test_a_good_row_comes_through_whole(tmp_path: Path) -> None:
    row = a_row(response="(pick-up b1)", class_label="success_plans", meta__constraints=False, meta__reference_cost=4)
    path = write(tmp_path, "blocksworld", [row])
    table = read_rows(tmp_path)
    (read,) = table.rows
    assert (read.prompt, read.scenario, read.response, read.class_label) == (
        "Plan 1",
        "blocksworld",
        "(pick-up b1)",
        "success_plans",
    )
    assert read.problem_file == row["meta"]["problem_file"]
    assert read.meta == row["meta"]
    assert read.source == f"{path}:1"
    assert read.domain == get_domain("blocksworld").domain
    assert read.problem == parse_problem(problem_text("blocksworld", 1), read.domain)
    assert table.bad_rows == ()


def test_domains_stand_in_the_order_asked_for_else_sorted(tmp_path: Path) -> None:
    write(tmp_path, "ferry", [a_row("ferry", 1), a_row("ferry", 2)])
    write(tmp_path, "blocksworld", [a_row(seed=3)])
    assert [row.prompt for row in read_rows(tmp_path).rows] == ["Plan 3", "Plan 1", "Plan 2"]
    table = read_rows(tmp_path, ["ferry", "blocksworld"])
    assert table.domains == ("ferry", "blocksworld")
    assert [row.prompt for row in table.rows] == ["Plan 1", "Plan 2", "Plan 3"]
    assert (table.indices_of("ferry"), table.indices_of("blocksworld")) == ([0, 1], [2])
    assert read_rows(tmp_path, ["ferry"]).domains == ("ferry",)


def test_files_are_found_under_the_root_then_under_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder, seed in ((root, 1), (elsewhere, 2)):
        (folder / "files").mkdir(parents=True)
        (folder / "files" / "both.pddl").write_text(problem_text("blocksworld", seed))
    (elsewhere / "files" / "here.pddl").write_text(problem_text("blocksworld", 3))
    monkeypatch.chdir(elsewhere)
    names = ["files/both.pddl", "files/here.pddl", str(elsewhere / "files" / "both.pddl")]
    write(root, "blocksworld", [a_row(meta__problem_pddl=None, meta__problem_file=name) for name in names])
    domain = get_domain("blocksworld").domain
    assert [row.problem for row in read_rows(root, on_bad_row="error").rows] == [
        parse_problem(problem_text("blocksworld", seed), domain) for seed in (1, 3, 2)
    ]


def test_a_domain_text_comes_inline_else_from_its_file_else_from_the_registry(tmp_path: Path) -> None:
    text = get_domain("blocksworld").domain_pddl
    first_action = next(iter(get_domain("blocksworld").domain.actions))
    (tmp_path / "own.pddl").write_text(text.replace(first_action, "from-file"))
    rows = [
        a_row(meta__domain_file="own.pddl"),
        a_row(meta__domain_file="own.pddl", meta__domain_pddl=text.replace(first_action, "inline")),
        a_row(meta__domain_file="nowhere.pddl"),
        a_row(meta__domain_file=None),
    ]
    write(tmp_path, "blocksworld", rows)
    table = read_rows(tmp_path, on_bad_row="error")
    actions = [next(iter(row.domain.actions)) for row in table.rows]
    assert actions == ["from-file", "inline", first_action, first_action]


def test_tasks_are_compiled_once(tmp_path: Path) -> None:
    write(tmp_path, "blocksworld", [a_row(seed=1), a_row(seed=2)])
    table = read_rows(tmp_path)
    assert table.task(1) is table.task(1)
    row = table.rows[1]
    assert table.task(1).problem == row.problem
    assert table.task(1).initial == compile_task(row.domain, row.problem).initial
    for index in (-1, 2):
        with pytest.raises(IndexError):
            table.task(index)


def nested(depth: int) -> str:
    return '{"prompt": ' + "[" * depth + "]" * depth + "}"


BAD_ROWS: dict[str, tuple[Callable[[], Any], str]] = {
    "broken JSON": (lambda: '{"prompt": "x", ', "broken JSON at column"),
    "a list": (lambda: [1, 2], "a JSON object was expected, found a list"),
    "null": (lambda: "null", "found null"),
    "nested too deeply": (lambda: nested(100_000), "nested too deeply"),
    "endless number": (lambda: '{"prompt": ' + "9" * 5000 + "}", "too many digits"),
    "no prompt and no problem": (lambda: a_row(prompt=None, meta__problem_pddl=None), "problem file"),
    "empty prompt": (lambda: a_row(prompt=" \n"), "prompt is empty"),
    "prompt a number": (lambda: a_row(prompt=3), "prompt must be text, found a number"),
    "prompt half a surrogate pair": (lambda: a_row(prompt="a\ud800"), "half of a surrogate pair at character 2"),
    "no meta": (lambda: a_row(meta=None), "field meta is missing"),
    "meta text": (lambda: a_row(meta="x"), "meta must be an object, found text"),
    "no scenario": (lambda: a_row(meta__scenario=None), "field meta.scenario is missing"),
    "another scenario": (lambda: a_row("ferry"), "meta.scenario is 'ferry', another domain's name"),
    "unknown scenario": (lambda: a_row(meta__scenario="chess"), "meta.scenario is 'chess', no known domain's name"),
    "no problem file": (lambda: a_row(meta__problem_file=None), "field meta.problem_file is missing"),
    "problem file a list": (lambda: a_row(meta__problem_file=[]), "meta.problem_file must be text, found a list"),
    "domain file a number": (lambda: a_row(meta__domain_file=1), "meta.domain_file must be text"),
    "response a list": (lambda: a_row(response=["(a)"]), "response must be text, found a list"),
    "class label a number": (lambda: a_row(class_label=1), "class_label must be text"),
    "constraints text": (lambda: a_row(meta__constraints="no"), "meta.constraints must be true or false, found text"),
    "cost true": (lambda: a_row(meta__reference_cost=True), "meta.reference_cost must be a number"),
    "unknown file": (lambda: a_row(meta__problem_pddl=None), "neither under"),
    "file name too long": (lambda: a_row(meta__problem_pddl=None, meta__problem_file="x" * 5000), "neither under"),
    "file name with NUL": (lambda: a_row(meta__problem_pddl=None, meta__problem_file="a\0b"), "neither under"),
    "a folder": (lambda: a_row(meta__problem_pddl=None, meta__problem_file="."), "neither under"),
    "unparsable problem": (lambda: a_row(meta__problem_pddl="(define (problem"), "meta.problem_pddl:1"),
    "unparsable domain": (lambda: a_row(meta__domain_pddl="(define"), "meta.domain_pddl"),
    "not UTF-8": (lambda: b'{"prompt": "\xff"}', "not UTF-8 at byte 13"),
    "UTF-16": (lambda: json.dumps(a_row()).encode("utf-16"), "not UTF-8 at byte 1"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_named_and_skipped_or_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    make, reason = BAD_ROWS[name]
    path = write(tmp_path, "blocksworld", [a_row(seed=1), "", make(), a_row(seed=2)])
    with caplog.at_level(logging.WARNING):
        table = read_rows(tmp_path)
    assert [row.prompt for row in table.rows] == ["Plan 1", "Plan 2"]
    assert [row.source for row in table.rows] == [f"{path}:1", f"{path}:4"]
    (bad,) = table.bad_rows
    assert bad.source == f"{path}:3"
    assert reason in bad.reason
    assert "\n" not in str(bad)
    assert caplog.messages == [f"bad row skipped: {bad}", f"{path}: 1 of 3 rows are bad and were skipped"]
    with pytest.raises(DataError) as refused:
        read_rows(tmp_path, on_bad_row="error")
    assert str(refused.value).startswith(f"{path}:3: ")
    assert reason in str(refused.value)
    assert "--on_bad_row skip" in str(refused.value)


def test_a_line_beyond_the_limit_costs_that_line_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "MAX_LINE_BYTES", 1 << 20)
    path = write(tmp_path, "blocksworld", [a_row(prompt="x" * (3 << 20)), a_row(seed=2)])
    table = read_rows(tmp_path)
    assert [row.source for row in table.rows] == [f"{path}:2"]
    assert [str(bad) for bad in table.bad_rows] == [f"{path}:1: the line is longer than 1 MiB"]


def test_problem_files_that_are_not_utf8_are_bad_rows(tmp_path: Path) -> None:
    (tmp_path / "p.pddl").write_bytes(b"(define \xff)")
    write(tmp_path, "blocksworld", [a_row(meta__problem_pddl=None, meta__problem_file="p.pddl"), a_row()])
    (bad,) = read_rows(tmp_path).bad_rows
    assert bad.reason == f"{tmp_path / 'p.pddl'} is not UTF-8 at byte 9 (0xff, line 1): save it as UTF-8, or drop that byte"


def test_many_bad_rows_are_counted_but_not_all_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "blocksworld", ["{"] * 50 + [a_row()])
    with caplog.at_level(logging.WARNING):
        table = read_rows(tmp_path)
    assert len(table.bad_rows) == 50
    assert len(caplog.messages) == rows_module.NAMED_PER_FILE + 1
    assert "50 of 51 rows are bad" in caplog.messages[-1]


def test_windows_line_ends_a_byte_order_mark_and_a_missing_last_newline_are_fine(tmp_path: Path) -> None:
    lines = [json.dumps(a_row(seed=seed)).encode() for seed in (1, 2)]
    (tmp_path / "blocksworld.jsonl").write_bytes(b"\xef\xbb\xbf" + lines[0] + b"\r\n\r\n" + lines[1])
    assert [row.prompt for row in read_rows(tmp_path, on_bad_row="error").rows] == ["Plan 1", "Plan 2"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"{\n"])
def test_a_domain_without_a_row_is_an_error_even_when_skipping(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "ferry", [a_row("ferry")])
    (tmp_path / "blocksworld.jsonl").write_bytes(content)
    with pytest.raises(DataError, match="no row left for blocksworld"):
        read_rows(tmp_path)
    assert len(read_rows(tmp_path, ["ferry"])) == 1


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_data_roots_that_cannot_be_used_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_rows(tmp_path / "nowhere")
    assert "does not exist" in one_line(error)
    assert "make data" in one_line(error)
    with pytest.raises(DataError, match=r"holds no \.jsonl file"):
        read_rows(tmp_path)
    with pytest.raises(DataError, match=r"cannot be read|does not exist"):
        read_rows("a\0b")
    path = write(tmp_path, "ferry", [a_row("ferry")])
    with pytest.raises(DataError, match="is a file"):
        read_rows(path)
    with pytest.raises(DataError, match=r"blocksworld\.jsonl does not exist; --domains may name ferry"):
        read_rows(tmp_path, ["ferry", "blocksworld"])
    with pytest.raises(DataError, match=r"chess\.jsonl does not exist; --domains may name ferry"):
        read_rows(tmp_path, ["chess"])
    (tmp_path / "blocksworld.jsonl").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_rows(tmp_path)


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "ferry", [a_row("ferry")])
    with pytest.raises(ConfigError, match="on_bad_row must be one of skip, error"):
        read_rows(tmp_path, on_bad_row="ignore")
    with pytest.raises(ConfigError, match="--domains names one more than once: ferry"):
        read_rows(tmp_path, ["ferry", "ferry"])
    with pytest.raises(ConfigError, match="--domains names none: name"):
        read_rows(tmp_path, [])


def test_without_validation_no_problem_is_needed_until_it_is_used(tmp_path: Path) -> None:
    write(tmp_path, "blocksworld", [a_row(meta__problem_pddl=None), a_row(meta__problem_pddl="(")])
    table = read_rows(tmp_path, on_bad_row="error", validate_pddl=False)
    with pytest.raises(DataError, match=r"blocksworld\.jsonl:1: problem file"):
        _ = table.rows[0].problem
    with pytest.raises(PddlError):
        table.task(1)


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    def fingerprint(name: str, rows: list[dict[str, Any]], problem_seed: int = 1) -> str:
        root = tmp_path / name
        root.mkdir()
        (root / "p.pddl").write_text(problem_text("blocksworld", problem_seed))
        write(root, "blocksworld", [*rows, a_row(meta__problem_pddl=None, meta__problem_file="p.pddl")])
        return read_rows(root, on_bad_row="error").fingerprint

    first, second = a_row(seed=1), a_row(seed=2)
    base = fingerprint("a", [first, second])
    assert len(base) == 64
    assert fingerprint("b", [first, second]) == base
    others = [
        fingerprint("order", [second, first]),
        fingerprint("fewer", [first]),
        fingerprint("prompt", [first, a_row(seed=2, prompt="other")]),
        fingerprint("response", [first, a_row(seed=2, response="(x)")]),
        fingerprint("meta", [first, a_row(seed=2, meta__split="test")]),
        fingerprint("file", [first, second], problem_seed=9),
    ]
    assert len({base, *others}) == 7
