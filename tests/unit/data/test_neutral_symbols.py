"""A problem under neutral symbols is the same problem, its prompt says all of it, and no word tells which domain it is."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from grpo_project.data.asked_words import Words, in_asked_words, table_in_asked_words
from grpo_project.data.instances import generate_instance, row_of
from grpo_project.data.neutral_symbols import SYMBOLS, under_neutral_symbols
from grpo_project.data.prompts import row_prompt
from grpo_project.data.rows import Row, RowTable, read_rows
from grpo_project.domains import all_domains
from grpo_project.errors import ConfigError, DataError
from grpo_project.pddl import compile_task, parse_domain, parse_problem, render_problem, validate_text
from grpo_project.pddl.model import Literal
from grpo_project.prompting.schemas import render_schemas

ROOT = Path(__file__).resolve().parents[3]
SYMBOL = re.compile(r"(act|pred|type|obj)\d+|v\d+")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    table = read_rows(ROOT / "data" / "test")
    return [table.rows[index] for name in table.domains for index in table.indices_of(name)[:10]]


def test_plans_go_there_and_back_with_the_same_verdicts(rows: list[Row]) -> None:
    for row in rows:
        asked, words = in_asked_words(row, "schemas")
        assert row.response is not None and asked.response is not None and asked.response != row.response
        assert words.own(asked.response) == row.response
        steps = row.response.splitlines()
        for plan in (steps, steps[:-1], steps[1:], [*steps[1:], steps[0]]):
            own, theirs = "\n".join(plan), words.asked("\n".join(plan))
            ours = validate_text(compile_task(row.domain, row.problem), own)
            found = validate_text(compile_task(asked.domain, asked.problem), theirs)
            assert (found.verdict_class, found.state_index) == (ours.verdict_class, ours.state_index)


def test_no_word_of_the_domain_is_left(rows: list[Row]) -> None:
    for row in rows:
        asked, _ = in_asked_words(row, "schemas")
        plain = [word.lstrip("?-<>+=!#@").removesuffix("~") for word in row_prompt(asked, "schemas").split()]
        left = {word for word in plain if not SYMBOL.fullmatch(word)} - {"(", ")", ""}
        assert left <= {
            "and",
            "not",
            "or",
            "imply",
            "forall",
            "exists",
            "always",
            "sometime",
            "sometime-before",
            "at-most-once",
        }, left


def test_symbols_are_drawn_anew_for_every_problem_and_the_same_for_the_same(rows: list[Row]) -> None:
    blocks = [row for row in rows if row.scenario == "blocksworld"]
    drawn = [in_asked_words(row, "schemas")[1].actions["stack"] for row in blocks]
    assert len(set(drawn)) > 3
    assert drawn == [in_asked_words(replace(row), "schemas")[1].actions["stack"] for row in blocks]


def test_the_prompt_says_every_action_and_every_fact(rows: list[Row]) -> None:
    """Read back from the words by hand: what actions need, add and delete, initial atoms, goals."""
    for row in rows:
        asked, _ = in_asked_words(row, "schemas")
        actions, initial, goals = _read_back(row_prompt(asked, "schemas").split(), asked)
        assert initial == asked.problem.init
        parts = getattr(asked.problem.goal, "parts", (asked.problem.goal,))
        assert goals == {part.atom for part in parts if isinstance(part, Literal)}
        assert actions.keys() == asked.domain.actions.keys()
        for name, action in asked.domain.actions.items():
            parameters = {parameter.name: f"v{place}" for place, parameter in enumerate(action.parameters, 1)}
            told = {
                ">": {effect.add for effect in action.effects if effect.add},
                "<": {effect.delete for effect in action.effects if effect.delete},
                "?": {
                    part.atom
                    for part in getattr(action.precondition, "parts", (action.precondition,))
                    if isinstance(part, Literal)
                },
            }
            for sigil, atoms in told.items():
                assert actions[name][sigil] == {(predicate, *(parameters[term] for term in terms)) for predicate, *terms in atoms}


Atoms = set[tuple[str, ...]]


def _read_back(words: list[str], row: Row) -> tuple[dict[str, dict[str, Atoms]], Atoms, Atoms]:
    """(actions with what they need, add and delete; initial atoms; goals) of a prompt, knowing how many terms a predicate has."""
    arity = {name: len(parameters) for name, parameters in row.domain.predicates.items()} | {"=": 2}
    actions: dict[str, dict[str, Atoms]] = {}
    initial, goals, apart = set[tuple[str, ...]](), set[tuple[str, ...]](), list[str]()
    index, about = 0, ""
    while index < len(words) and not words[index].startswith("@"):
        word = words[index]
        sigil, predicate = re.fullmatch(r"(\?-|[?<>+=!#]?)(.*)", word).groups()  # type: ignore[union-attr]
        index += 1
        if word in row.domain.actions:
            actions[word] = {sigil: set() for sigil in ("?", "?-", ">", "<")}
            while words[index].startswith("v"):
                index += 1
        elif sigil in ("?", "?-", ">", "<"):
            actions[list(actions)[-1]][sigil].add((predicate, *words[index : index + arity[predicate]]))
            index += arity[predicate]
        elif sigil == "#":
            while words[index] in row.problem.objects:
                apart.append(words[index])
                index += 1
            follows = words[index].lstrip("+=!").removesuffix("~")
            if arity[follows] > 0:  # the last one is what the next fact is about
                about = apart.pop()
            initial |= {(predicate, *pair) for pair in permutations(apart, 2)}
        elif word in row.problem.objects:
            about = word
        else:
            backwards, predicate = predicate.endswith("~"), predicate.removesuffix("~")
            terms = [about, *words[index : index + arity[predicate] - 1]] if arity[predicate] else []
            index += max(0, arity[predicate] - 1)
            atom = (predicate, *(reversed(terms) if backwards else terms))
            if sigil in "+=":
                initial.add(atom)
            if sigil in "=!":
                goals.add(atom)
    return actions, initial, goals


def test_what_there_are_too_few_symbols_for_is_named() -> None:
    domain = all_domains()["ferry"]
    instance = generate_instance(domain, 1, 0, {"l": (70, 70), "c": (20, 20)}, 0.0)
    row = row_of(domain, instance, "mine.jsonl:7")
    with pytest.raises(
        DataError, match=r"mine.jsonl:7: .*90 names become obj1, obj2, ... in the prompt style schemas, which has 80"
    ):
        in_asked_words(row, "schemas")
    assert SYMBOLS["obj"] == 80


def test_types_that_no_prompt_shows_need_no_symbol(rows: list[Row]) -> None:
    """Nine types, as depots of the competition has; one of them is quantified over."""
    types = " ".join(f"kind{number}" for number in range(9))
    domain = parse_domain(
        f"(define (domain nine) (:requirements :adl :typing :constraints) (:types {types}) (:predicates (at ?x) (gone ?x))"
        "(:action go :parameters (?x - kind0) :precondition (at ?x) :effect (and (gone ?x) (not (at ?x)))))"
    )
    text = "(define (problem p) (:domain nine) (:objects {}) (:init (at a)) (:goal (gone a)) (:constraints {}))"
    problem = parse_problem(text.format("a - kind0 b - kind1", "(forall (?k - kind0) (at-most-once (gone ?k)))"), domain)
    renamed, asked, names = under_neutral_symbols(domain, problem, random.Random(1))
    assert names.types["kind0"].startswith("type") and names.types["kind1"].startswith("unshown")
    assert len(set(names.types.values())) == 9
    shown = render_schemas(renamed, asked)
    assert names.types["kind0"] in shown and "unshown" not in shown
    every = " ".join(f"(forall (?k - kind{number}) (at-most-once (gone ?k)))" for number in range(9))
    crowded = parse_problem(text.format("a - kind0", f"(and {every})"), domain)
    with pytest.raises(DataError, match="9 names become type1, type2"):
        under_neutral_symbols(domain, crowded, random.Random(1))


def test_an_action_with_more_parameters_than_words_is_named() -> None:
    parameters = " ".join(f"?p{number}" for number in range(9))
    domain = parse_domain(
        f"(define (domain wide) (:predicates (at ?x)) (:action go :parameters ({parameters}) :precondition (at ?p0)"
        " :effect (not (at ?p0))))"
    )
    problem = parse_problem("(define (problem p) (:domain wide) (:objects a) (:init (at a)) (:goal (at a)))", domain)
    with pytest.raises(DataError, match="problem p: action go has 9 parameters, and the prompt style schemas has words for 8"):
        under_neutral_symbols(domain, problem, random.Random(1))


def test_actions_that_are_more_than_literals_are_refused_in_one_line(rows: list[Row]) -> None:
    text = all_domains()["blocksworld"].domain_pddl.replace(
        ":precondition (holding ?block)", ":precondition (or (holding ?block) (arm-empty))", 1
    )
    domain = parse_domain(text)
    problem = parse_problem(
        "(define (problem p) (:domain blocksworld) (:objects a b) (:init (arm-empty)) (:goal (on a b)))", domain
    )
    with pytest.raises(
        ConfigError, match="domain blocksworld: the prompt style schemas is for actions whose conditions and effects"
    ):
        render_schemas(domain, problem)
    row = replace(rows[0], meta={**rows[0].meta, "domain_pddl": text, "problem_pddl": render_problem(problem)})
    with pytest.raises(ConfigError, match="domain blocksworld: "):  # by the name that its user knows
        in_asked_words(row, "schemas")


def test_only_a_predicate_of_all_pairs_is_said_once() -> None:
    """With one pair missing every pair is said."""
    domain = all_domains()["ferry"]
    problem = generate_instance(domain, 1, 0, {"l": (4, 4), "c": (1, 1)}, 0.0).problem
    short = render_schemas(domain.domain, problem)
    assert "#not-eq l0 l1 l2 l3" in short and "+not-eq" not in short
    init = problem.init - {("not-eq", "l0", "l1")}
    assert render_schemas(domain.domain, replace(problem, init=init)).count("+not-eq ") == 11


def test_rows_that_are_in_symbols_already_stay_as_they_are(rows: list[Row]) -> None:
    asked, _ = in_asked_words(rows[0], "schemas")
    told = replace(asked, meta={**asked.meta, "prompt_style": "schemas"})
    assert in_asked_words(told, "schemas") == (told, Words())


def test_a_table_keeps_its_indices_and_its_tasks_are_those_of_the_symbols(rows: list[Row]) -> None:
    table = RowTable(rows[0].origin, list(dict.fromkeys(row.scenario for row in rows)), rows, (), "rows")
    asked = table_in_asked_words(table, "schemas")
    assert [row.problem_file for row in asked.rows] == [row.problem_file for row in rows] and asked.domains == table.domains
    for index, row in enumerate(asked.rows):
        assert row.response is not None and validate_text(asked.task(index), row.response).success


def test_the_drawn_domain_is_read_back_from_its_pddl(rows: list[Row]) -> None:
    for row in rows:
        domain, problem, names = under_neutral_symbols(row.domain, row.problem, random.Random(1))
        assert parse_problem(render_problem(problem, domain), domain) == problem
        goal = [part.atom for part in getattr(problem.goal, "parts", (problem.goal,)) if isinstance(part, Literal)]
        own = [part.atom for part in getattr(row.problem.goal, "parts", (row.problem.goal,)) if isinstance(part, Literal)]
        assert goal == [(names.predicates[p], *(names.objects[o] for o in objects)) for p, *objects in own]


def test_an_action_and_an_object_may_share_a_name() -> None:
    words = Words({"load": "act1"}, {"load": "obj2", "a": "obj3"})
    assert words.asked("( LOAD load a)\n(load a load)\n") == "( act1 obj2 obj3)\n(act1 obj3 obj2)\n"
    assert words.own("(act1 obj2 obj3)") == "(load load a)" and words.own("act1 obj3") == "load a"


def test_a_symbol_that_the_model_made_up_is_no_object_of_that_name() -> None:
    words = Words({"load": "act3", "act7": "act1"}, {"obj29": "obj7", "x": "obj9"})
    assert words.own("(act3 obj7 obj9 obj29)\n(act7 obj9)\n(act1 obj5)") == (
        "(load obj29 x unknown-obj29)\n(unknown-act7 x)\n(act7 obj5)"
    )
