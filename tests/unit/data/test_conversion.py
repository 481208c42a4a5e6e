"""Data of other tools become a data root: each problem once, its PDDL inside, plans only where they were verified."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data.conversion import pddl_in
from grpo_project.data.instances import split_of
from grpo_project.data.rows import read_rows, stream_rows
from grpo_project.domains import get_domain
from grpo_project.evaluation import planner_completions
from tests.sample_rows import DEPOT, depot_rows, problem_text, write

FERRY = get_domain("ferry")


@pytest.fixture(scope="module")
def main() -> Any:
    path = Path(__file__).resolve().parents[3] / "script" / "convert_data.py"
    spec = importlib.util.spec_from_file_location("convert_data_script", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def solved(tmp_path: Path) -> tuple[Path, dict[str, tuple[str, str]]]:
    """A folder pddl3/ferry/ with domain3.pddl and four problem files, and {name: (problem, plan)}."""
    folder = tmp_path / "elsewhere" / "pddl3" / "ferry"
    (folder / "grpo_500").mkdir(parents=True)
    (folder / "domain3.pddl").write_text(FERRY.domain_pddl)
    texts = {FERRY.file_name({"l": 3, "c": 2}, seed).removesuffix(".pddl"): problem_text("ferry", seed) for seed in range(1, 5)}
    for name, text in texts.items():
        (folder / "grpo_500" / f"{name}.pddl").write_text(text)
    root = tmp_path / "once"
    root.mkdir()
    write(
        root,
        "ferry",
        [{"meta": {"scenario": "ferry", "problem_file": name, "problem_pddl": text}} for name, text in texts.items()],
    )
    table = read_rows(root)
    plans = planner_completions(table, range(4))
    return folder, {name: (text, plan) for (name, text), plan in zip(texts.items(), plans, strict=True)}


def prompt_of(text: str) -> str:
    return f"You are a planner.\n\nDOMAIN:\n{FERRY.domain_pddl}\n\nPROBLEM:\n{text}\n\n### Plan:\n"


def pairs_by_key(folder: Path, found: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """Two pairs a problem, by score; the scenario is in the key, and the paths are of another machine."""
    records = []
    for name, (text, plan) in found.items():
        for rejected in ("", "(sail nowhere)"):
            meta = {"problem_key": f"ferry/{name}", "chosen_score": 100, "domain_file": "/home/x/pddl3/ferry/domain3.pddl"}
            meta["problem_file"] = f"/home/x/pddl3/ferry/grpo_500/{name}.pddl"
            records.append({"prompt": prompt_of(text), "chosen": plan, "rejected": rejected, "meta": meta})
    return records


def flat_pairs(folder: Path, found: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """Without meta, files and domain: the problem is in the prompt alone."""
    ends = {"score_diff": "100-80", "scenario": "ferry"}
    return [
        {"prompt": f"Solve.\n{text}", "chosen": plan, "rejected": "(x)", "problem_id": name, **ends}
        for name, (text, plan) in found.items()
    ]


def candidates(folder: Path, found: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """Scored candidates with their files, of which the first of each problem fails."""
    return [
        {
            "problem_name": name,
            "problem_file": f"ferry/grpo_500/{name}.pddl",
            "domain_file": "ferry/domain3.pddl",
            "candidate": text,
        }
        for name, (_, plan) in found.items()
        for text in ("(sail a b)", plan)
    ]


def conversations(folder: Path, found: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "system", "content": "Plan."}, {"role": "user", "content": prompt_of(text)}],
            "chosen": [{"role": "assistant", "content": plan}],
            "rejected": [{"role": "assistant", "content": "no"}],
        }
        for text, plan in found.values()
    ]


def prompts_alone(folder: Path, found: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """Without any name: the problem in the prompt says whose it is."""
    return [{"prompt": f"Solve.\n{text}", "completion": plan} for text, plan in found.values()]


@pytest.mark.parametrize("make", [pairs_by_key, flat_pairs, candidates, conversations, prompts_alone])
@pytest.mark.parametrize("form", ["lines", "array", "UTF-16", "results"])
def test_records_of_many_forms_become_rows_with_verified_plans(
    main: Any, solved: Any, tmp_path: Path, capsys: Any, make: Any, form: str
) -> None:
    folder, found = solved
    records = make(folder, found)
    source = tmp_path / ("grpo.jsonl" if form == "lines" else "pairs.json")
    text = json.dumps({"results": records, "model": "x"} if form == "results" else records, indent=1)
    if form in ("lines", "UTF-16"):
        text = "\n".join(map(json.dumps, records))
    source.write_text(text, encoding="utf-16" if form == "UTF-16" else "utf-8-sig")
    command = [str(source), "--problem_root", str(folder.parent.parent), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{len(records)} records, 4 different problems ({len(records) - 4} repeat one)" in said and said.endswith(
        "; ferry 4\n"
    )
    table = read_rows(tmp_path / "out", on_bad_row="error")
    assert [(row.problem_text.strip(), row.response) for row in table.rows] == [
        (text.strip(), plan) for text, plan in found.values()
    ]
    assert len({row.canonical for row in table.rows}) == 4 and len(list(stream_rows(tmp_path / "out"))) == 4
    assert main(command) == 2 and "nothing was written" in capsys.readouterr().err


def test_folders_of_pddl_with_plans_are_taken_with_the_domains_nearest_to_them(main: Any, solved: Any, tmp_path: Path) -> None:
    folder, found = solved
    for name, (_, plan) in found.items():
        (folder / "grpo_500" / f"{name}.soln").write_text(plan)
    depot = folder.parent / "depot"
    depot.mkdir()
    (depot / "domain.pddl").write_text("; mine\n" + DEPOT)
    for row in depot_rows(3):
        (depot / Path(row["meta"]["problem_file"]).name).write_text(row["meta"]["problem_pddl"])
    (depot / "depot-1.plan").write_text("(fly van)")
    assert main([str(folder.parent), "--out", str(tmp_path / "out")]) == 0
    table = read_rows(tmp_path / "out", on_bad_row="error")
    assert table.domains == ("depot", "ferry")
    ferry = [table.rows[index] for index in table.indices_of("ferry")]
    assert {row.problem_text: row.response for row in ferry} == dict(found.values())
    depots = [table.rows[index] for index in table.indices_of("depot")]
    assert [row.problem_file for row in depots] == [f"depot/depot-{size}.pddl" for size in range(3)]
    assert all(row.response is None and "(define (problem" in row.prompt for row in depots)


def test_a_split_is_by_canonical_form(main: Any, tmp_path: Path) -> None:
    rng = random.Random(1)
    rows = [
        {"scenario": "ferry", "problem_id": f"p{n}", "problem_pddl": problem_text("ferry", rng.randrange(10**6))}
        for n in range(40)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main([str(tmp_path / "rows.jsonl"), "--split", "--out", str(tmp_path / "out")]) == 0
    parts = {part: read_rows(tmp_path / "out" / part).rows for part in ("train", "test")}
    assert all(split_of(row.canonical) == part == row.meta["split"] for part, found in parts.items() for row in found)
    forms = [{row.canonical for row in found} for found in parts.values()]
    assert min(map(len, forms)) >= 4 and not forms[0] & forms[1]


def test_what_cannot_be_used_is_named_and_the_rest_is_kept(main: Any, tmp_path: Path, capsys: Any) -> None:
    good = {"scenario": "ferry", "problem_id": "a", "problem_pddl": problem_text("ferry", 1)}
    lines = [json.dumps(good), "{", json.dumps({"prompt": "Plan."}), json.dumps({**good, "problem_pddl": "(define (problem x)"})]
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(lines))
    assert main([str(source), "--out", str(tmp_path / "out")]) == 1
    refused = [line for line in capsys.readouterr().err.splitlines() if line.startswith("refused: ")]
    assert [line.split(": ")[1] for line in refused] == [f"{source}:{number}" for number in (2, 3, 4)]
    assert "broken JSON" in refused[0] and "meta.scenario" in refused[1]
    assert len(read_rows(tmp_path / "out")) == 1
    source.write_text(lines[1])
    assert main([str(source), "--out", str(tmp_path / "none")]) == 2
    assert "none of 1 records can be used" in capsys.readouterr().err and not (tmp_path / "none").exists()
    for missing in (tmp_path / "nowhere", tmp_path / "out" / "nothing"):
        assert main([str(missing), "--out", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("text", ["(define (problem p) (:goal (x)))", "( DEFINE\n(Problem p) ; a ) bracket\n (:goal (x)))"])
def test_pddl_is_found_in_prose(text: str) -> None:
    assert pddl_in(f"Plan this (please):\n{text}\n) thanks (define (domain d))", "problem") == text
    assert pddl_in(text[:-1], "problem") is None and pddl_in(text, "domain") is None
