"""script/generate_data.py: rows that hold what they promise, the same whatever happens on the way."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grpo_project.common import files
from grpo_project.data import corpus
from grpo_project.data.corpus import parse_ranges
from grpo_project.data.instances import split_of
from grpo_project.data.rows import read_rows
from grpo_project.domains import get_domain, training_domains
from grpo_project.errors import ConfigError
from grpo_project.pddl import compile_task, parse_domain, parse_problem, validate_text
from grpo_project.pddl.canonical import canonical_form

SCRIPT = Path(__file__).resolve().parents[3] / "script" / "generate_data.py"


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("generate_data", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


main = _load().main


def run(out: Path, *arguments: str) -> int:
    return int(main(["--out", str(out), "--workers", "1", *arguments]))


def _runs_the_script(pid: str) -> bool:
    try:
        return SCRIPT.name in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return False


def rows_of(out: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_rows_are_solved_and_say_what_they_are(tmp_path: Path) -> None:
    assert run(tmp_path, "--count", "6", "--constraints_share", "0.5") == 0
    kinds = set()
    for name, domain in training_domains().items():
        rows = rows_of(tmp_path, name)
        assert len(rows) == 6
        for row in rows:
            meta = row["meta"]
            domain_text = (tmp_path / meta["domain_file"]).read_text(encoding="utf-8")
            assert domain_text == domain.domain_pddl
            problem = parse_problem(meta["problem_pddl"], parse_domain(domain_text))
            verdict = validate_text(compile_task(domain.domain, problem), row["response"])
            assert verdict.success and verdict.plan_cost == meta["reference_cost"]
            assert meta["reference_optimal"] is True
            assert meta["scenario"] == name and meta["split"] == "train"
            assert meta["constraints"] == (problem.constraints is not None)
            assert meta["canonical"] == canonical_form(domain.domain, problem)
            assert split_of(meta["canonical"]) == "train"
            read = domain.parameters_of(meta["problem_file"])
            assert read is not None and meta["parameters"] == {p: v for p, v in read.items() if p != "seed"}
            assert meta["problem_pddl"].strip() in row["prompt"]
            kinds.add(meta["constraints"])
        assert len({row["meta"]["canonical"] for row in rows}) == 6
    assert kinds == {True, False}
    assert len(read_rows(tmp_path, None, "error")) == 6 * len(training_domains())


def test_the_manifest_says_how_to_repeat_it(tmp_path: Path) -> None:
    assert run(tmp_path, "--domains", "ferry", "--count", "4", "--seed", "9", "--sizes", "l=3-4,c=1") == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    asked = manifest["arguments"]
    assert (asked["seed"], asked["count"], asked["sizes"], asked["domains"]) == (9, 4, "l=3-4,c=1", ["ferry"])
    assert asked["node_budget"] > 0 and asked["generator_version"]
    ferry = manifest["domains"]["ferry"]
    assert ferry["rows"] == 4 and ferry["not_proven_optimal"] == 0
    assert ferry["sha256"] == hashlib.sha256((tmp_path / "ferry.jsonl").read_bytes()).hexdigest()
    assert all(row["meta"]["parameters"]["l"] in (3, 4) for row in rows_of(tmp_path, "ferry"))
    assert str(tmp_path) not in json.dumps(manifest)  # so that equal data have equal manifests


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    arguments = ["--domains", "grippers", "spanner", "--count", "30", "--seed", "3"]
    assert main(["--out", str(tmp_path / "one"), "--workers", "1", *arguments]) == 0
    assert main(["--out", str(tmp_path / "three"), "--workers", "3", *arguments]) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_splits_and_shards_never_share_a_problem(tmp_path: Path) -> None:
    common = ["--domains", "delivery", "--seed", "3", "--count", "30"]
    forms = []
    for name, arguments in {
        "a": ["--shard", "0/2"],
        "b": ["--shard", "1/2"],
        "test": ["--split", "test"],
    }.items():
        assert run(tmp_path / name, *common, *arguments) == 0
        forms.append({row["meta"]["canonical"] for row in rows_of(tmp_path / name, "delivery")})
    assert [len(part) for part in forms] == [15, 15, 30]
    assert len(set.union(*forms)) == 60


def test_a_finished_folder_is_left_alone_and_another_command_line_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--domains", "ferry", "--count", "5"]
    assert run(tmp_path, *arguments) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run(tmp_path, *arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    capsys.readouterr()
    assert run(tmp_path, "--domains", "ferry", "--count", "6") == 2
    message = capsys.readouterr().err
    assert "count=5" in message and "6" in message and message.count("\n") == 1
    assert run(tmp_path, *arguments, "--no-constraints") == 2
    assert "constraints_share=1.0" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_file_that_got_lost_is_made_again(tmp_path: Path) -> None:
    arguments = ["--domains", "blocksworld", "ferry", "--count", "5", "--plans", "varied_policy"]
    assert run(tmp_path, *arguments) == 0
    whole = contents(tmp_path)
    (tmp_path / "ferry.jsonl").unlink()
    assert run(tmp_path, *arguments) == 0
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("style", ["compact", "schemas"])
def test_reasoning_stands_before_the_plan_where_the_rule_has_some(tmp_path: Path, style: str) -> None:
    arguments = ["--domains", "delivery", "spanner", "--count", "6", "--plans", "reasoned_policy", "--prompt_style", style]
    assert run(tmp_path, *arguments) == 0
    for row in [*rows_of(tmp_path, "delivery"), *rows_of(tmp_path, "spanner")]:
        reasoning, plan = row["response"].split("</think>\n")
        assert reasoning.startswith("<think> ") and plan.startswith("(")
        prompt = set(row["prompt"].split())
        assert {word for word in reasoning.split()[1:] if word not in "!=;"} <= prompt  # in the symbols that were asked
    for row in read_rows(tmp_path).rows:
        assert validate_text(compile_task(row.domain, row.problem), row.response or "").success


def test_rows_from_the_middle_of_a_plan_have_no_reasoning(tmp_path: Path) -> None:
    arguments = ["--domains", "delivery", "--count", "12", "--plans", "reasoned_policy", "--middle_share", "0.5"]
    assert run(tmp_path, *arguments) == 0
    rows = rows_of(tmp_path, "delivery")
    assert 0 < sum("steps_taken" in row["meta"] for row in rows) < 12
    assert all(row["response"].startswith("<think>") != ("steps_taken" in row["meta"]) for row in rows)


def test_a_repair_has_the_reasoning_of_its_own_plan(tmp_path: Path) -> None:
    """Not that of the careless plan which fails before it. In ferry each line says where the ferry goes for one car."""
    arguments = ["--domains", "ferry", "--count", "20", "--plans", "reasoned_policy", "--repairs_share", "1.0"]
    assert run(tmp_path, *arguments) == 0
    for row in rows_of(tmp_path, "ferry"):
        reasoning, plan = row["response"].split(" </think>\n")
        said = [place for line in reasoning.removeprefix("<think> ").split(" ;") for place in line.split()[1:]]
        steps = [step.strip("()").split() for step in plan.splitlines()]
        entered = [step[2] for step in steps if step[0] == "sail"]
        assert entered and set(entered) <= set(said)
        assert row["turns"] and all("<think>" not in turn for turn in row["turns"])
        required = re.findall(r"sometime-before \(at \S+ \S+\) \(at-ferry ([^\s()]+)\)", row["meta"]["problem_pddl"])
        assert required and set(required) <= set(said)


def test_a_share_of_the_plans_ignores_constraints_and_says_so(tmp_path: Path) -> None:
    arguments = ["--domains", "ferry", "spanner", "--count", "40", "--plans", "policy", "--ignore_constraints_share", "0.5"]
    assert run(tmp_path, *arguments) == 0
    for domain in ("ferry", "spanner"):
        broken = 0
        rows = rows_of(tmp_path, domain)
        for row in rows:
            known = get_domain(domain)
            problem = parse_problem(row["meta"]["problem_pddl"], known.domain)
            verdict = validate_text(compile_task(known.domain, problem), row["response"])
            if row["meta"].get("plan_ignores_constraints"):
                broken += verdict.verdict_class == "safety_constraints_violation"
                verdict = validate_text(compile_task(known.domain, replace(problem, constraints=None)), row["response"])
            assert verdict.success
        careless = sum(row["meta"].get("plan_ignores_constraints", False) for row in rows)
        assert 10 <= careless <= 30 and broken >= 3


def test_a_folder_or_a_disk_that_refuses_ends_in_one_line_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["--domains", "ferry", "--count", "3", "--workers", "1"]
    assert run(tmp_path / "file" / "rows", *arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path}/file") and told.count("\n") == 1

    def full(descriptor: int) -> None:
        if "partial" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert run(tmp_path / "rows", *arguments) == 2
    told = capsys.readouterr().err
    assert told.endswith("ferry.jsonl.partial cannot be written or read: No space left on device\n")
    assert run(tmp_path / "rows", *arguments) == 0
    assert len((tmp_path / "rows" / "ferry.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_rows_of_another_origin_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ferry.jsonl").write_text("mine\n", encoding="utf-8")
    assert run(tmp_path, "--domains", "ferry", "--count", "5") == 2
    assert "manifest.json" in capsys.readouterr().err
    assert (tmp_path / "ferry.jsonl").read_text(encoding="utf-8") == "mine\n"
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    assert run(tmp_path, "--domains", "ferry", "--count", "5") == 2
    assert (tmp_path / "manifest.json").read_text(encoding="utf-8") == "{"


@pytest.mark.parametrize("tail", ["", '{"prompt": "half a ro'])
def test_a_run_stopped_between_and_inside_rows_goes_on_to_the_same_files(tmp_path: Path, tail: str) -> None:
    arguments = ["--domains", "blocksworld", "ferry", "--count", "20"]
    assert run(tmp_path / "whole", *arguments) == 0
    whole = contents(tmp_path / "whole")

    # What a kill in the middle of the first domain leaves behind.
    torn = tmp_path / "torn"
    torn.mkdir()
    manifest = json.loads(whole["manifest.json"])
    (torn / "manifest.json").write_text(json.dumps({**manifest, "domains": {}}), encoding="utf-8")
    lines = whole["blocksworld.jsonl"].decode().splitlines(keepends=True)
    (torn / "blocksworld.jsonl.partial").write_text("".join(lines[:7]) + tail, encoding="utf-8")
    assert run(torn, *arguments) == 0
    assert contents(torn) == whole


def test_a_killed_process_leaves_no_worker_and_goes_on(tmp_path: Path) -> None:
    arguments = ["--domains", "spanner", "--count", "150", "--seed", "5", "--workers", "2"]
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, str(SCRIPT), "--out", str(out), *arguments], stdout=subprocess.DEVNULL)
    partial = out / "spanner.jsonl.partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size > 0) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it finished before it could be killed: raise --count"
    assert not (out / "spanner.jsonl").exists()
    assert main(["--out", str(out), *arguments]) == 0
    assert main(["--out", str(tmp_path / "whole"), *arguments]) == 0
    assert contents(out) == contents(tmp_path / "whole")
    deadline = time.monotonic() + 30
    while any(_runs_the_script(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived the process that was killed"
        time.sleep(0.1)


def test_a_folder_without_a_name_is_not_the_current_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--domains", "ferry", "--count", "1", "--out", ""]) == 2
    assert "--out must name a folder" in capsys.readouterr().err


def test_problems_of_rows_in_symbols_are_kept_out_too(tmp_path: Path) -> None:
    """Their predicates have other names, so their PDDL alone would not tell."""
    which = ["--domains", "ferry", "--count", "6", "--sizes", "small"]
    assert run(tmp_path / "symbols", *which, "--prompt_style", "schemas") == 0
    assert run(tmp_path / "others", *which, "--exclude", str(tmp_path / "symbols")) == 0
    forms = [
        {json.loads(line)["meta"]["canonical"] for line in (tmp_path / name / "ferry.jsonl").read_text().splitlines()}
        for name in ("symbols", "others")
    ]
    assert len(forms[0]) == len(forms[1]) == 6 and not forms[0] & forms[1]


def test_two_at_once_in_one_folder_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both would append to one file of rows."""
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
    with files.alone_in(tmp_path):
        assert run(tmp_path, "--domains", "ferry", "--count", "2") == 2
    assert "is in use by another process" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_an_exhausted_space_says_how_many_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "PATIENCE", 600)
    arguments = ["--domains", "delivery", "--sizes", "s=2,p=1", "--no-constraints", "--count", "50"]
    assert run(tmp_path / "unique", *arguments) == 2
    message = capsys.readouterr().err
    assert "delivery" in message and "of 50 rows" in message and "--allow_duplicates" in message
    assert run(tmp_path / "all", *arguments, "--allow_duplicates") == 0
    rows = rows_of(tmp_path / "all", "delivery")
    found = {row["meta"]["canonical"] for row in rows}
    assert len(rows) == 50 and f"after {len(found)} of" in message


def test_compact_rows_without_pddl(tmp_path: Path) -> None:
    assert run(tmp_path, "--domains", "ferry", "--count", "3", "--prompt_style", "compact", "--no_inline") == 0
    for row in rows_of(tmp_path, "ferry"):
        assert row["prompt"].startswith("ferry +empty-ferry l0 +location ") and "\n" not in row["prompt"]
        assert row["meta"]["prompt_style"] == "compact" and "problem_pddl" not in row["meta"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--domains", "chess"], "chess"),
        (["--domains", "ferry", "ferry"], "twice"),
        (["--count", "0"], "--count"),
        (["--sizes", "z=3"], "'z'"),
        (["--sizes", "n=5-3"], "5-3"),
        (["--sizes", "huge"], "huge"),
        (["--domains", "spanner", "--sizes", "s=2,n=3"], "spanner"),
        (["--shard", "2/2"], "--shard"),
        (["--constraints_share", "1.5"], "--constraints_share"),
        (["--node_budget", "0"], "--node_budget"),
        (["--workers", "-1"], "--workers"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert main(["--out", str(tmp_path / "new"), *arguments]) == 2
    message = capsys.readouterr().err
    assert named in message and message.count("\n") == 1
    assert not list(tmp_path.rglob("*.jsonl"))


def test_help_needs_no_library() -> None:
    program = (
        "import sys, runpy\nsys.argv = ['generate_data.py', '--help']\n"
        f"try: runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert not {'torch', 'rich', 'grpo_project.domains'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--constraints_share" in result.stdout


def test_a_held_out_domain_is_made_only_by_name(tmp_path: Path) -> None:
    assert run(tmp_path / "all", "--count", "1") == 0
    assert {path.stem for path in (tmp_path / "all").glob("*.jsonl")} == set(training_domains())
    assert run(tmp_path / "one", "--count", "1", "--domains", "elevator", "--split", "test") == 0
    assert get_domain("elevator").held_out and len(rows_of(tmp_path / "one", "elevator")) == 1


def test_rows_without_a_prompt_are_smaller_and_read_the_same(tmp_path: Path) -> None:
    arguments = ["--domains", "ferry", "--count", "5", "--seed", "4"]
    assert run(tmp_path / "with", *arguments) == 0
    assert run(tmp_path / "without", *arguments, "--no_prompt") == 0
    sizes = [(tmp_path / name / "ferry.jsonl").stat().st_size for name in ("with", "without")]
    assert sizes[1] < 0.5 * sizes[0]
    with_prompt, without = (read_rows(tmp_path / name, None, "error").rows for name in ("with", "without"))
    assert [row.prompt for row in with_prompt] == [row.prompt for row in without]
    assert [row.problem for row in with_prompt] == [row.problem for row in without]
    assert run(tmp_path / "with", *arguments, "--no_prompt") == 2  # a folder holds one kind of rows
    assert run(tmp_path / "without", *arguments) == 2


def test_excluded_problems_come_up_under_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--domains", "delivery", "--sizes", "s=2,p=1", "--plans", "policy", "--allow_duplicates", "--count", "30"]
    assert run(tmp_path / "benchmark", *small, "--seed", "5", "--count", "1") == 0
    (kept_out,) = (row["meta"]["canonical"] for row in rows_of(tmp_path / "benchmark", "delivery"))
    exclude = ["--exclude", str(tmp_path / "benchmark")]
    assert run(tmp_path / "all", *small) == 0 and run(tmp_path / "clean", *small, *exclude) == 0
    forms = [[row["meta"]["canonical"] for row in rows_of(tmp_path / name, "delivery")] for name in ("all", "clean")]
    assert kept_out in forms[0] and kept_out not in forms[1]
    rest = [form for form in forms[0] if form != kept_out]
    assert forms[1][: len(rest)] == rest  # the same stream, less what is kept out
    manifest = json.loads((tmp_path / "clean" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["arguments"]["exclude"] == {"problems": 1, "sha256": hashlib.sha256(kept_out.encode()).hexdigest()}
    assert "exclude" not in json.loads((tmp_path / "all" / "manifest.json").read_text(encoding="utf-8"))["arguments"]
    assert run(tmp_path / "clean", *small) == 2
    assert "exclude" in capsys.readouterr().err
    assert run(tmp_path / "none", *small, "--exclude", str(tmp_path / "nothing")) == 2
    assert str(tmp_path / "nothing") in capsys.readouterr().err


def test_sizes_go_from_one_named_range_to_another() -> None:
    domains = [get_domain("ferry"), get_domain("blocksworld")]
    assert parse_ranges("small-far", domains) == {
        "ferry": {"l": (3, 12), "c": (1, 8)},
        "blocksworld": {"ops": (3, 4), "n": (3, 12)},
    }
    with pytest.raises(ConfigError, match="no chosen domain has a size 'small-huge'"):
        parse_ranges("small-huge", domains)
