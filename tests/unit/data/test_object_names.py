"""Other names for objects: which, in what order, and that the stream of problems stays the same under all of them."""

from __future__ import annotations

import random

import pytest
from shipped_domains import TRAINED

from grpo_project.data.instances import generate_instance, under_other_names
from grpo_project.data.object_names import INVENTED_SHARE, NAMINGS, rename_objects
from grpo_project.domains import get_domain
from grpo_project.domains.base import goal_atoms


def some(name: str, count: int = 30) -> list[tuple[object, object]]:
    domain = get_domain(name)
    return [(domain, generate_instance(domain, 5, index, domain.sizes["train"], 0.5)) for index in range(count)]


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("name", TRAINED)
def test_names_are_of_the_kind_asked_for_and_the_same_every_time(name: str, naming: str) -> None:
    vocabulary = set(get_domain(name).object_names)
    known = 0
    for domain, instance in some(name):
        shown, names = under_other_names(domain, instance, naming)  # type: ignore[arg-type]
        assert under_other_names(domain, instance, naming) == (shown, names)  # type: ignore[arg-type]
        assert shown.problem == names.problem(instance.problem, instance.problem.name) or naming != "conventional"  # type: ignore[attr-defined]
        inside = vocabulary & set(shown.problem.objects)
        assert inside in (set(), set(shown.problem.objects))
        known += bool(inside)
    if naming == "any":
        assert 0 < 30 - known < 2 * 30 * INVENTED_SHARE
    else:
        assert known == (0 if naming == "invented" else 30)


@pytest.mark.parametrize("name", TRAINED)
def test_goals_follow_the_list_of_objects(name: str) -> None:
    for domain, instance in some(name):
        problem, _ = rename_objects(domain, instance.problem, "drawn", random.Random(3))  # type: ignore[arg-type, attr-defined]
        place = {object_name: number for number, object_name in enumerate(problem.objects)}
        first = [place[atom[1]] for atom in goal_atoms(problem.goal)]
        assert first == sorted(first)
