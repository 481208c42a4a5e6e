"""The reward cannot be gamed: properties over real plans and what can be made of them."""

import random

import pytest

from grpo_project.configs.reward import RewardConfig
from grpo_project.domains import all_domains
from grpo_project.errors import ConfigError
from grpo_project.pddl import compile_task, find_plan, validate, validate_text
from grpo_project.rewards import make_reward_function, score

CONFIGS = [RewardConfig(), RewardConfig(mode="sparse")]


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


def test_no_truncation_of_a_failing_plan_beats_it():
    rng = random.Random(2)
    compared = 0
    for task, steps in CASES:
        for made in (walk(task, rng, 12), steps[: len(steps) // 2] + walk(task, rng, 3), tuple(reversed(steps))):
            verdict = validate(task, made)
            if verdict.success:
                continue
            whole = score(verdict, CONFIGS[0]).total
            for cut in range(len(made)):
                part = validate(task, made[:cut])
                if not part.success:
                    compared += 1
                    assert score(part, CONFIGS[0]).total <= whole
    assert compared > 100


def test_nothing_after_the_failing_step_matters():
    for task, steps in CASES:
        broken = (steps[0], steps[0])
        verdict = validate(task, broken)
        if verdict.verdict_class == "precondition_violation":
            assert total(task, broken, CONFIGS[0]) == total(task, broken + steps, CONFIGS[0])


def test_more_of_a_goal_reaching_plan_never_loses():
    for task, steps in CASES:
        values = [total(task, steps[:cut], CONFIGS[0]) for cut in range(len(steps) + 1)]
        assert values == sorted(values)


def test_empty_prose_and_cut_off_answers_score_the_lowest():
    for task, steps in CASES:
        honest = "".join(f"({' '.join(step)})\n" for step in steps)
        for text in ("", "I would unstack everything.", "Sure!\n" + honest, honest[:-3]):
            assert score(validate_text(task, text), CONFIGS[0]).total == -1.0


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
