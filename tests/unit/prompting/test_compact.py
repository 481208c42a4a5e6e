"""The compact prompt: what it says, that it loses nothing, and that the order of a file does not show in it."""

from __future__ import annotations

import pytest
from shipped_domains import TRAINED

from grpo_project.data.rows import read_rows
from grpo_project.domains import get_domain
from grpo_project.errors import ConfigError
from grpo_project.pddl import parse_domain, parse_problem, render_constraint, render_formula
from grpo_project.pddl.model import And, ConstraintAnd, Domain, Problem
from grpo_project.prompting import INSTRUCTIONS, render_plan, render_prompt, to_messages

DOMAIN = """
(define (domain blocks) (:requirements :adl :constraints)
  (:predicates (on ?x ?y) (on-table ?x) (clear ?x) (hand-empty))
  (:action noop :parameters (?x) :precondition (clear ?x) :effect (clear ?x)))
"""
PROBLEM = """
(define (problem p) (:domain blocks) (:objects b1 b2 b10)
  (:init (on b10 b1) (on-table b1) (on-table b2) (clear b2))
  (:goal {goal}) (:constraints {constraints}))
"""
IMPLIED = frozenset({("hand-empty",), ("clear", "b2"), ("clear", "b10")})


def blocks(goal: str = "(on b1 b2)", constraints: str = "(and)") -> Problem:
    return parse_problem(PROBLEM.format(goal=goal, constraints=constraints), parse_domain(DOMAIN))


def compact(problem: Problem, implied: frozenset[tuple[str, ...]] = frozenset()) -> str:
    return render_prompt("blocks", DOMAIN, problem, "compact", implied)


def test_every_part_has_its_sigil() -> None:
    assert compact(
        blocks("(and (on b1 b2) (not (clear b1)))", "(and (sometime-before (on b1 b2) (clear b1)) (within 7 (clear b1)))")
    ) == (
        "blocks b1 +on-table b1 !on b2 b1 +on~ b10 b2 +clear b2 +on-table b2 !on~ b1 b10 +on b1 !not ( clear b1 )"
        " @sometime-before ( on b1 b2 ) ( clear b1 ) @within 7 ( clear b1 )"
    )


def test_implied_atoms_show_only_where_they_do_not_hold() -> None:
    assert compact(blocks(), IMPLIED) == (
        "blocks -hand-empty b1 +on-table b1 !on b2 b1 +on~ b10 b2 +on-table b2 !on~ b1 b10 +on b1 b10 -clear"
    )


def test_a_goal_that_holds_already_is_marked_even_where_it_is_implied() -> None:
    assert compact(blocks("(and (clear b2) (on-table b1))"), IMPLIED) == (
        "blocks -hand-empty b1 =on-table b1 +on~ b10 b2 +on-table b2 =clear b10 +on b1 b10 -clear"
    )


def test_what_is_said_of_a_constant_of_the_domain_follows_the_objects() -> None:
    domain = parse_domain(DOMAIN.replace("(:predicates", "(:constants a c) (:predicates"))
    problem = parse_problem(PROBLEM.format(goal="(on c b1)", constraints="(and)").replace("(clear b2)", "(clear a)"), domain)
    assert compact(problem) == "blocks b1 +on-table b1 +on~ b10 b1 !on~ c b2 +on-table b10 +on b1 a +clear c !on b1"


def test_goals_go_by_object_whatever_order_a_file_writes_them_in() -> None:
    texts = {
        compact(blocks(f"(and {one})")) for one in ("(clear b10) (on b2 b1) (on b2 b10)", "(on b2 b10) (clear b10) (on b2 b1)")
    }
    assert texts == {
        "blocks b1 +on-table b1 +on~ b10 b1 !on~ b2 b2 +clear b2 +on-table b2 !on b1 b2 !on b10 b10 +on b1 b10 !clear b10 !on~ b2"
    }


def test_by_name_an_object_is_said_once_and_a_fact_at_its_first_object_alone() -> None:
    prompt = render_prompt("blocks", DOMAIN, blocks(), "compact_by_name", IMPLIED)
    assert prompt == "blocks -hand-empty b1 +on-table !on b2 b2 +on-table b10 +on b1 -clear"


def test_quantifiers_and_operators_keep_their_brackets() -> None:
    text = compact(blocks("(or (clear b1) (forall (?x) (clear ?x)))", "(always (forall (?x) (imply (clear ?x) (on-table ?x))))"))
    assert text.endswith(
        " !or ( clear b1 ) ( forall ( ?x ) ( clear ?x ) ) @always ( forall ( ?x ) ( imply ( clear ?x ) ( on-table ?x ) ) )"
    )


def parts(problem: Problem) -> tuple[frozenset[str], frozenset[str]]:
    """Goal and constraints as sets of PDDL texts, conjunctions flattened."""

    def flat(value: object) -> list[object]:
        return [leaf for part in value.parts for leaf in flat(part)] if isinstance(value, (And, ConstraintAnd)) else [value]

    constraints = [] if problem.constraints is None else flat(problem.constraints)
    return frozenset(render_formula(p) for p in flat(problem.goal)), frozenset(render_constraint(p) for p in constraints)


def read_back(prompt: str, domain: Domain, implied: frozenset[tuple[str, ...]]) -> tuple[object, ...]:
    """(scenario, objects, init, goal texts, constraint texts) from a compact prompt, by its description alone."""
    scenario, *words = prompt.split()
    objects, init, goals, constraints = [], set(implied), set(), set()
    forwards, backwards = set(), set()
    subject = ""
    while words:
        word = words.pop(0)
        # A lone "-" belongs to a typed variable, and that stands in the group of a constraint.
        if word[0] in "+-=!" and word[1:] in domain.predicates:
            names = [subject] if subject else []
            while len(names) < len(domain.predicates[word[1:]]):
                names.append(words.pop(0))
            atom = (word[1:], *names)
            if len(names) == 2:
                forwards.add((word[0], *atom))
            if word[0] in "+=":
                init.add(atom)
            elif word[0] == "-":
                init.remove(atom)
            if word[0] in "=!":
                goals.add(f"({' '.join(atom)})")
        elif word.endswith("~"):
            backwards.add((word[0], word[1:-1], words.pop(0), subject))
        elif word[0] in "!@":
            group = [word[1:]]
            while words and words[0][0] not in "!@":
                group.append(words.pop(0))
            (goals if word[0] == "!" else constraints).add(f"({' '.join(group)})".replace("( ", "(").replace(" )", ")"))
        elif word != subject:  # otherwise the next fact of the same object
            objects.append(word)
            subject = word
    assert forwards == backwards
    return scenario, tuple(objects), frozenset(init), frozenset(goals), frozenset(constraints)


@pytest.mark.parametrize("name", TRAINED)
def test_shipped_problems_can_be_read_back_from_it(name: str, repository) -> None:
    domain = get_domain(name)
    rows = read_rows(repository / "data" / "test", [name]).rows
    constrained = 0
    assert len(rows) >= 100
    for row in rows:
        problem = row.problem
        implied = domain.implied_atoms(problem)
        goals, constraints = parts(problem)
        prompt = render_prompt(name, domain.domain_pddl, problem, "compact", implied)
        assert read_back(prompt, domain.domain, implied) == (name, tuple(problem.objects), problem.init, goals, constraints), (
            row.source
        )
        constrained += bool(constraints)
    assert constrained > 20


def test_the_full_style_holds_instructions_domain_and_problem() -> None:
    problem = blocks()
    text = render_prompt("blocks", DOMAIN, problem, "full", IMPLIED)
    assert text.startswith(INSTRUCTIONS)
    assert DOMAIN.strip() in text
    assert parse_problem(text[text.index("(define (problem") :], parse_domain(DOMAIN)) == problem


def test_an_unknown_style_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="full, compact, compact_by_name, schemas, got 'short'"):
        render_prompt("blocks", DOMAIN, blocks(), "short")


def test_plans_are_one_step_a_line_each_line_ended() -> None:
    assert render_plan([("a", "b", "c"), ("d",)]) == "(a b c)\n(d)\n"
    assert render_plan([]) == ""


def test_messages_are_a_user_turn_and_an_answer_if_there_is_one() -> None:
    assert to_messages("p") == [{"role": "user", "content": "p"}]
    assert to_messages("p", "") == [{"role": "user", "content": "p"}, {"role": "assistant", "content": ""}]
