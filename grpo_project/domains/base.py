"""What a planning domain is to this suite: PDDL text, file names, difficulty, generator, constraint kinds, a search heuristic.

A new domain is one new file beside this one that exports `DOMAIN`; the registry finds it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TypeVar

from grpo_project.errors import ConfigError
from grpo_project.pddl import Atom, Domain, Problem, Step, Task, parse_domain
from grpo_project.pddl.model import And, Formula, Literal

Parameters = Mapping[str, int]
Ranges = Mapping[str, tuple[int, int]]
Heuristic = Callable[[int], float]
Reasoned = tuple[tuple[str, ...], tuple[Step, ...]]  # the words of the reasoning, and the plan
Item = TypeVar("Item")

# What a heuristic returns for a state from which no plan exists. Finite, so that sums of it stay numbers.
DEAD_END = 1_000_000
_MAXIMUM_DRAWS = 1000


def _no_atoms(problem: Problem) -> frozenset[Atom]:
    return frozenset()


def _no_policy(problem: Problem, rng: random.Random | None = None) -> tuple[Step, ...] | None:
    return None


def _no_reasoned_policy(problem: Problem) -> Reasoned | None:
    return None


def drawn_order(items: Iterable[Item], rng: random.Random | None) -> list[Item]:
    """The items as they come, or in an order drawn from `rng`: what a policy uses where its rule leaves the order open."""
    order = list(items)
    if rng is not None:
        rng.shuffle(order)
    return order


def _no_heuristic(task: Task) -> Heuristic | None:
    return None


def _any_parameters(parameters: Parameters) -> bool:
    return True


@dataclass(frozen=True)
class PlanningDomain:
    """One domain.

    name: the scenario, which is also the name of its JSONL file.
    domain_pddl: the text of the domain.
    file_name_format: a str.format template of the parameters, whole numbers, and of `seed`, the problem's number.
    difficulty: parameters to score; higher is harder.
    sizes: size name to inclusive ranges of the parameters that a generator draws.
    generate: (rng, parameters, constraints) to a problem whose goal does not hold yet; a pure function of its arguments.
    valid_parameters: whether a drawn combination makes sense.
    implied_atoms: the initial atoms that follow from the problem's other initial atoms, whether or not they hold; the compact
        prompt leaves them out. Names imply nothing: under other names the same atoms, renamed, are implied.
    atoms_by_name: what the published names and sizes imply, for the prompt style compact_by_name alone.
    policy: (problem, rng) to a plan that a simple rule writes for a generated problem, or None; not optimal, and the caller
        must validate it. With a generator, every choice that the rule leaves open is drawn from it; with None, taken in order.
        A small model learns more from a rule's plans as SFT examples than from optimal plans, whose choices look arbitrary to it.
    reasoned_policy: a problem to the reasoning that leads to a plan of the rule, and the plan; or None. Reasoning is lines
        of objects' names and marks, `;` behind each, that say what the plan will do or how that is found: each word
        follows from few others, and each step of the plan from one line. Choices are taken in an order that a reader of the
        compact prompt sees; one drawn at random cannot be learned, and blurs all that follows from it.
    heuristic: an admissible lower bound on the remaining number of steps, from a state bitmask of the given task.
    held_out: a domain for evaluation, not for training: left out wherever domains are not named one by one.
    phrases: predicate to an English template of its arguments, such as "{0} is on {1}", for prompts in natural language.
    object_names: the vocabulary its objects are named from, which a small planner's tokenizer holds.
    """

    name: str
    domain_pddl: str
    file_name_format: str
    difficulty: Callable[[Parameters], float]
    sizes: Mapping[str, Ranges]
    generate: Callable[[random.Random, Parameters, bool], Problem]
    implied_atoms: Callable[[Problem], frozenset[Atom]] = field(default=_no_atoms)
    atoms_by_name: Callable[[Problem], frozenset[Atom]] = field(default=_no_atoms)
    heuristic: Callable[[Task], Heuristic | None] = field(default=_no_heuristic)
    policy: Callable[[Problem, random.Random | None], tuple[Step, ...] | None] = field(default=_no_policy)
    reasoned_policy: Callable[[Problem], Reasoned | None] = field(default=_no_reasoned_policy)
    valid_parameters: Callable[[Parameters], bool] = field(default=_any_parameters)
    held_out: bool = False
    phrases: Mapping[str, str] = field(default_factory=dict)
    object_names: Sequence[str] = ()

    def unsaid_atoms(self, problem: Problem, style: str) -> frozenset[Atom]:
        """The initial atoms that a prompt of this style leaves to its reader; none but in the compact ones."""
        unsaid = {"compact": self.implied_atoms, "compact_by_name": self.atoms_by_name}.get(style, _no_atoms)
        return unsaid(problem)

    @cached_property
    def domain(self) -> Domain:
        """The parsed domain."""
        return parse_domain(self.domain_pddl, f"domain {self.name}")

    @cached_property
    def _file_name_pattern(self) -> re.Pattern[str]:
        """`file_name_format` read backwards."""
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\d+)", re.escape(self.file_name_format)), re.IGNORECASE)

    def parameters_of(self, file_name: str) -> dict[str, int] | None:
        """The integers in a problem's file name (folders before it are ignored), `seed` included; None where it does not fit."""
        match = self._file_name_pattern.fullmatch(file_name.replace("\\", "/").rsplit("/", 1)[-1])
        return {name: int(value) for name, value in match.groupdict().items()} if match else None

    def file_name(self, parameters: Parameters, seed: int) -> str:
        """The file name of a problem; parameters_of reads it back."""
        return self.file_name_format.format(**{**parameters, "seed": seed})

    def draw_parameters(self, rng: random.Random, ranges: Ranges) -> dict[str, int]:
        """One valid combination, each parameter uniform in its inclusive range. Raises ConfigError where none is valid."""
        for _ in range(_MAXIMUM_DRAWS):
            drawn = {name: rng.randint(low, high) for name, (low, high) in ranges.items()}
            if self.valid_parameters(drawn):
                return drawn
        raise ConfigError(f"{self.name} has no valid combination of the sizes {dict(ranges)}")


def in_lines(lines: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The words of a reasoning: each line with a `;` behind it."""
    return tuple(word for line in lines for word in (*line, ";"))


def numbered(family: str, first: int, last: int) -> list[str]:
    """Names such as b1, b2, ..., both ends included."""
    return [f"{family}{number}" for number in range(first, last + 1)]


def first_drawn(draw: Callable[[], Problem | None], what: str) -> Problem:
    """The first problem that is not None, where None is a draw that had to be dropped. Raises ConfigError naming `what`."""
    for _ in range(_MAXIMUM_DRAWS):
        problem = draw()
        if problem is not None:
            return problem
    raise ConfigError(f"{_MAXIMUM_DRAWS} draws gave no problem of {what}; choose larger sizes, or no constraints.")


def conjunction(atoms: Sequence[Atom]) -> Formula:
    """All of the atoms, under one `and`."""
    return And(tuple(Literal(atom) for atom in atoms))


def goal_atoms(formula: Formula) -> tuple[Atom, ...]:
    """The atoms that a goal demands outright, in order. A lower bound for these alone is one for the whole goal."""
    if isinstance(formula, Literal):
        return (formula.atom,)
    if isinstance(formula, And):
        return tuple(atom for part in formula.parts for atom in goal_atoms(part))
    return ()


def remembered(bound: Heuristic, mask: int) -> Heuristic:
    """A bound that reads no other bits of a state than those of the mask: what they say repeats far more often than states do."""
    of_masked = cache(bound)
    return lambda state: of_masked(state & mask)


def bits(mask: int) -> list[int]:
    """The single-bit masks that a mask is made of, lowest first."""
    result = []
    while mask:
        low = mask & -mask
        result.append(low)
        mask ^= low
    return result
