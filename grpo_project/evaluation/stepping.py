"""Closed loop: of every answer the first action alone is taken, and the model is asked again from the state that it led to.

The verifier supplies that state: it is the initial one of the same problem, with what is left of its constraints
(pddl/progression.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from grpo_project.data.rows import Row, RowTable
from grpo_project.evaluation.answers import Answer, Key, Question
from grpo_project.pddl import Step, extract_plan, render_problem
from grpo_project.pddl.lenient import STRICT, read_answer
from grpo_project.pddl.plan import without_reasoning
from grpo_project.pddl.progression import Walk
from grpo_project.prompting import render_plan


@dataclass
class StepByStep:
    """What follows from an answer: the same problem from its next state, until it is solved, an action fails, a state and what is
    left to do come again, or `most_steps` have run. A `follow_up` of `answers.ask`.

    prompt: of a row. plan_reading: how an answer is read, one of PLAN_READINGS.
    Raises UnsupportedFeature for a problem that cannot be told anew.
    """

    table: RowTable
    prompt: Callable[[Row], str]
    most_steps: int
    plan_reading: str = STRICT
    _walks: dict[int, Walk] = field(default_factory=dict, init=False)
    _asked: dict[int, set[str]] = field(default_factory=dict, init=False)
    _ends: dict[int, str] = field(default_factory=dict, init=False)  # by row, what the answer said that ended it

    def __call__(self, question: Question, answer: Answer) -> Question | None:
        row_index = question.row_index
        if question.turn == 0:
            self._walks[row_index] = Walk(self.table.task(row_index))
            self._asked[row_index] = {question.prompt}
        walk = self._walks[row_index]
        step = self._first_step(row_index, answer)
        if answer.refused is not None or step is None or not walk.take(step):
            self._ends[row_index] = answer.text if step is None else render_plan([step])
            return None
        if walk.done or len(walk.steps) >= self.most_steps:
            return None
        prompt = self.prompt(self._row_from_here(row_index, walk))
        if prompt in self._asked[row_index]:
            return None  # a model that decodes greedily would go round for ever
        self._asked[row_index].add(prompt)
        return question.asked_anew(prompt)

    def _first_step(self, row_index: int, answer: Answer) -> Step | None:
        return first_step(read_answer(self.table.task(row_index), answer.text, self.plan_reading))

    def _row_from_here(self, row_index: int, walk: Walk) -> Row:
        row = self.table.rows[row_index]
        return replace(row, meta={**row.meta, "problem_pddl": render_problem(walk.restated(), row.domain)})

    def composed(self, answers: Mapping[Key, Answer]) -> dict[Key, Answer]:
        """One answer a row for all of its turns: the steps that ran, then what ended it; tokens and seconds are their sums.

        cut_off: of the last turn, and only where it gave no step; a refusal is that of the last turn.
        """
        found = {}
        for row_index, walk in self._walks.items():
            turns = [answers[key] for key in sorted(key for key in answers if key.row_index == row_index)]
            last = turns[-1]
            found[Key(row_index)] = Answer(
                render_plan(walk.steps) + self._ends.get(row_index, ""),
                _sum([turn.prompt_tokens for turn in turns]),
                _sum([turn.completion_tokens for turn in turns]),
                _sum([turn.seconds for turn in turns]),
                bool(last.cut_off) and self._first_step(row_index, last) is None,
                last.refused,
            )
        return found


def first_step(text: str) -> Step | None:
    """The first step of an answer, whatever stands behind it; None where the answer does not begin with one."""
    steps = extract_plan(text).steps
    if steps is None:
        said = without_reasoning(text)
        steps = extract_plan(said[: said.find(")") + 1]).steps
    return steps[0] if steps else None


def _sum(values: list[Any]) -> Any:
    return None if None in values else sum(values)
