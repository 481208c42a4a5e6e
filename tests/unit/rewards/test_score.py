"""The reward cannot be gamed: properties over real plans and what can be made of them."""

import random
from dataclasses import replace

import pytest

from grpo_project.configs.reward import RewardConfig, parse_bands
from grpo_project.domains import all_domains
from grpo_project.errors import ConfigError
from grpo_project.pddl import compile_task, find_plan, parse_domain, parse_problem, validate, validate_text
from grpo_project.pddl.model import And
from grpo_project.rewards import make_reward_function, score

CONFIGS = [RewardConfig(), RewardConfig(mode="sparse"), RewardConfig(mode="banded")]


def solved(name, index):
    """(task, plan) of a small constrained problem."""
    domain = all_domains()[name]
    rng = random.Random(f"rewards/{name}/{index}")
    while True:
        parameters = domain.draw_parameters(rng, domain.sizes["train"])
        task = compile_task(domain.domain, domain.generate(rng, parameters, True))
        steps = find_plan(task, 20_000, domain.heuristic(task)).steps
        if steps:
            return task, steps


CASES = [solved(name, index) for name in all_domains() for index in range(4)]


def walk(task, rng, length):
    """A random walk of applicable steps."""
    actions = task.applicable_actions()
    state, steps = task.initial, []
    for _ in range(length):
        applicable = [a for a in actions if a.condition.holds(state)]
        if not applicable:  # the end of a corridor
            break
        action = rng.choice(applicable)
        state = action.apply(state)
        steps.append(action.step)
    return tuple(steps)


def total(task, steps, config):
    return score(validate(task, steps), config).total


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.mode)
def test_success_strictly_dominates_and_everything_else_is_negative(config):
    rng = random.Random(1)
    failures = 0
    for task, steps in CASES:
        assert total(task, steps, config) == 1.0
        for made in (steps[:-1], steps[1:], walk(task, rng, 6), steps + (("no-such-action",),)):
            verdict = validate(task, made)
            if not verdict.success:
                failures += 1
                assert -1.0 <= score(verdict, config).total < 0.0
    assert failures >= 2 * len(CASES)


def failing_plans(rng):
    """(task, steps) of plans that fail in all the ways of a plan that can be read."""
    for task, steps in CASES:
        middle = len(steps) // 2
        candidates = [walk(task, rng, 12), steps[:middle] + walk(task, rng, 3), tuple(reversed(steps)), steps[:middle] + steps]
        for made in candidates:
            if not validate(task, made).success:
                yield task, made


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.mode)
def test_no_truncation_of_a_failing_plan_beats_it(config):
    compared, classes = 0, set()
    for task, made in failing_plans(random.Random(2)):
        verdict = validate(task, made)
        classes.add(verdict.verdict_class)
        whole = score(verdict, config).total
        for cut in range(len(made)):
            part = validate(task, made[:cut])
            if not part.success:
                compared += 1
                assert score(part, config).total <= whole
    assert compared > 100
    assert classes == {"precondition_violation", "safety_constraints_violation", "goal_not_satisfied"}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.mode)
def test_nothing_after_the_failing_step_matters(config):
    rng = random.Random(3)
    compared = 0
    for task, made in failing_plans(rng):
        verdict = validate(task, made)
        if verdict.verdict_class not in ("precondition_violation", "safety_constraints_violation"):
            continue
        # The state that broke a constraint is found broken when the next step is looked at, or at the goal.
        stop = verdict.failing_step or verdict.state_index
        for rest in (made, made[:1] * 3, CASES[0][1] if task is CASES[0][0] else made[::-1]):
            compared += 1
            assert total(task, made[:stop] + made[stop : stop + 1] + rest, config) == total(task, made, config)
    assert compared > 30


def loop_at(task, state):
    """Two steps that lead from the state and back, or None."""
    actions = task.applicable_actions()
    for action in actions:
        if action.condition.holds(state):
            after = action.apply(state)
            for back in actions:
                if back.condition.holds(after) and back.apply(after) == state:
                    return (action.step, back.step)
    return None


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.mode)
def test_loops_and_repetition_never_gain(config):
    """Without constraints, that is: where one asks for a visit, a loop can be the visit."""
    compared = 0
    for constrained, made in failing_plans(random.Random(4)):
        task = compile_task(constrained.domain, replace(constrained.problem, constraints=None))
        verdict = validate(task, made)
        if verdict.success:
            continue
        stop = verdict.failing_step - 1 if verdict.failing_step else len(made)
        state, before = task.initial, score(verdict, config).total
        for cut in range(stop + 1):
            loop = loop_at(task, state)
            if loop and cut:  # the first step that runs earns what running earns
                for times in (1, 20):
                    compared += 1
                    assert total(task, made[:cut] + loop * times + made[cut:], config) == before
            if cut < stop:
                assert total(task, made[:cut] + made[cut : cut + 1] * 3, config) <= before
                state = task.ground(made[cut]).apply(state)
    assert compared > 100


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.mode)
def test_more_of_a_goal_reaching_plan_never_loses(config):
    for task, steps in CASES:
        values = [total(task, steps[:cut], config) for cut in range(len(steps) + 1)]
        assert values == sorted(values)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.mode)
def test_a_violated_constraint_never_beats_respecting_it(config):
    """The same steps, with the constraint and without: what breaks it earns at most what it would have earned."""
    broken = 0
    for task, made in failing_plans(random.Random(5)):
        verdict = validate(task, made)
        if verdict.verdict_class == "safety_constraints_violation":
            broken += 1
            free = compile_task(task.domain, replace(task.problem, constraints=None))
            assert score(verdict, config).total <= total(free, made, config)
            assert score(verdict, config).total <= total(task, made[: verdict.state_index], config)
    assert broken > 5


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.mode)
def test_empty_prose_and_cut_off_answers_score_the_lowest(config):
    for task, steps in CASES:
        honest = "".join(f"({' '.join(step)})\n" for step in steps)
        assert score(validate_text(task, honest), config).total == 1.0
        for text in ("", ";" + honest.replace("\n", " "), "I would unstack everything.", "Sure!\n" + honest, honest[:-3]):
            assert score(validate_text(task, text), config).total == -1.0


def test_a_goal_that_holds_at_the_start_pays_no_empty_plan():
    task = CASES[0][0]
    done = compile_task(task.domain, replace(task.problem, goal=And(()), constraints=None))
    assert validate_text(done, "").success
    for config in CONFIGS:
        assert score(validate_text(done, ""), config).total == -1.0


def test_bands_that_differ_among_failures_are_named_as_what_they_invite():
    safe = RewardConfig(mode="banded", bands=parse_bands("success_plans=0.5:1"))
    assert safe.weaknesses() == ()
    stepped = RewardConfig(mode="banded", bands=parse_bands("precondition_violation=-0.9:-0.5,goal_not_satisfied=-0.4:-0.1"))
    assert stepped.weaknesses()[0] == "a plan gains by stopping before the step whose precondition fails"
    # And so it does: the same plan, cut before its failing step, earns more.
    gains = 0
    for task, made in failing_plans(random.Random(2)):
        stop = (validate(task, made).failing_step or 1) - 1
        if stop and validate(task, made[:stop]).verdict_class == "goal_not_satisfied":
            gains += 1
            assert total(task, made[:stop], stepped) > total(task, made, stepped)
    assert gains > 3


@pytest.mark.parametrize("text", ["goal=1:2", "goal_not_satisfied", "goal_not_satisfied=-2:0", "goal_not_satisfied=0:-1"])
def test_wrong_bands_are_refused(text):
    with pytest.raises(ConfigError, match="band"):
        parse_bands(text)


def test_no_failure_may_reach_a_success():
    with pytest.raises(ConfigError, match="lowest success"):
        RewardConfig(mode="banded", bands=parse_bands("goal_not_satisfied=-0.5:1.0"))


def test_the_trl_adapter_scores_in_order_and_refuses_what_does_not_match():
    class Table:
        def task(self, row_index):
            return CASES[row_index][0]

    seen = []
    function = make_reward_function(Table(), CONFIGS[0], seen.extend)
    texts = ["".join(f"({' '.join(step)})\n" for step in steps) for _, steps in CASES[:3]]
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    assert function(prompts=[None] * 3, completions=messages, row_index=[0, 1, 2]) == [1.0, 1.0, 1.0]
    assert function(prompts=[None], completions=["nonsense"], row_index=[0]) == [-1.0]
    assert [item.row_index for item in seen] == [0, 1, 2, 0]
    with pytest.raises(ValueError, match="row indices"):
        function(prompts=[None], completions=["a"], row_index=[0, 1])


@pytest.mark.parametrize("settings", [{"mode": "magic"}, {"success": 0}, {"failure_ceiling": 0.1}, {"executed_bonus": 2}])
def test_a_wrong_reward_config_cannot_exist(settings):
    with pytest.raises(ConfigError):
        RewardConfig(**settings)


SOFT = """(define (domain lamps) (:requirements :preferences) (:constants a b c) (:predicates (lit ?l))
  (:action on :parameters (?l) :precondition (not (lit ?l)) :effect (lit ?l)))"""
SOFT_GOAL = "(and (lit a) (preference two (lit b)) (preference three (lit c)))"


@pytest.mark.parametrize(
    ("plan", "weight", "expected"),
    [
        ("(on a)", 0.0, 1.0),
        ("(on a)", 0.4, 0.6),
        ("(on a) (on b)", 0.4, 0.8),
        ("(on a) (on b) (on c)", 0.4, 1.0),
        ("(on b) (on c)", 0.4, None),  # a failure is paid as ever
    ],
)
@pytest.mark.parametrize("mode", ["dense", "banded"])
def test_violated_preferences_cost_a_share_of_success_where_they_count(plan, weight, expected, mode):
    domain = parse_domain(SOFT)
    problem = parse_problem(f"(define (problem p) (:domain lamps) (:init) (:goal {SOFT_GOAL}))", domain)
    verdict = validate_text(compile_task(domain, problem), plan)
    bands = {"success_plans": (0.0, 1.0), **dict.fromkeys(("precondition_violation", "goal_not_satisfied"), (-0.8, -0.1))}
    config = RewardConfig(mode=mode, preference_weight=weight, bands=bands)
    if expected is None:
        expected = score(verdict, replace(config, preference_weight=0.0)).total
        assert expected < 0
    assert score(verdict, config).total == pytest.approx(expected)
    assert ("preference_weight" in config.as_dict()) == (weight > 0)


def test_preferences_never_cost_all_of_a_success():
    with pytest.raises(ConfigError, match="preference_weight must lie in"):
        RewardConfig(preference_weight=1.0)
