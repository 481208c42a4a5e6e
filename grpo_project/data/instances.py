"""Problems by number: instance i of a named stream, with its split decided by its canonical form."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from grpo_project.data.object_names import rename_objects
from grpo_project.data.origin import Origin
from grpo_project.data.rows import Row
from grpo_project.domains.base import PlanningDomain, Ranges
from grpo_project.pddl import Problem, SearchResult, compile_task, find_plan, render_problem, validate
from grpo_project.pddl.canonical import canonical_form
from grpo_project.pddl.renaming import Renaming
from grpo_project.prompting import render_prompt

SPLITS = ("train", "test")
_TEST_SHARE = 4  # one form in four belongs to the test split
VARIED_TRIES = 20  # draws of a rule's open choices before its fixed order is tried


@dataclass(frozen=True)
class Instance:
    """`problem` carries the file name's stem as its name; `parameters` are the file name's integers without the seed."""

    problem: Problem
    file_name: str
    parameters: Mapping[str, int]
    canonical: str
    split: str


def split_of(canonical: str) -> str:
    """The split that every problem of this canonical form belongs to, whoever generates it: disjoint by construction."""
    return "test" if int(canonical, 16) % _TEST_SHARE == 0 else "train"


def generate_instance(domain: PlanningDomain, seed: int, index: int, ranges: Ranges, constraints_share: float) -> Instance:
    """Instance `index` of the stream (seed, domain): a pure function of its arguments. constraints_share lies in [0, 1]."""
    rng = random.Random(f"{seed}/{domain.name}/{index}")
    parameters = domain.draw_parameters(rng, ranges)
    constraints = rng.random() < constraints_share
    problem_seed = rng.randrange(1, 2_000_000_000)
    file_name = domain.file_name(parameters, problem_seed)
    problem = replace(domain.generate(rng, parameters, constraints), name=file_name.removesuffix(".pddl"))
    canonical = canonical_form(domain.domain, problem)
    return Instance(problem, file_name, parameters, canonical, split_of(canonical))


def under_other_names(domain: PlanningDomain, instance: Instance, naming: str) -> tuple[Instance, Renaming]:
    """The same instance with its objects named and listed otherwise, drawn from its own stream, and the way to the new names."""
    problem, names = rename_objects(domain, instance.problem, naming, own_stream("names", instance))
    return replace(instance, problem=problem), names


def without_constraints(instance: Instance, share: float) -> Instance:
    """For this share of instances the same one without trajectory constraints; which ones is drawn from their own streams."""
    if instance.problem.constraints is None or own_stream("constraints", instance).random() >= share:
        return instance
    return replace(instance, problem=replace(instance.problem, constraints=None))


def own_stream(name: str, instance: Instance) -> random.Random:
    """The random numbers of one purpose for one instance, whatever seed and place it came from."""
    return random.Random(f"{name}/{instance.canonical}/{instance.file_name}")


def reference_plan(domain: PlanningDomain, instance: Instance, node_budget: int, random_ties: bool) -> SearchResult:
    """A plan by A* with the domain's heuristic. random_ties: equally good plans are drawn from the instance's own stream."""
    task = compile_task(domain.domain, instance.problem)
    rng = own_stream("ties", instance) if random_ties else None
    return find_plan(task, node_budget, domain.heuristic(task), rng)


def policy_plan(domain: PlanningDomain, instance: Instance, varied: bool = False) -> SearchResult:
    """The plan of the domain's simple rule where it solves the instance, constraints and all; without steps where it does not.

    `varied`: the choices that the rule leaves open are drawn from the instance's own stream, again and again until the plan
    respects the constraints, VARIED_TRIES times at most; after that the fixed order is used. A model trained on such plans gives
    several plans some probability, so that the completions of a group differ and GRPO can compare them.
    """
    task = compile_task(domain.domain, instance.problem)
    rng = own_stream("policy", instance)
    for chooser in (rng,) * (VARIED_TRIES if varied else 0) + (None,):
        steps = domain.policy(instance.problem, chooser)
        if steps and validate(task, steps).success:
            return SearchResult(steps, float(len(steps)), False, 0)
    return SearchResult(None, 0.0, False, 0)


def reasoned_plan(domain: PlanningDomain, instance: Instance) -> tuple[SearchResult, tuple[str, ...]]:
    """As `policy_plan`, with the words of the reasoning that leads to the plan; no words where the domain's rule needs none."""
    found = domain.reasoned_policy(instance.problem)
    if found and found[1] and validate(compile_task(domain.domain, instance.problem), found[1]).success:
        words, steps = found
        return SearchResult(steps, float(len(steps)), False, 0), words
    return policy_plan(domain, instance), ()


def row_of(domain: PlanningDomain, instance: Instance, source: str) -> Row:
    """The instance as a row of no file, with its full prompt and PDDL and without a reference plan."""
    text = render_problem(instance.problem)
    meta = {
        "scenario": domain.name,
        "problem_file": instance.file_name,
        "problem_pddl": text,
        "canonical": instance.canonical,
        "split": instance.split,
    }
    prompt = render_prompt(domain.name, domain.domain_pddl, instance.problem, "full")
    return Row(prompt, domain.name, instance.file_name, None, None, meta, source, Origin(Path()))
