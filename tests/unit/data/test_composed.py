"""Composed domains: every row's plan is one, every combination of parts works, and what is held out is held out."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data.composed import DRAWS, ROADS, Parts, composed_problem, composed_rows
from grpo_project.data.known_domains import renaming_to_known
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import read_rows
from grpo_project.errors import DataError
from grpo_project.pddl import compile_task, find_plan, parse_domain, parse_problem, validate, validate_text

ROOT = Path(__file__).resolve().parents[3]
SIZES = ((3, 4), (1, 2), 0.5)
COMBINATIONS = [Parts(road, *rest) for road in ROADS for rest in product((False, True), repeat=6)]


def test_every_row_holds_a_problem_and_a_plan_of_it() -> None:
    constrained = 0
    for row in composed_rows(150, 1, *SIZES):
        meta = row["meta"]
        domain = parse_domain(meta["domain_pddl"])
        problem = parse_problem(meta["problem_pddl"], domain)
        task = compile_task(domain, problem)
        assert validate_text(task, row["response"]).success
        assert not validate_text(task, row["response"].split("\n", 1)[1]).success, "its first step does nothing"
        constrained += meta["constraints"]
    assert 40 < constrained < 100


def test_rows_are_a_function_of_the_seed_and_their_number() -> None:
    rows = list(composed_rows(5, 1, *SIZES))
    assert rows == list(composed_rows(9, 1, *SIZES))[:5] and rows[0] != next(composed_rows(1, 2, *SIZES))


@pytest.mark.parametrize("parts", COMBINATIONS, ids=str)
def test_every_combination_is_a_domain_in_which_search_finds_plans_too(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule's plan and the search agree that there is one; the elevator is made of no parts that a row may have."""
    monkeypatch.setattr(Parts, "drawn", lambda rng: parts)
    domain, problem, steps = composed_problem(random.Random(3), (3, 3), (1, 1), 0.0)
    task = compile_task(domain, problem)
    found = find_plan(task, 20_000)
    assert found.steps and len(found.steps) <= len(steps) and validate(task, found.steps).success
    known = renaming_to_known(domain)
    assert known is None or parts.is_left_out and known[0] in ("elevator", "ferry")


def test_what_is_held_out_is_never_drawn() -> None:
    drawn = {Parts.drawn(random.Random(seed)) for seed in range(4000)}
    assert drawn == {parts for parts in COMBINATIONS if not parts.is_left_out} and len(drawn) == 152


def test_sizes_without_anything_to_carry_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parts, "drawn", lambda rng: COMBINATIONS[0])
    with pytest.raises(DataError, match=rf"{DRAWS} draws gave no composed problem with a constraint of \(1, 1\) places"):
        composed_problem(random.Random(1), (1, 1), (1, 1), 1.0)


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "script" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_writes_rows_that_can_be_read_and_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main, out = script("compose_domains").main, tmp_path / "composed"
    assert main(["--count", "20", "--out", str(out)]) == 0 and "20 rows" in capsys.readouterr().out
    table = read_rows(out)
    assert table.domains == ("composed",) and len(table) == 20
    for row in table.rows:
        assert row_prompt(row, "schemas") == row.prompt
    assert main(["--count", "20", "--out", str(out)]) == 2 and "is not empty" in capsys.readouterr().err
    for flags, what in ((["--places", "4", "2"], "--places must be"), (["--constraints_share", "2"], "--constraints_share must")):
        assert main([*flags, "--out", str(tmp_path / "other")]) == 2 and what in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    capsys.readouterr()
    assert main(["--count", "2", "--out", ""]) == 2 and "--out must name a folder" in capsys.readouterr().err


def test_what_another_script_has_begun_is_left_alone_and_a_stopped_one_begins_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = script("compose_domains").main
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "ferry.jsonl.partial").touch()
    assert main(["--count", "2", "--out", str(tmp_path)]) == 2 and "is not empty" in capsys.readouterr().err
    assert (tmp_path / "manifest.json").read_text() == "{}"
    (tmp_path / "ferry.jsonl.partial").unlink()
    assert main(["--count", "2", "--out", str(tmp_path)]) == 0
    written = json.loads((tmp_path / "manifest.json").read_text())["domains"]["composed"]
    rows = (tmp_path / "composed.jsonl").read_bytes()
    assert written == {"rows": 2, "sha256": hashlib.sha256(rows).hexdigest()}
