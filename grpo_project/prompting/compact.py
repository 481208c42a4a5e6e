"""The compact prompt: one short line, one token per word, that a tiny planner reads.

Given the domain it says all that the domains shipped here need. Left out: the types of objects (what is said of them tells
them apart), numeric values and the metric; a domain that lives by those needs the full prompt.

    blocksworld b1 +on b2 b1 !on b3 b2 =on-table b2 +on~ b1 b3 +on-table b3 !on~ b1 @sometime-before ( on b3 b1 ) ( clear b2 )

First the scenario, then object by object what is said of it, each fact as object, word, other objects: `+` initial atoms, `-`
atoms that the others imply but that do not hold, `=` goal atoms that hold already, `!` goal atoms still to be reached. Then
goals of other kinds (`!`) and constraints (`@`). The sigil is part of the predicate's word, so that one token tells a fact
from a goal. A fact of two objects stands at both: at the second with `~` after its word, so that what is at a place can be
read at the place.

Why so: what holds for an object and what is wanted of it stand side by side, and every question about it is answered behind two
neighbouring tokens, object and word, wherever they stand. A small model learns to look up by the two tokens before long before
it learns to find an object's name first and its facts behind it.

compact_by_name, which the planners that know names were taught, says each object once and a fact at its first object alone.

A plan that failed is answered in the same words: `not`, then where (`3`: step 3 could not run; `@ 3`: a constraint broke in state
3; `!`: the goal was not reached; `?`: no plan), then what was unmet (`!`, `@`) and what held there (`+`).

    not 3 b3 !clear b1 +on b2 b2 +on b3
"""

from __future__ import annotations

import itertools
from collections import defaultdict

from grpo_project.common.text import numbers_in_order
from grpo_project.pddl import Atom, Problem, Task, Verdict, render_constraint, render_formula
from grpo_project.pddl.conditions import conjuncts
from grpo_project.pddl.explanation import DETAILS, states_reached
from grpo_project.pddl.model import Constraint, ConstraintAnd, Literal

SIGILS = "+-=!@"
BACKWARDS = "~"


def render_compact(scenario: str, problem: Problem, implied: frozenset[Atom], at_each_object: bool = True) -> str:
    """One line. `implied`: the initial atoms that are left to the reader (PlanningDomain.unsaid_atoms). at_each_object: every
    fact begins with its object, and facts of two objects stand at both of them."""
    goals = conjuncts(problem.goal)
    wanted = {part.atom for part in goals if isinstance(part, Literal)}
    facts = [("+", atom) for atom in problem.init - implied - wanted]
    facts += [("-", atom) for atom in implied - problem.init]
    facts += [("=", atom) for atom in problem.init & wanted]
    facts += [("!", atom) for atom in wanted - problem.init]
    facts.sort(key=lambda fact: (SIGILS.index(fact[0]), [numbers_in_order(name) for name in fact[1]]))
    said: dict[str, list[list[str]]] = defaultdict(list)
    for sigil, atom in facts:
        said[atom[1] if len(atom) > 1 else ""].append([sigil + atom[0], *atom[2:]])
    for sigil, atom in facts if at_each_object else ():
        if len(atom) == 3:
            said[atom[2]].append([sigil + atom[0] + BACKWARDS, atom[1]])
    constants = sorted(said.keys() - problem.objects.keys() - {""})
    words = [scenario, *itertools.chain.from_iterable(said[""])]
    for name in (*problem.objects, *constants):
        if at_each_object and said[name]:
            words += [word for fact in said[name] for word in (name, *fact)]
        else:
            words += [name, *itertools.chain.from_iterable(said[name])]
    words += [word for part in goals if not isinstance(part, Literal) for word in _marked("!", render_formula(part))]
    for constraint in _parts(problem.constraints):
        words += _marked("@", render_constraint(constraint))
    return " ".join(words)


def render_compact_failure(task: Task, text: str, verdict: Verdict, detail: str) -> str:
    """The user turn after the failed answer `text`, in one line. `detail`: how much is told, one of DETAILS."""
    words = ["not"]
    if detail == DETAILS[0]:
        return " ".join(words)
    match verdict.verdict_class:
        case "precondition_violation":
            words.append(str(verdict.failing_step))
        case "safety_constraints_violation":
            words += ["@", str(verdict.state_index)]
        case "goal_not_satisfied":
            words.append("!")
        case _:
            return " ".join([*words, "?"])
    if detail == DETAILS[-1]:
        atoms = [tuple(unmet[1:-1].split()) for unmet in verdict.unmet if unmet.rfind("(") == 0]
        facts = [("!", atom) for atom in atoms]
        fluents = task.domain.fluents
        facts += [("+", atom) for atom in task.atoms_of(states_reached(task, text, verdict)[-1]) if atom[0] in fluents]
        words += [word for sigil, (predicate, *names) in facts for word in (*names[:1], sigil + predicate, *names[1:])]
        words += [word for unmet in verdict.unmet if unmet.rfind("(") > 0 for word in _marked("!", unmet)]
        words += _marked("@", verdict.violated_constraint) if verdict.violated_constraint else []
    return " ".join(words)


def _marked(sigil: str, text: str) -> list[str]:
    """ "(always (p a))" as ["@always", "(", "p", "a", ")"]."""
    words = text.replace("(", " ( ").replace(")", " ) ").split()
    return [sigil + words[1], *words[2:-1]]


def _parts(constraint: Constraint | None) -> tuple[Constraint, ...]:
    if constraint is None:
        return ()
    if isinstance(constraint, ConstraintAnd):
        return tuple(inner for part in constraint.parts for inner in _parts(part))
    return (constraint,)
