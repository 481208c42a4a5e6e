"""The bench on a few problems: every figure is printed, and what is not installed is left out in one clear line."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def bench(monkeypatch):
    spec = importlib.util.spec_from_file_location("bench", ROOT / "script" / "bench.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench", module)
    spec.loader.exec_module(module)
    for name, value in (("PASSES", 1), ("VAL_CASES", 30), ("UNIFIED_PLANNING_CASES", 4)):
        monkeypatch.setattr(module, name, value)
    return module


@pytest.mark.slow
def test_every_figure_of_the_verifier_is_printed(bench, capsys):
    bench.bench_verifier(problems_per_domain=2)
    shown = capsys.readouterr().out
    for words in (
        r"verifier: \d+ plans for 10 problems; .*success_plans \d+|success_plans",
        r"reading one: domain [\d.]+ ms, problem [\d.]+ ms",
        r"warm +[\d,]+ validations/s",
        r"first pass +[\d,]+ validations/s",
        r"VAL +[\d.]+ ms a plan.*: \d+ times as fast",
        r"reward of 80 completions, 10 prompts: .* again [\d.]+ ms",
    ):
        assert re.search(words, shown), words
    same, compared = map(int, re.search(r"same class and step on (\d+) of (\d+)", shown).groups())
    assert same == compared >= 10
    assert "unified-planning" in shown


def test_the_cases_are_of_every_class(bench):
    from grpo_project.common.random_streams import stream
    from grpo_project.data.rows import read_rows

    rows = read_rows(ROOT / "data" / "test")
    chosen = [index for domain in rows.domains for index in rows.indices_of(domain)[:4]]
    rng = stream("bench", "test")
    cases = [case for i in chosen for case in bench.make_cases(rng, rows.task(i), rows.rows[i].response, i)]
    assert len(set(bench.verdicts_of(rows, cases))) == 5
    assert len({(case.row_index, case.text) for case in cases}) == len(cases) > 15 * len(chosen)


def test_what_is_not_installed_is_left_out_by_name(bench, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("VAL_BINARY", str(tmp_path / "none"))
    monkeypatch.setitem(sys.modules, "unified_planning.engines", None)
    bench.bench_verifier(problems_per_domain=1)
    shown = capsys.readouterr().out
    assert "VAL: left out. VAL_BINARY names" in shown
    assert "unified-planning: left out, not installed (pip install -r requirements-dev.txt)" in shown
    assert "reward of" in shown


@pytest.mark.slow
def test_the_ratios_of_shared_prompts_are_printed_and_their_gradients_agree(bench, capsys, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(bench, "SHARED_PROMPTS", 4)
    monkeypatch.setattr(bench, "SHARED_ROWS", 16)
    bench.bench_prompts()
    shown = capsys.readouterr().out
    assert len(re.findall(r"ratio \d+\.\d\d", shown)) == 2 and "32 completions, 8 to a prompt" in shown
    assert float(re.search(r"differ by (\S+) of", shown)[1]) < 1e-4
