"""What is the same in every ground instance of an action, worked out once a domain: grounding is then little more than look-ups.

Nearly all that actions say are plain literals over their parameters. Each becomes a function from a row of words (those of the
action that are no parameters, then the arguments) to the ground atom.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import itemgetter

from grpo_project.pddl.conditions import conjuncts
from grpo_project.pddl.model import Action, Atom, Effect, Formula, Literal, Not
from grpo_project.pddl.render import render_formula

Row = tuple[str, ...]
VARIABLE = re.compile(r"(\?[^\s()]+)")


class ActionSchema:
    """`positive`, `negative`, `add`, `delete` give the atoms of plain conjuncts and effects; `conditions` and `effects` are the
    others. `words` begin every row. `texts`: each conjunct with its text cut at the variables, for messages."""

    def __init__(self, action: Action) -> None:
        self.names = tuple(parameter.name for parameter in action.parameters)
        parts = conjuncts(action.precondition)
        self.texts = tuple([(VARIABLE.split(render_formula(part)), part) for part in parts])
        positive: list[Atom] = []
        negative: list[Atom] = []
        self.conditions: list[Formula] = []
        for part in parts:
            inner = part.part if isinstance(part, Not) else part
            if not isinstance(inner, Literal) or inner.atom[0] == "=":
                self.conditions.append(part)
            else:
                (positive if inner is part else negative).append(inner.atom)
        plain = [effect for effect in action.effects if not effect.variables and effect.when is None and effect.numeric is None]
        self.effects: list[Effect] = [effect for effect in action.effects if not any(effect is own for own in plain)]
        add = [effect.add for effect in plain if effect.add is not None]
        delete = [effect.delete for effect in plain if effect.delete is not None]
        self.words = tuple(
            {word: None for atom in (*positive, *negative, *add, *delete) for word in atom if word not in self.names}
        )
        self.positive, self.negative, self.add, self.delete = (
            [self._filled(atom) for atom in atoms] for atoms in (positive, negative, add, delete)
        )

    def _filled(self, atom: Atom) -> Callable[[Row], Atom]:
        places = [(*self.words, *self.names).index(word) for word in atom]
        if len(places) == 1:
            return lambda row: atom
        return itemgetter(*places)
