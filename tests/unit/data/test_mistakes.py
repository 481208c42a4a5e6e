"""Demonstrations of repairs: the plan before the verdict fails, the one after it is right, and it alone is learned."""

from __future__ import annotations

import json
import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from grpo_project.data.corpus import CorpusConfig, attempt, parse_ranges
from grpo_project.data.instances import split_of
from grpo_project.data.mistakes import mistaken
from grpo_project.data.rows import read_rows, stream_rows
from grpo_project.domains import get_domain, training_domains
from grpo_project.errors import ConfigError, DataError
from grpo_project.pddl import compile_task, parse_problem, validate_text
from grpo_project.pddl.canonical import canonical_form
from grpo_project.prompting import PLAIN_CHAT


def rows_of(domain: str, count: int, **how: Any) -> list[dict[str, Any]]:
    config = CorpusConfig("", sizes="small", plans="policy", **how)
    ranges = parse_ranges("small", [get_domain(domain)])[domain]
    found = [attempt(get_domain(domain), config, ranges, index) for index in range(count)]
    return [row for row in found if row is not None]


@pytest.mark.parametrize(("domain", "names"), [*product(training_domains(), ("conventional", "drawn"))])
def test_the_first_plan_fails_and_the_last_is_right(domain: str, names: str) -> None:
    known = get_domain(domain)
    rows = rows_of(domain, 40, repairs_share=1.0, ignore_constraints_share=1.0, names=names)
    repairs = [row for row in rows if "turns" in row]
    assert len(repairs) > 20
    for row in repairs:
        wrong, said = row["turns"]
        task = compile_task(known.domain, parse_problem(row["meta"]["problem_pddl"], known.domain))
        assert not validate_text(task, wrong).success and said.startswith("The plan fails.")
        assert validate_text(task, row["response"]).success


def test_without_repairs_nothing_changes_and_a_share_leaves_the_other_rows_as_they_are() -> None:
    plain, mixed = rows_of("ferry", 120), rows_of("ferry", 120, repairs_share=0.5, prompt_style="full")
    assert len(plain) == len(mixed)
    repairs = sum("turns" in row for row in mixed)
    assert 0.3 < repairs / len(mixed) < 0.7
    assert [{key: row[key] for key in row if key != "turns"} for row in mixed] == plain


@pytest.mark.parametrize("domain", [*training_domains()])
def test_the_rest_of_a_plan_solves_what_is_left_of_its_problem(domain: str) -> None:
    known = get_domain(domain)
    rows = rows_of(domain, 60, middle_share=1.0, repairs_share=0.3, ignore_constraints_share=1.0)
    begun = [row for row in rows if "steps_taken" in row["meta"]]
    assert len(begun) > 15 and any("turns" in row for row in begun)
    for row in begun:
        problem = parse_problem(row["meta"]["problem_pddl"], known.domain)
        task = compile_task(known.domain, problem)
        assert validate_text(task, row["response"]).success
        assert row["meta"]["canonical"] == canonical_form(known.domain, problem)
        assert split_of(row["meta"]["canonical"]) == "train"
        assert not any(validate_text(task, turn).success for turn in row.get("turns", [])[:1])


def test_every_kind_of_mistake_is_made() -> None:
    steps = [("a", "x"), ("b", "x"), ("c", "x"), ("d", "x")]
    made = {tuple(mistaken(steps, ["x", "y"], random.Random(seed))) for seed in range(200)}
    assert tuple(steps[:2]) in made and tuple(steps[1:]) in made
    assert (steps[1], steps[0], *steps[2:]) in made and (("a", "y"), *steps[1:]) in made


def test_the_last_plan_alone_is_learned(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from grpo_project.models.tokenizer import build_planner_tokenizer
    from grpo_project.sft.examples import IGNORED_LABEL, read_examples

    row = next(row for row in rows_of("ferry", 9, repairs_share=1.0, prompt_style="compact") if "turns" in row)
    (tmp_path / "ferry.jsonl").write_text(json.dumps(row) + "\n")
    tokenizer = build_planner_tokenizer()
    example = read_examples([str(tmp_path)], tokenizer, "compact")[0]
    wrong, said = row["turns"]
    whole = f"<|user|>{row['prompt']}<|assistant|>{wrong}<eos><|user|>{said}<|assistant|>{row['response']}<eos>"
    assert tokenizer.decode(example["input_ids"]) == whole
    learned = example["labels"][example["labels"] != IGNORED_LABEL]
    assert tokenizer.decode(learned) == f"{row['response']}<eos>"
    with pytest.raises(DataError, match="turns in the words of the compact prompt, but the model reads full"):
        read_examples([str(tmp_path)], tokenizer, "full", chat=PLAIN_CHAT)


def test_turns_that_are_none_are_a_bad_row(tmp_path: Path) -> None:
    row = rows_of("ferry", 3)[0]
    for turns in (["one"], "text", [1, 2]):
        (tmp_path / "ferry.jsonl").write_text(json.dumps(row | {"turns": turns}) + "\n")
        with pytest.raises(DataError, match=r"ferry.jsonl:1: turns must"):
            list(stream_rows(tmp_path))
    (tmp_path / "ferry.jsonl").write_text(json.dumps(row | {"turns": ["no", "not ?"]}) + "\n")
    assert read_rows(tmp_path).rows[0].turns == ("no", "not ?")


def test_what_cannot_be_is_refused() -> None:
    for how, message in (
        ({"repairs_share": 2.0}, "--repairs_share must lie"),
        ({"repair_detail": "all"}, "--repair_detail must be one of failed, step, state"),
        ({"repairs_share": 0.5, "with_prompt": False}, "--repairs_share and --no_prompt"),
    ):
        with pytest.raises(ConfigError, match=message):
            CorpusConfig("", **how)
