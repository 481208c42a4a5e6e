"""The reward under --plan_reading lenient cannot be gamed: text around a plan earns nothing, and a wrong plan stays wrong."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo_project.configs.reward import LOWEST, RewardConfig
from grpo_project.configs.setting import OnResume, nature_of
from grpo_project.configs.settings import default_of
from grpo_project.configs.settings import settings as fields
from grpo_project.domains import all_domains
from grpo_project.pddl import compile_task, find_plan, render_plan, validate
from grpo_project.pddl.lenient import PLAN_READINGS
from grpo_project.rewards import score
from grpo_project.rewards.verifier import make_verifier

VERIFY = make_verifier("builtin", Path(), print, "lenient")
CONFIGS = [RewardConfig(), RewardConfig(mode="sparse"), RewardConfig(mode="banded")]
config_of_mode = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.mode)


def solved(name, index):
    """(task, plan) of a small constrained problem."""
    domain = all_domains()[name]
    rng = random.Random(f"lenient/{name}/{index}")
    while True:
        task = compile_task(domain.domain, domain.generate(rng, domain.draw_parameters(rng, domain.sizes["train"]), True))
        steps = find_plan(task, 20_000, domain.heuristic(task)).steps
        if steps:
            return task, steps


CASES = [solved(name, index) for name in all_domains() for index in range(2)]


def plans(task, steps, rng):
    """The plan, and plans that may fail: cut, swapped, doubled, with a step of another place or of no action."""
    place = rng.randrange(len(steps))
    yield steps
    yield steps[:place]
    yield steps[place + 1 :]
    yield (*steps[:place], *steps[place + 1 :])
    yield (*steps[:place], steps[-1], *steps[place:])
    yield (*steps[:place], ("no-such-action", "x"), *steps[place:])
    yield tuple(reversed(steps))


def made_plans(seed):
    rng = random.Random(seed)
    for task, steps in CASES:
        for made in plans(task, steps, rng):
            if any(step[0] in task.domain.actions for step in made):
                yield task, made


def honest(task, steps, config):
    """What the plan earns that is written alone."""
    return score(validate(task, steps), config).total


def lenient(task, text, config):
    return score(VERIFY(task, text), config).total


def test_training_is_strict_unless_asked_and_a_continued_run_keeps_its_reading():
    nature = nature_of(next(spec for spec in fields() if spec.name == "plan_reading"))
    assert default_of("plan_reading") == "strict"
    assert nature.on_resume is OnResume.FIXED and not nature.by_card
    assert tuple(nature.choices) == PLAN_READINGS


@pytest.mark.parametrize("validator", ["builtin", "val", "both"])
def test_every_validator_reads_as_asked(validator, tmp_path, capsys):
    task, steps = CASES[0]
    text = f"So:\n{render_plan(steps)}Done."
    assert make_verifier(validator, tmp_path, print, "lenient")(task, text).success
    assert make_verifier(validator, tmp_path, print)(task, text).verdict_class == "plan_format_error"
    assert capsys.readouterr().out == ""


FORMS = [
    "{}",
    "Here is the plan:\n{}",
    "First I thought about it.\n\n{}\nThis reaches the goal, since every step is right.",
    "Sure!\n```pddl\n{}```\nIt works.",
    "[PLAN]\n{}[PLAN END]\nIt works.",
    "<s>[INST] Plan! [/INST] {}</s>",
    "<think>easy</think>The plan is\n\n{}",
]


@config_of_mode
def test_text_around_a_plan_earns_nothing_and_costs_nothing(config):
    compared = 0
    for task, made in made_plans(1):
        for form in FORMS:
            assert lenient(task, form.format(render_plan(made)), config) == honest(task, made, config)
            compared += 1
    assert compared > 200


@config_of_mode
def test_prose_without_a_plan_earns_the_least(config):
    for task, steps in CASES:
        words = " and then ".join(f"({' '.join(step)})" for step in steps)
        for text in (f"I would {words}.", f"```\nI would {words}\n```", "I would plan.", "Done:\n```\n```", f"<think>{words}"):
            assert lenient(task, text, config) == LOWEST


@config_of_mode
def test_of_several_plans_the_last_counts_whatever_the_others_are(config):
    compared = 0
    between = [
        "{0}No, rather:\n{1}",
        "```\n{0}```\n```\n{1}```",
        "{0}\nOr:\n```\n{1}```\n",
        "[PLAN]{0}[PLAN END]\n[PLAN]{1}[PLAN END]",
    ]
    between += ["[INST] {0} [/INST] {1}", "1st:\n{0}\n2nd:\n{1}\nOne of them works."]
    for task, made in made_plans(2):
        steps = next(steps for known, steps in CASES if known is task)
        for form in between:
            for first, last in ((steps, made), (made, steps), (made, made[::-1])):
                text = form.format(render_plan(first), render_plan(last))
                assert lenient(task, text, config) == honest(task, last, config)
                compared += 1
    assert compared > 400


HIDDEN = [
    "{0} as I said",
    "then {0}",
    "~~{0}~~",
    "{1}",
    "{0} ({0})",
    "({0})",
    "{0}: done",
    "% {0}",
    "// {0}",
    "# {0} #",
    "{0} {1}",
]


@config_of_mode
def test_a_step_that_is_made_unreadable_does_not_vanish_from_its_plan(config):
    """Its plan earns no more than with the step, and no more than without what follows it."""
    rng = random.Random(3)
    compared = 0
    for task, made in made_plans(4):
        lines = render_plan(made).splitlines()
        known = [place for place, step in enumerate(made) if step[0] in task.domain.actions]
        for form in HIDDEN:
            place = rng.choice(known)
            hidden = form.format(lines[place], lines[place][:-1])
            for around in ("{}", "So:\n{}\nDone.", "So:\n```\n{}\n```\nDone."):
                between = "\n\n" if hidden.startswith(lines[place][:-1]) and rng.random() < 0.5 else "\n"
                text = around.format(between.join([*lines[:place], hidden, *lines[place + 1 :]]))
                assert lenient(task, text, config) == LOWEST
                compared += 1
    assert compared > 500


@config_of_mode
def test_no_cut_of_an_answer_beats_it(config):
    compared = 0
    for task, made in made_plans(5):
        for form in FORMS[1:4]:
            text = form.format(render_plan(made))
            whole = lenient(task, text, config)
            verdict = validate(task, made)
            if verdict.success or verdict.verdict_class == "plan_format_error":  # as strictly: a plan of what can be read
                continue
            for cut in range(0, len(text), 7):
                if not VERIFY(task, text[:cut]).success:
                    assert lenient(task, text[:cut], config) <= whole
                    compared += 1
    assert compared > 500


PIECES = ["So:\n", "\n", "\n\n", "No.\n", "```\n", "[PLAN]\n", "[PLAN END]\n"]
PIECES += ["1. ", "2. ", "- ", "**", "[/INST]", "<think>", "</think>", "("]


@settings(deadline=None)
@given(st.data())
def test_no_answer_earns_more_than_a_plan_that_stands_in_it(data):
    """Whatever is mixed: the reward is the least, or that of some steps of the answer, next to each other and in its order."""
    task, steps = data.draw(st.sampled_from(CASES[:6]))
    lines = st.sampled_from([f"({' '.join(step)})\n" for step in steps[:5]] + [f"{' '.join(steps[0])}\n"])
    text = "".join(data.draw(st.lists(st.one_of(st.sampled_from(PIECES), lines), max_size=10)))
    got = VERIFY(task, text)
    if got.steps_executed == 0:
        return
    phrases = sorted({" ".join(step) for step in steps[:5]}, key=len, reverse=True)
    written = [tuple(phrase.split()) for phrase in re.findall("|".join(map(re.escape, phrases)), text)]
    parts = [written[first:last] for first in range(len(written)) for last in range(first + 1, len(written) + 1)]
    assert any(validate(task, part) == got for part in parts)
