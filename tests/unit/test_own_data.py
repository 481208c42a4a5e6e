"""The commands of docs/own_data.md, run word by word on folders like those it describes."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_project.domains import get_domain
from grpo_project.pddl import render_problem
from tests.pages import bash_commands
from tests.sample_rows import DEPOT, depot_rows

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "own_data.md"
TRAINING = "train_grpo_unsloth_stl_v2.py"  # its commands are parsed by tests/unit/test_doc_commands.py
COMMANDS = [words for words in bash_commands(PAGE) if not words[1].endswith(TRAINING)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's folders: my_rows, my_pddl, and the same as pairs and as one array."""
    root = tmp_path_factory.mktemp("own")
    for name in ("data", "script", "grpo_project"):
        (root / name).symlink_to(ROOT / name)
    ferry = get_domain("ferry")
    texts = {"ferry": {}, "depot": {Path(r["meta"]["problem_file"]).name: r["meta"]["problem_pddl"] for r in depot_rows(12)}}
    for seed in range(12):
        sizes = {"l": 3 + seed % 4, "c": 1 + seed % 3}  # twelve different ones
        texts["ferry"][ferry.file_name(sizes, seed)] = render_problem(ferry.generate(random.Random(seed), sizes, False))
    merged = []
    (root / "my_rows").mkdir()
    for domain, problems in texts.items():
        files = root / "my_pddl" / domain
        (files / "grpo_500").mkdir(parents=True)
        (files / "domain3.pddl").write_text(DEPOT if domain == "depot" else ferry.domain_pddl)
        rows = []
        for name, text in problems.items():
            (files / "grpo_500" / name).write_text(text)
            meta = {"scenario": domain, "problem_id": name.removesuffix(".pddl"), "domain_file": f"pddl3/{domain}/domain3.pddl"}
            rows.append({"prompt": f"Plan.\n{text}", "meta": {**meta, "problem_file": f"pddl3/{domain}/grpo_500/{name}"}})
        (root / "my_rows" / f"{domain}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        merged += rows
    (root / "my_rows" / "merged.jsonl").write_text("".join(json.dumps(row) + "\n" for row in merged))
    (root / "my_rows" / "metadata.json").write_text(json.dumps({"total": len(merged)}))
    (root / "my_array.json").write_text(json.dumps(merged, indent=2))
    pairs = [{**row, "chosen": "(sail l0 l1)", "rejected": ""} for row in merged for _ in range(2)]
    (root / "my_pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return root


def run(folder, words):
    return subprocess.run([sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=300)


def test_the_page_holds_its_commands():
    assert len(COMMANDS) >= 8 and {words[1] for words in COMMANDS} >= {"script/convert_data.py", "script/evaluate.py"}


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS, ids=[" ".join(words)[:70] for words in COMMANDS])
def test_every_command_of_the_page_works(folder, words):
    done = run(folder, words)
    assert done.returncode == 0, done.stderr
    if "--out" in words:
        assert "24 different problems" in done.stdout and "refused" not in done.stderr
        assert list((folder / words[words.index("--out") + 1]).rglob("depot.jsonl"))
    elif "my_rows" in words and "--domains" not in words:
        assert "depot" in done.stdout and "ferry" in done.stdout and "merged.jsonl is left out" in done.stderr
