"""Rewards by name: what can be named, how several add up, and what a user's function may not do."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from grpo_project.configs.reward import RewardConfig, parse_bands
from grpo_project.data.rows import read_rows
from grpo_project.errors import ConfigError, RewardError
from grpo_project.rewards import NamedReward, make_reward_function, parse_rewards
from grpo_project.rewards.registry import preset_reward, reward_source

TABLE = read_rows("data/test", ["ferry", "spanner"])
ROWS = [0, 0, TABLE.indices_of("spanner")[0]]
PLAN = TABLE.rows[0].response
ANSWERS = [PLAN, PLAN.strip().splitlines()[0], "no plan at all"]  # whole, its first step, none


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(
        "def steps(prompts, completions, verdict, **columns):\n"
        "    return [found.steps_total for found in verdict]\n"
        "def dense(prompts, completions, **columns):\n"
        "    return [0.5] * len(completions)\n"
        "seen = []\n"
        "def sees(prompts, completions, **columns):\n"
        "    seen.append((prompts, completions, columns))\n"
        "    return [0.0] * len(completions)\n"
    )
    return file


def scored(*specs: str) -> tuple[list[float], list[Any]]:
    """(totals, what the observer saw) of three completions of two problems."""
    seen: list[Any] = []
    reward = make_reward_function(TABLE, parse_rewards(specs), seen.extend)
    return reward(prompts=["p"] * 3, completions=ANSWERS, row_index=ROWS), seen


def test_presets_and_functions_have_names_and_weights(mine: Path) -> None:
    rewards = parse_rewards(["dense", "sparse=0.5", f"{mine}:steps=-0.1", f"{mine}:dense"])
    assert [(reward.name, reward.weight, reward.is_preset) for reward in rewards] == [
        ("dense", 1.0, True),
        ("sparse", 0.5, True),
        ("steps", -0.1, False),
        ("mine.dense", 1.0, False),  # its own name is taken
    ]


def test_a_sign_in_the_path_is_no_weight(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    (tmp_path / "a=b" / "mine.py").write_text("def own(prompts, completions, **columns): return [0.0]\n")
    specs = [f"{tmp_path}/a=b/mine.py:own", "dense", f"{tmp_path}/a=b/mine.py:own=2"]
    assert [(reward.name, reward.weight) for reward in parse_rewards(specs)] == [("own", 1), ("dense", 1), ("mine.own", 2)]


@pytest.mark.parametrize(
    ("specs", "bands", "words"),
    [
        ([], "", "--reward needs a reward: dense, banded, sparse, or path"),
        (["generous"], "", "--reward must be one of dense, banded, sparse, or path/to/file.py:function; got 'generous'"),
        (["mine.py"], "", "must be one of"),
        (["other.py:own"], "", "--reward other.py:own: there is no file other.py"),
        (["mine.py:other"], "", "--reward mine.py:other: mine.py has no function other"),
        (["mine.py:narrow"], "", "--reward mine.py:narrow must be a function that takes (prompts, completions, **columns)"),
        (["mine.py:waits"], "", "--reward mine.py:waits must be a function that takes"),
        (["leaves.py:own"], "", "--reward leaves.py:own: leaves.py fails when it is loaded: SystemExit: 3"),
        (["mine.py:not a name"], "", "write path/to/file.py:function"),
        (["dense=much"], "", "--reward dense=much: the weight 'much' is no number"),
        (["dense="], "", "the weight '' is no number"),
        (["dense=0"], "", "a weight is a finite number other than 0, got 0"),
        (["mine.py:steps=nan"], "", "a weight is a finite number other than 0, got nan"),
        (["mine.py:steps=inf"], "", "a weight is a finite number other than 0, got inf"),
        (["dense=-1"], "", "--reward dense=-1 would pay for failing"),
        (["dense", "dense=0.5"], "", "there is a reward dense already"),
        (["mine.py:steps", "mine.py:steps", "mine.py:steps"], "", "there is a reward mine.steps already"),
        (["dense"], "goal_not_satisfied=-0.5:-0.1", "--reward_bands needs --reward banded"),
        (["banded"], "goal=1:2", "is no verdict class"),
    ],
)
def test_what_cannot_be_used_ends_in_one_line(
    mine: Path, monkeypatch: pytest.MonkeyPatch, specs: list[str], bands: str, words: str
) -> None:
    monkeypatch.chdir(mine.parent)
    with mine.open("a") as file:
        file.write("\ndef narrow(prompts, completions): return [0.0] * len(completions)\nasync def waits(**columns): return []\n")
    Path("leaves.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(ConfigError) as error:
        parse_rewards(specs, bands)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_bands_are_those_of_banded() -> None:
    text = "goal_not_satisfied=-0.5:-0.2"
    for bands in (text, parse_bands(text)):
        (reward,) = parse_rewards(["banded"], bands)
        assert reward.function.config == RewardConfig(mode="banded", bands=parse_bands(text))


def test_the_total_is_the_weighted_sum_and_every_value_is_seen(mine: Path) -> None:
    dense, _ = scored("dense")
    totals, seen = scored("dense", f"{mine}:steps=-0.25", "sparse=0.5")
    counts = [len(PLAN.strip().splitlines()), 1, 0]
    sparse = [1.0, -1.0, -1.0]
    assert dense[0] == 1.0 > 0 > dense[1] > dense[2] == -1.0
    assert totals == [own - 0.25 * count + 0.5 * won for own, count, won in zip(dense, counts, sparse, strict=True)]
    assert [dict(item.rewards) for item in seen] == [
        {"dense": own, "steps": count, "sparse": won} for own, count, won in zip(dense, counts, sparse, strict=True)
    ]
    assert [(item.total, item.success) for item in seen] == list(zip(totals, [True, False, False], strict=True))
    assert pickle.loads(pickle.dumps(seen)) == seen  # as it goes from one process to another


def test_success_is_the_verifiers_where_no_preset_takes_part(mine: Path) -> None:
    totals, seen = scored(f"{mine}:dense")
    assert totals == [0.5] * 3
    assert [item.success for item in seen] == [True, False, False]


def test_one_preset_of_weight_1_is_the_preset_bit_by_bit() -> None:
    for mode in ("dense", "banded", "sparse"):
        plain = make_reward_function(TABLE, RewardConfig(mode=mode))
        assert scored(mode)[0] == plain(prompts=["p"] * 3, completions=ANSWERS, row_index=ROWS)


def test_a_function_is_called_once_with_trls_arguments_and_what_is_known_of_each_completion(mine: Path) -> None:
    from grpo_project.common.user_code import load_function

    seen = load_function(f"{mine}:sees", "--reward").__globals__["seen"]
    reward = make_reward_function(TABLE, parse_rewards([f"{mine}:sees", "dense"]))
    messages = [[{"role": "assistant", "content": text}] for text in ANSWERS]
    reward(prompts=["p"] * 3, completions=messages, row_index=ROWS, trainer_state="state", more=[1, 2, 3])
    ((prompts, completions, columns),) = seen
    assert (prompts, completions) == (["p"] * 3, messages)
    assert columns["scenario"] == ["ferry", "ferry", "spanner"]
    assert columns["problem_file"] == [TABLE.rows[row].problem_file for row in ROWS]
    assert columns["row_index"] == ROWS and columns["more"] == [1, 2, 3] and columns["trainer_state"] == "state"
    assert [found.verdict_class for found in columns["verdict"]] == [
        "success_plans",
        "goal_not_satisfied",
        "plan_format_error",
    ]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return 1 / 0", "raised ZeroDivisionError: division by zero in line 2 on a batch of 3 completions"),
        ("raise ValueError('one\\ntwo')", "raised ValueError: one in line 2 on a batch of 3 completions"),
        ("return (1 / 0 for _ in completions)", "raised ZeroDivisionError: division by zero in line 2"),
        ("pass", "returned None for 3 completions; return a list of numbers"),
        ("return 1.0", "returned 1.0 for 3 completions"),
        ("return [0.0] * 2", "returned 2 values for 3 completions; return one for each"),
        ("return []", "returned 0 values for 3 completions"),
        ("return [0.0, None, 1.0]", "returned None for completion 1 (from 0) of 3"),
        ("return [0.0, 1.0, float('nan')]", "returned nan for completion 2 (from 0) of 3"),
        ("return [float('inf'), 1.0, 0.0]", "returned inf for completion 0 (from 0) of 3"),
        ("return [0.0, '1.0', 0.0]", "returned '1.0' for completion 1 (from 0) of 3"),
        ("return [0.0, [1.0], 0.0]", "returned [1.0] for completion 1 (from 0) of 3"),
        ("return [0.0, 10 ** 400, 0.0]", "returned 100000000000000000...0000000000000000000 for completion 1 (from 0) of 3"),
        ("return 'abc'", "returned 'a' for completion 0 (from 0) of 3"),
        ("return {1: 0.5, 2: 0.5, 3: 0.5}", "returned {1: 0.5, 2: 0.5, 3: 0.5} for 3 completions; return a list of numbers"),
        ("return {0.0, 1.0, 0.5}", "returned {0.0, 0.5, 1.0} for 3 completions; return a list of numbers"),
        ("raise SystemExit('bye')", "raised SystemExit: bye in line 2"),
    ],
)
def test_a_function_that_fails_ends_in_one_line_that_names_it(tmp_path: Path, body: str, words: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"def own(prompts, completions, **columns):\n    {body}\n")
    with pytest.raises(RewardError) as error:
        scored("dense", f"{file}:own=0.1")
    assert str(error.value).startswith(f"the reward function own of {file} {words}")
    assert "\n" not in str(error.value)


def test_what_a_function_does_to_its_arguments_stays_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def spoils(prompts, completions, row_index, verdict, **columns):\n"
        "    count = len(completions)\n"
        "    completions[0][0]['content'] = ''\n"
        "    for column in (prompts, completions, row_index, verdict):\n"
        "        column.clear()\n"
        "    return [0.0] * count\n"
    )
    seen: list[Any] = []
    reward = make_reward_function(TABLE, parse_rewards([f"{file}:spoils", "dense"]), seen.extend)
    messages = [[{"role": "assistant", "content": text}] for text in ANSWERS]
    assert reward(["p"] * 3, messages, row_index=ROWS) == scored("dense")[0]
    assert [(one.row_index, one.text) for one in seen] == list(zip(ROWS, ANSWERS, strict=True))
    assert [message[0]["content"] for message in messages] == list(ANSWERS)


def test_arguments_go_by_name_as_trl_gives_them(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def own(completions, **columns):\n    return [float(len(text)) for text in completions]\n")
    assert scored(f"{file}:own")[0] == [float(len(text)) for text in ANSWERS]


def test_whatever_is_a_number_counts(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import fractions, numpy\n"
        "def own(prompts, completions, verdict, **columns):\n"
        "    return (verdict[0].success, numpy.float32(0.5), fractions.Fraction(1, 4))\n"
        "def array(prompts, completions, **columns):\n"
        "    return numpy.arange(3)\n"
    )
    assert scored(f"{file}:own")[0] == [1.0, 0.5, 0.25]
    assert scored(f"{file}:array")[0] == [0.0, 1.0, 2.0]


def test_a_tensor_with_a_gradient_is_a_number_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "def own(prompts, completions, **columns):\n"
        "    return torch.full((len(completions),), 0.5, requires_grad=True)\n"
    )
    assert scored(f"{file}:own")[0] == [0.5] * len(ANSWERS)


def test_a_fault_of_a_preset_is_ours_and_raises_as_it_is() -> None:
    class Broken:
        rows = TABLE.rows

        def task(self, row_index: int) -> Any:
            raise KeyError(row_index)

    with pytest.raises(KeyError):
        make_reward_function(Broken(), parse_rewards(["dense"]))(prompts=None, completions=["a"], row_index=[0])


def test_rewards_without_names_of_their_own_are_refused() -> None:
    for rewards in ([], [preset_reward(RewardConfig())] * 2):
        with pytest.raises(ValueError, match="one reward or more"):
            make_reward_function(TABLE, rewards)


def test_the_source_changes_with_code_and_weight_and_not_with_comments(mine: Path) -> None:
    def source(spec: str) -> str:
        return json.dumps(reward_source(parse_rewards(["banded=0.5", spec])))

    before = source(f"{mine}:steps")
    assert '"mode": "banded"' in before and "steps_total" in before
    mine.write_text("# Why.\n" + mine.read_text().replace("    return", "  # Here.\n\n    return  "))
    assert source(f"{mine}:steps") == before
    assert source(f"{mine}:steps=2") != before
    mine.write_text(mine.read_text().replace("0.5", "0.6"))  # of another function, which `steps` might have called
    assert source(f"{mine}:steps") != before


def test_a_function_made_in_python_needs_no_file() -> None:
    short = NamedReward("short", 1.0, lambda prompts, completions, **columns: [None] * len(completions))
    with pytest.raises(RewardError, match="the reward function short returned None for completion 0"):
        make_reward_function(TABLE, [short])(prompts=None, completions=["a"], row_index=[0])
    assert "lambda prompts" in reward_source([short])[0]["source"]
