"""Types: their parents, and which object may stand where.

A type is a word, or several as `(either a b)`. For a variable that is one of them; an object declared so is of all of them (VAL's
reading), as is one that is declared twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ROOT_TYPE = "object"

Parents = Mapping[str, tuple[str, ...]]


def either(kinds: Iterable[str]) -> str:
    """One type for several: the word itself where there is one, else "(either a b)", sorted."""
    members = sorted({member for kind in kinds for member in members_of(kind)})
    return members[0] if len(members) == 1 else f"(either {' '.join(members)})"


def members_of(kind: str) -> tuple[str, ...]:
    """The words of a type: ("a", "b") of "(either a b)"."""
    return tuple(kind[1:-1].split()[1:]) if kind.startswith("(") else (kind,)


class TypeHierarchy:
    """The types of a domain. A declared type without parents is under `object` only where `object` is not declared itself (VAL's
    reading; grippers depends on it)."""

    def __init__(self, parents: Parents) -> None:
        self._parents = parents
        self._above: dict[str, frozenset[str]] = {}
        self._known: dict[tuple[str, str], bool] = {}

    def above(self, word: str) -> frozenset[str]:
        """A type and all its ancestors; a circle among them ends there."""
        if word not in self._above:
            found, waiting = {word}, [word]
            while waiting:
                new = set(self._parents.get(waiting.pop(), ())) - found
                found |= new
                waiting += new
            if ROOT_TYPE not in self._parents:
                found.add(ROOT_TYPE)
            self._above[word] = frozenset(found)
        return self._above[word]

    def fits(self, own: str, wanted: str) -> bool:
        """Whether an object of type `own` may stand where `wanted` is asked for."""
        pair = own, wanted
        known = self._known.get(pair)
        if known is None:
            wide = members_of(wanted)
            known = self._known[pair] = any(not self.above(word).isdisjoint(wide) for word in members_of(own))
        return known
