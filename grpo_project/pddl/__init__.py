"""PDDL: text to values, values to text, plans to verdicts, problems to reference plans. Standard library only."""

from grpo_project.pddl.model import Atom, Domain, Problem, Step
from grpo_project.pddl.parser import parse_domain, parse_problem
from grpo_project.pddl.plan import Extraction, extract_plan, render_answer, render_plan
from grpo_project.pddl.render import render_atom, render_constraint, render_domain, render_formula, render_problem
from grpo_project.pddl.search import SearchResult, find_plan
from grpo_project.pddl.task import GroundAction, Task, compile_task
from grpo_project.pddl.validator import VERDICT_CLASSES, Verdict, VerdictClass, validate, validate_text

__all__ = [
    "VERDICT_CLASSES",
    "Atom",
    "Domain",
    "Extraction",
    "GroundAction",
    "Problem",
    "SearchResult",
    "Step",
    "Task",
    "Verdict",
    "VerdictClass",
    "compile_task",
    "extract_plan",
    "find_plan",
    "parse_domain",
    "parse_problem",
    "render_atom",
    "render_constraint",
    "render_domain",
    "render_formula",
    "render_answer",
    "render_plan",
    "render_problem",
    "validate",
    "validate_text",
]
