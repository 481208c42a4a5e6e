"""Every way to fill an action's parameters that its static preconditions allow, by joining them with the initial atoms.

A static atom is one that no action and no rule can change. Bounded in time and memory: an action of many parameters over many
objects has more instances than any machine holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from grpo_project.errors import UnsupportedFeature
from grpo_project.pddl.conditions import conjuncts
from grpo_project.pddl.model import Action, Atom, Literal, Not

# About 3 seconds of trying on one core, and 500 MB of masks: what is larger is refused. A problem of 30 blocks has 2,000 steps.
MAXIMUM_TRIED = 2_000_000
MAXIMUM_GROUND = 100_000
MAXIMUM_MASK_BITS = 4_000_000_000


class TooLarge(UnsupportedFeature):
    """A task with more ground actions than are held at once. Plans for it can be validated; it cannot be searched."""

    def __init__(self, task_name: str, why: str) -> None:
        super().__init__(
            f"too large to be searched, {why}. Plans for it can be validated: bring your own reference plans", task_name
        )


class StaticAtoms:
    """The initial atoms of some predicates, to be looked up by predicate, or by predicate, place and object."""

    def __init__(self, atoms: Iterable[Atom], predicates: Collection[str]) -> None:
        self.predicates = predicates
        self._by_name: dict[str, list[Atom]] = {}
        self._by_place: dict[tuple[str, int, str], list[Atom]] = {}
        for atom in sorted(atom for atom in atoms if atom[0] in predicates):
            self._by_name.setdefault(atom[0], []).append(atom)
            for place, name in enumerate(atom[1:], 1):
                self._by_place.setdefault((atom[0], place, name), []).append(atom)

    def matching(self, atom: Atom, binding: Mapping[str, str]) -> list[Atom]:
        """Atoms that may be the bound one, found by its place with the fewest."""
        found = self._by_name.get(atom[0], [])
        for place, word in enumerate(atom[1:], 1):
            name = binding.get(word, word)
            if not name.startswith("?"):
                here = self._by_place.get((atom[0], place, name), [])
                if len(here) < len(found):
                    found = here
        return found


class Grounder:
    """Fills the parameters of a task's actions; the candidates of all of them together are counted."""

    def __init__(self, task_name: str, static: StaticAtoms, objects_of: Callable[[str], tuple[str, ...]]) -> None:
        self._task_name = task_name
        self._static = static
        self._objects_of = objects_of
        self._tried = 0

    def arguments(self, action: Action) -> list[tuple[str, ...]]:
        """Argument tuples of the right types under which the static conjuncts of the precondition hold (positive atoms, and what
        may not be the same), in declaration order of the objects. Raises TooLarge."""
        variables = [parameter.name for parameter in action.parameters]
        places = {p.name: {name: place for place, name in enumerate(self._objects_of(p.type))} for p in action.parameters}
        parts = conjuncts(action.precondition)
        atoms = [part.atom for part in parts if isinstance(part, Literal) and part.atom[0] in self._static.predicates]
        unequal: dict[str, set[str]] = {variable: set() for variable in variables}
        for part in parts:
            if isinstance(part, Not) and isinstance(part.part, Literal) and part.part.atom[0] == "=":
                _, left, right = part.part.atom
                for one, other in ((left, right), (right, left)):
                    unequal.setdefault(one, set()).add(other)
        found: list[tuple[str, ...]] = []

        def bound(binding: dict[str, str], word: str, name: str) -> bool:
            """Binds one variable where it contradicts nothing."""
            if word in binding:
                return binding[word] == name
            if name not in places[word] or any(binding.get(other, other) == name for other in unequal[word]):
                return False
            binding[word] = name
            return True

        def extend(binding: dict[str, str], waiting: list[Atom]) -> None:
            if waiting:
                # The atom with the fewest candidates first: one that is bound already is one look-up, and cuts all that is below.
                chosen = min(waiting, key=lambda atom: len(self._static.matching(atom, binding)))
                rest = [atom for atom in waiting if atom is not chosen]
                for candidate in self._static.matching(chosen, binding):
                    self._count()
                    inner = dict(binding)
                    pairs = zip(chosen[1:], candidate[1:], strict=True)
                    if all(bound(inner, word, name) if word.startswith("?") else word == name for word, name in pairs):
                        extend(inner, rest)
                return
            free = next((variable for variable in variables if variable not in binding), None)
            if free is None:
                found.append(tuple(binding[variable] for variable in variables))
                if len(found) > 2 * MAXIMUM_GROUND:  # twice, since some are ruled out for other reasons
                    raise TooLarge(self._task_name, f"action '{action.name}' alone has more than {2 * MAXIMUM_GROUND:,} steps")
                return
            for name in places[free]:
                self._count()
                inner = dict(binding)
                if bound(inner, free, name):
                    extend(inner, [])

        extend({}, atoms)
        found.sort(key=lambda arguments: [places[variable][name] for variable, name in zip(variables, arguments, strict=True)])
        return found

    def _count(self) -> None:
        self._tried += 1
        if self._tried > MAXIMUM_TRIED:
            raise TooLarge(self._task_name, f"more than {MAXIMUM_TRIED:,} ways to fill the parameters were tried")
