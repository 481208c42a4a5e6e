"""Plans for a random exercise: what solves it as it is, in other dress, and broken in every way."""

from __future__ import annotations

import random
from collections.abc import Callable

from naive_simulator import World, read_plan

PLANS_PER_EXERCISE = 8

Step = tuple[str, ...]


def plans_of(rng: random.Random, world: World, walks: list[tuple[Step, ...]], timed: bool) -> tuple[tuple[str, str], ...]:
    """The first walk as it is, then others and mutants."""
    found = [("solution", _text(walks[0]))]
    kinds = [*_MUTATIONS, *list(_MUTATIONS)[:8], "walk", "double", "empty", "upper", "comments", "one line", "stamped"]
    while len(found) < PLANS_PER_EXERCISE:
        kind = rng.choice(kinds)
        steps = rng.choice(walks)
        if kind == "walk":
            found.append((kind, _text(walks[-1])))
        elif kind == "double":
            first, second = rng.choice(list(_MUTATIONS)), rng.choice(list(_MUTATIONS))
            mutant = _MUTATIONS[second](rng, world, _MUTATIONS[first](rng, world, steps))
            found.append((f"{first}, {second}", _text(mutant)))
        elif kind in _MUTATIONS:
            found.append((kind, _text(_MUTATIONS[kind](rng, world, steps))))
        else:
            found.append((kind, _presented(rng, kind, steps, timed)))
    return tuple(found)


def _text(steps: tuple[Step, ...]) -> str:
    return "".join(f"({' '.join(step)})\n" for step in steps)


def _presented(rng: random.Random, kind: str, steps: tuple[Step, ...], timed: bool) -> str:
    """The same steps in another form that both VAL and the extraction accept."""
    text = _text(steps)
    match kind:
        case "empty":
            return rng.choice(("", "\n", "; nothing\n"))
        case "upper":
            return text.upper()
        case "comments":
            return "; a plan\n" + "".join(f"{line} ; (not a step)\n" for line in text.splitlines())
        case "one line":
            return text.replace("\n", rng.choice((" ", "", "\t"))) + "\n"
    # A time stamp is a time to VAL and a number to the extraction: timed constraints need the steps at 1, 2, 3...
    start, form = (1, "{}: {} [1]\n") if timed else (rng.choice((0, 1)), rng.choice(("{}: {}\n", "{}.000: {}\n", "{}: {} [1]\n")))
    return "".join(form.format(number, line) for number, line in enumerate(text.splitlines(), start))


Mutation = Callable[[random.Random, World, tuple[Step, ...]], tuple[Step, ...]]


def _changed(rng: random.Random, steps: tuple[Step, ...], change: Callable[[Step], Step]) -> tuple[Step, ...]:
    """The steps with one of them changed."""
    if not steps:
        return steps
    at = rng.randrange(len(steps))
    return (*steps[:at], change(steps[at]), *steps[at + 1 :])


def _with_argument(rng: random.Random, step: Step, names: list[str]) -> Step:
    if len(step) == 1 or not names:
        return step
    at = rng.randrange(1, len(step))
    return (*step[:at], rng.choice(names), *step[at + 1 :])


def _drop(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    at = rng.randrange(len(steps)) if steps else 0
    return steps[:at] + steps[at + 1 :]


def _swap(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    plan = list(steps)
    if plan:
        first, second = rng.randrange(len(plan)), rng.randrange(len(plan))
        plan[first], plan[second] = plan[second], plan[first]
    return tuple(plan)


def _duplicate(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    at = rng.randint(0, len(steps))
    return (*steps[:at], *steps[at : at + 1], *steps[at:])


def _other_argument(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """One argument becomes another object of its own type."""

    def change(step: Step) -> Step:
        if len(step) == 1 or step[0] not in world.actions:
            return step
        at = rng.randrange(1, len(step))
        own = world.objects.get(step[at])
        return (*step[:at], rng.choice([n for n, kind in world.objects.items() if kind == own] or [step[at]]), *step[at + 1 :])

    return _changed(rng, steps, change)


def _any_argument(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return _changed(rng, steps, lambda step: _with_argument(rng, step, list(world.objects)))


def _unknown_object(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return _changed(rng, steps, lambda step: _with_argument(rng, step, ["nobody"]))


def _unknown_action(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return _changed(rng, steps, lambda step: ("no-such-action", *step[1:]))


def _argument_missing(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return _changed(rng, steps, lambda step: step[:-1] if len(step) > 1 else step)


def _argument_too_many(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return _changed(rng, steps, lambda step: (*step, rng.choice(list(world.objects))))


def _truncate(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return steps[: rng.randint(0, len(steps))]


def _shuffle(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(rng.sample(steps, len(steps)))


def _append(rng: random.Random, world: World, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    name = rng.choice(list(world.actions))
    bindings = list(world.bindings(world.actions[name].get(":parameters", []), {}))
    return (*steps, (name, *rng.choice(bindings).values())) if bindings else steps


_MUTATIONS: dict[str, Mutation] = {
    "drop": _drop,
    "swap": _swap,
    "duplicate": _duplicate,
    "other argument": _other_argument,
    "any argument": _any_argument,
    "truncate": _truncate,
    "shuffle": _shuffle,
    "append": _append,
    "unknown object": _unknown_object,
    "unknown action": _unknown_action,
    "argument missing": _argument_missing,
    "argument too many": _argument_too_many,
}


def is_readable(world: World, text: str) -> bool:
    """Whether every step names a known action, as many arguments as it takes, and known objects."""
    return all(
        step[0] in world.actions
        and len(step) - 1 == len(world.parameters(step[0]))
        and all(name in world.objects for name in step[1:])
        for step in read_plan(text)
    )
