"""The files of a data root: which hold rows, of which domain, and what kinds of files are refused with their cause."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data.row_files import domain_files, domain_names
from grpo_project.data.rows import Row, read_rows, stream_rows
from grpo_project.domains import get_domain
from grpo_project.errors import DataError
from tests.sample_rows import a_row, problem_text, write

# GRPO, evaluation and reports read by the first, SFT by the second: what one takes, the other takes.
READERS: dict[str, Callable[[Path], list[Row]]] = {
    "read_rows": lambda root: list(read_rows(root, on_bad_row="error").rows),
    "stream_rows": lambda root: list(stream_rows(root)),
}


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest) -> Callable[[Path], list[Row]]:
    return READERS[request.param]


def test_byte_order_marks_blank_lines_and_line_separators_in_texts_are_fine(tmp_path: Path, read: Any) -> None:
    rows = [a_row(seed=1, prompt="one\u2028two\x0bthree\x85four"), a_row(seed=2)]
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    (tmp_path / "blocksworld.jsonl").write_bytes(b"\xef\xbb\xbf\n\r\n" + lines[0] + b"\r\n \n" + lines[1])
    assert [row.prompt for row in read(tmp_path)] == ["one\u2028two\x0bthree\x85four", "Plan 2"]


def test_capitals_in_scenarios_and_file_names_do_not_matter(tmp_path: Path, read: Any) -> None:
    write(tmp_path, "ferry", [a_row("ferry", meta__scenario="Ferry")]).rename(tmp_path / "FERRY.JSONL")
    (row,) = read(tmp_path)
    assert row.scenario == "ferry" and row.domain == get_domain("ferry").domain
    assert domain_names(tmp_path) == ["ferry"]
    assert read_rows(tmp_path, ["Ferry"]).domains == ("ferry",)
    write(tmp_path, "ferry", [a_row("ferry")])
    with pytest.raises(DataError, match=r"FERRY\.JSONL and .*ferry\.jsonl are both of ferry"):
        read(tmp_path)


@pytest.mark.parametrize("empty", ['"prompt": null', '"prompt": NaN', '"note": 1'])
def test_a_prompt_that_is_null_is_one_that_is_missing(tmp_path: Path, read: Any, empty: str) -> None:
    write(tmp_path, "blocksworld", ["{" + empty + ', "response": null, ' + json.dumps(a_row(prompt=None))[1:]])
    (row,) = read(tmp_path)
    assert "(define (problem" in row.prompt and row.response is None


@pytest.mark.parametrize("missing", ["NaN", "Infinity", "null"])
def test_a_cost_that_is_no_number_is_unknown(tmp_path: Path, read: Any, missing: str) -> None:
    write(tmp_path, "blocksworld", [json.dumps(a_row(meta__reference_cost=-77)).replace("-77", missing)])
    assert [row.meta["reference_cost"] for row in read(tmp_path)] == [None]


@pytest.mark.parametrize("large", ["1e999", "1" + "0" * 400])
def test_a_cost_beyond_all_numbers_is_refused_by_its_line(tmp_path: Path, read: Any, large: str) -> None:
    path = write(tmp_path, "blocksworld", [a_row(), json.dumps(a_row(meta__reference_cost=-77)).replace("-77", large)])
    with pytest.raises(DataError, match=f"^{path}:2: meta.reference_cost is larger than any number"):
        read(tmp_path)


WHOLE = json.dumps([a_row(seed=1), a_row(seed=2)])
OTHER_FORMATS = {
    "UTF-16": (f"{WHOLE[1:-1]}\n".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
    "UTF-16 without a mark": (f"{WHOLE[1:-1]}\n".encode("utf-16-le"), "is UTF-16 text: save it as UTF-8"),
    "UTF-32": (f"{WHOLE[1:-1]}\n".encode("utf-32"), "is UTF-32 text: save it as UTF-8"),
    "gzip": (gzip.compress(WHOLE[1:-1].encode()), "is compressed (gzip): unpack it"),
    "an array": (WHOLE.encode(), "is one JSON array, not one object a line: script/convert_data.py"),
    "an array over lines": (json.dumps(json.loads(WHOLE), indent=1).encode(), "is one JSON array"),
    "objects over lines": (json.dumps(a_row(), indent=2).encode(), "has a JSON object on several lines, but a row is one line"),
}


@pytest.mark.parametrize("kind", OTHER_FORMATS)
def test_a_file_of_another_format_is_one_line_that_says_so(tmp_path: Path, read: Any, caplog: Any, kind: str) -> None:
    content, cause = OTHER_FORMATS[kind]
    (tmp_path / "blocksworld.jsonl").write_bytes(content)
    with caplog.at_level(logging.WARNING), pytest.raises(DataError) as refused:
        read(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / 'blocksworld.jsonl'} {cause}") and "\n" not in str(refused.value)
    assert caplog.messages == []


def test_files_in_folders_of_the_root_are_named(tmp_path: Path, read: Any) -> None:
    (tmp_path / "train").mkdir()
    write(tmp_path / "train", "ferry", [a_row("ferry")])
    with pytest.raises(DataError, match=rf"holds no \.jsonl file, but folders in it do: name one \({tmp_path / 'train'}\)"):
        read(tmp_path)


def test_what_is_no_domains_file_is_named_and_left_out(tmp_path: Path, read: Any, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "ferry", [a_row("ferry")])
    write(tmp_path, "merged", [a_row("blocksworld"), a_row("ferry")])
    write(tmp_path, "notes", [{"text": "no row"}])
    (tmp_path / "metadata.json").write_text("{}")
    old = tmp_path / "old.jsonl"
    old.write_bytes(WHOLE.encode("utf-16"))
    with caplog.at_level(logging.WARNING):
        assert [row.scenario for row in read(tmp_path)] == ["ferry"]
    left_out = "is left out: it is named after no domain of its rows"
    assert caplog.messages == [
        f"{tmp_path / 'merged.jsonl'} {left_out} (its first row is of blocksworld)",
        f"{tmp_path / 'notes.jsonl'} {left_out} (its first row has no meta.scenario)",
        f"{old} {left_out} ({old} is UTF-16 text: save it as UTF-8 (iconv -f UTF-16 -t UTF-8))",
    ]
    assert list(domain_files(tmp_path)) == ["ferry"]


def test_without_any_domains_file_demonstrations_are_read_and_problems_are_not_guessed(tmp_path: Path) -> None:
    path = write(tmp_path, "merged", [a_row("blocksworld"), a_row("ferry")])
    assert [row.scenario for row in stream_rows(tmp_path)] == ["blocksworld", "ferry"]
    with pytest.raises(DataError) as refused:
        read_rows(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: no file is named after the domain of its rows ({path.name}: its first row is of blocksworld): "
        "script/convert_data.py makes a data root of it"
    )


def test_byte_order_marks_in_pddl_files_are_no_part_of_the_text(tmp_path: Path, read: Any) -> None:
    texts = {"domain.pddl": get_domain("blocksworld").domain_pddl, "p.pddl": problem_text("blocksworld", 1)}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
    files = {"meta__problem_pddl": None, "meta__problem_file": "p.pddl", "meta__domain_file": "domain.pddl"}
    write(tmp_path, "blocksworld", [a_row(**files)])
    (row,) = read(tmp_path)
    assert (row.domain_text, row.problem_text) == tuple(texts.values())
    assert row.problem.goal == read_rows(tmp_path).rows[0].problem.goal
