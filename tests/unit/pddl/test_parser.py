"""Text to values: what is read, and how what is wrong is named."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo_project.domains import all_domains
from grpo_project.errors import PddlError, PddlSemanticError, PddlSyntaxError, UnsupportedFeature
from grpo_project.pddl import compile_task, parse_domain, parse_problem, render_domain, render_problem, validate_text
from grpo_project.pddl.model import ConstraintAnd, ConstraintForall, Exists, Forall, Imply, Not, Or, TrajectoryConstraint

RICH_DOMAIN = """
(define (domain rich) ; every construct once
  (:requirements :adl :constraints :action-costs)
  (:types vehicle place - object truck - vehicle)
  (:constants home - place)
  (:predicates (at ?v - vehicle ?p - place) (road ?a ?b - place) (dirty ?v - vehicle) (seen ?p - place))
  (:functions (total-cost) - number (length ?a ?b - place) - number)
  (:constraints (forall (?v - vehicle) (at-most-once (at ?v home))))
  (:action DRIVE
    :parameters (?t - truck ?a ?b - place)
    :precondition (and (at ?t ?a) (not (= ?a ?b)) (or (road ?a ?b) (road ?b ?a)) (imply (dirty ?t) (not (= ?b home)))
                       (forall (?v - vehicle) (or (= ?v ?t) (not (at ?v ?b)))))
    :effect (and (not (at ?t ?a)) (at ?t ?b) (when (not (seen ?b)) (dirty ?t)) (forall (?p - place) (when (= ?p ?b) (seen ?p)))
                 (increase (total-cost) (length ?a ?b))))
  (:action wash :parameters (?t - truck) :precondition (exists (?p - place) (at ?t ?p))
    :effect (and (not (dirty ?t)) (increase (total-cost) 2))))
"""
RICH_PROBLEM = """
(define (problem p) (:domain rich)
  (:objects t1 t2 - truck a b - place)
  (:init (at t1 a) (at t2 b) (road a home) (road home b) (= (length a home) 3) (= (length home b) 4.5) (= (total-cost) 0))
  (:goal (and (at t1 home) (not (dirty t1))))
  (:constraints (and (always (not (and (at t1 b) (at t2 b)))) (within 4 (at t1 home)) (hold-during 1 2 (dirty t1))
                     (always-within 3 (dirty t1) (at t1 home)) (at end (at t1 home)) (sometime-after (seen home) (seen home))))
  (:metric minimize (total-cost)))
"""
SMALL_DOMAIN = "(define (domain d) (:predicates (p ?x)) (:action a :parameters (?x) :precondition (p ?x) :effect (not (p ?x))))"


def test_every_construct_is_read():
    domain = parse_domain(RICH_DOMAIN)
    drive = domain.actions["drive"]
    kinds = {type(part) for part in drive.precondition.parts}
    assert {Not, Or, Imply, Forall} <= kinds
    assert isinstance(domain.actions["wash"].precondition, Exists)
    assert [effect.when is None for effect in drive.effects] == [True, True, False, False, True]
    assert isinstance(domain.constraints, ConstraintForall)
    problem = parse_problem(RICH_PROBLEM, domain)
    assert isinstance(problem.constraints, ConstraintAnd)
    assert problem.constraints.parts[1] == TrajectoryConstraint("within", problem.constraints.parts[1].formulas, (4.0,))
    assert problem.values[("length", "home", "b")] == 4.5


def test_render_and_parse_are_inverse():
    domain = parse_domain(RICH_DOMAIN)
    problem = parse_problem(RICH_PROBLEM, domain)
    assert parse_domain(render_domain(domain)) == domain
    assert parse_problem(render_problem(problem), domain) == problem
    assert render_problem(parse_problem(render_problem(problem), domain)) == render_problem(problem)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", PddlSyntaxError, "no definition"),
        ("(define (domain d)", PddlSyntaxError, "never closed"),
        ("hello", PddlSyntaxError, "found 'hello'"),
        ("(define (domain d)) (more)", PddlSyntaxError, "after the end"),
        ("(define (domain d) (:action a :parameters (x)))", PddlSyntaxError, "variable like ?x"),
        ("(define (domain d) (:action a :effect (q)))", PddlSemanticError, "predicate 'q' is not declared"),
        ("(define (domain d) (:types a - b b - a))", PddlSemanticError, "its own ancestor"),
        (
            "(define (domain d) (:predicates (p) (q)) (:derived (p) (not (q))) (:derived (q) (p)))",
            PddlSemanticError,
            "own absence",
        ),
        ("(define (domain d) (:derived (p ?x) (and)) (:derived (p) (and)))", PddlSemanticError, "takes 1 arguments, found 0"),
        ("(define (domain d) (:derived (p) (and)) (:action a :effect (p)))", PddlSemanticError, "'p' is derived"),
        (
            "(define (domain d) (:predicates (p)) (:action a :precondition (or (preference x (p)))))",
            PddlSemanticError,
            "under and",
        ),
        ("(define (domain d) (:predicates (p)) (:action a :precondition (preference x y (p))))", PddlSyntaxError, "2 arguments"),
        ("(define (domain d) (:durative-action a))", UnsupportedFeature, ":durative-action is not supported"),
        ("; a comment\n# another", PddlSyntaxError, "a comment begins with ;"),
        ("(define (domain d) (:predicates (p ?x - (or a b))))", PddlSyntaxError, "(either TYPE ...)"),
        ("(define (domain d) (:predicates (p ?x - (either a b))))", PddlSemanticError, "type 'a' is not declared"),
        ("(define (domain d) (:nonsense))", PddlSyntaxError, "unknown section"),
        ("(" * 200, PddlSyntaxError, "nest deeper"),
    ],
)
def test_faults_are_named(text, kind, words):
    with pytest.raises(kind, match=".*") as caught:
        parse_domain(text, "some.pddl")
    assert words in str(caught.value)
    assert str(caught.value).startswith("some.pddl")


def test_a_fault_knows_line_and_column_and_shows_the_line():
    with pytest.raises(PddlSemanticError) as caught:
        parse_domain("(define (domain d)\n  (:predicates (p ?x))\n  (:action a :parameters (?x) :effect (r ?x)))", "d.pddl")
    assert (caught.value.line, caught.value.column) == (3, 39)
    assert "(:action a" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(define (problem p) (:domain other) (:init) (:goal (p a)))", "domain 'other'"),
        ("(define (problem p) (:domain d) (:goal (p a)))", "no :init"),
        ("(define (problem p) (:domain d) (:objects a) (:init (p b)) (:goal (p a)))", "object 'b' is not declared"),
        ("(define (problem p) (:domain d) (:objects a) (:init (p a a)) (:goal (p a)))", "takes 1 arguments, found 2"),
        ("(define (problem p) (:domain d) (:objects a) (:init) (:goal (p a)) (:constraints (never (p a))))", "'never' is no"),
    ],
)
def test_problem_faults_are_named(text, words):
    with pytest.raises(PddlError) as caught:
        parse_problem(text, parse_domain(SMALL_DOMAIN))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "line", "column"),
    [
        (["(define (problem p) (:domain d)", "  (:objects a)", "  (:init (p a))", "  (:goal (q a)))"], 4, 10),
        (["(define (problem p) (:domain d)", "  (:objects a)", "  (:init (p b))", "  (:goal (p a)))"], 3, 13),
        (["(define (problem p) (:domain d)", "  (:objects a)", "  (:init (p a a))", "  (:goal (p a)))"], 3, 10),
        (["(define (problem p) (:domain d)", "  (:objects a)", "  (:init)", "  (:goal (p a"], 4, 10),
        (
            [
                "(define (problem p) (:domain d)",
                "  (:objects a)",
                "  (:init)",
                "  (:goal (p a))",
                "  (:constraints (never (p a))))",
            ],
            5,
            17,
        ),
    ],
)
def test_a_fault_in_a_problem_knows_line_and_column_and_shows_the_line(lines, line, column):
    with pytest.raises(PddlError) as caught:
        parse_problem("\n".join(lines), parse_domain(SMALL_DOMAIN), "some.pddl")
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).startswith(f"some.pddl:{line}:{column}: ")
    assert lines[line - 1].strip() in str(caught.value)


def test_surplus_closing_brackets_at_the_end_are_let_through():
    assert parse_domain(SMALL_DOMAIN + "\n)\n") == parse_domain(SMALL_DOMAIN)


def test_a_type_without_parent_is_no_subtype_of_a_declared_object():
    domain = parse_domain("(define (domain d) (:types room object) (:predicates (p ?x - object)))")
    assert not domain.hierarchy.fits("room", "object")
    assert parse_domain("(define (domain d) (:types room))").hierarchy.fits("room", "object")


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("(define (domain d) (:requirements :durative-actions)\n (:durative-action a))", ":durative-action"),
        ("(define (domain d) (:process x))", ":process"),
        ("(define (domain d) (:predicates (p)) (:constraints (preference x (preference y (always (p))))))", "'preference' over"),
        ("(define (domain d) (:predicates (p)) (:constraints (exists (?x) (always (p)))))", "'exists' over trajectory"),
        ("(define (domain d) (:functions (f) - object))", "a function that is not a number"),
    ],
)
def test_what_is_not_supported_is_refused_by_name_file_and_line(text, feature):
    with pytest.raises(UnsupportedFeature) as caught:
        parse_domain(text, "some.pddl")
    assert f"{feature}" in str(caught.value)
    assert "not supported" in str(caught.value)
    assert str(caught.value).startswith(f"some.pddl:{1 + text.count(chr(10))}:")


def test_what_a_problem_names_and_lacks_is_refused_with_its_line():
    text = "(define (problem p) (:domain d) (:objects a) (:init) (:goal (p a))\n(:metric minimize (is-violated x)))"
    with pytest.raises(PddlSemanticError, match="no preference is named 'x'") as caught:
        parse_problem(text, parse_domain(SMALL_DOMAIN), "some.pddl")
    assert caught.value.line == 2
    with pytest.raises(UnsupportedFeature, match="timed initial literal") as caught:
        parse_problem("(define (problem p) (:domain d)\n (:init (at 5 (p a))) (:goal (p a)))", parse_domain(SMALL_DOMAIN))
    assert caught.value.line == 2


@pytest.mark.parametrize("name", ["1lamp", "l.1", "a+b", "l/1", "1", "\u00e9tage", "a\u0130"])
def test_what_no_plan_can_name_is_refused_where_it_is_read(name):
    """Plans are read in VAL's names; a problem about such an object could not be solved by anyone."""
    words = re.escape(f"no plan can name '{name.lower()}'") if name.isascii() else "no plan can name"
    problem = f"(define (problem p) (:domain d)\n(:objects a {name}) (:init) (:goal (p a)))"
    for text, read in (
        (problem, lambda text: parse_problem(text, parse_domain(SMALL_DOMAIN), "some.pddl")),
        (f"(define (domain d)\n(:constants {name}))", lambda text: parse_domain(text, "some.pddl")),
        (f"(define (domain d)\n(:action {name} :effect (and)))", lambda text: parse_domain(text, "some.pddl")),
    ):
        with pytest.raises(PddlSemanticError, match=f"^some.pddl:2:.*{words}"):
            read(text)


def test_names_may_begin_with_an_underscore_as_for_val():
    domain = parse_domain("(define (domain _d) (:predicates (_p ?x)) (:action _go :parameters (?x) :effect (_p ?x)))")
    problem = parse_problem("(define (problem _q) (:domain _d) (:objects _a) (:init) (:goal (_p _a)))", domain)
    assert validate_text(compile_task(domain, problem), "(_go _a)\n").success


DAMAGED = [RICH_DOMAIN.replace("; every construct once", ""), *(domain.domain_pddl for domain in all_domains().values())]


@given(st.data())
@settings(max_examples=300)
def test_no_text_gets_past_the_parser_s_own_errors(data):
    """A real domain with pieces cut out, doubled and swapped: a Domain or a PddlError, nothing else."""
    words = re.findall(r"[()]|[^\s()]+", data.draw(st.sampled_from(DAMAGED)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(words)))
        end = data.draw(st.integers(start, min(len(words), start + 6)))
        other = data.draw(st.integers(0, len(words)))
        words = words[:start] + words[other : other + data.draw(st.integers(0, 4))] + words[end:]
    try:
        domain = parse_domain(" ".join(words))
    except PddlError as error:
        assert "\n" not in str(error)
    else:
        assert parse_domain(render_domain(domain)) == domain
