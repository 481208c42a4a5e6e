"""How a sequence is shared between prompt and completion: strategies, the guide's warning, and agreement with the trainer."""

from __future__ import annotations

import pytest

from grpo_project.configs import ScriptConfig, TrainingConfig, validate_config_consistency
from grpo_project.errors import ConfigError


@pytest.mark.parametrize(
    ("strategy", "prompt", "completion"),
    [("balanced", 2048, 2048), ("completion_heavy", 1024, 3072), ("prompt_heavy", 3072, 1024), ("custom", 100, 50)],
)
def test_a_strategy_shares_out_the_sequence(strategy: str, prompt: int, completion: int) -> None:
    config = TrainingConfig(
        max_prompt_length=100, max_completion_length=50, max_seq_length=4096, length_allocation_strategy=strategy
    )
    assert (config.max_prompt_length, config.max_completion_length) == (prompt, completion)
    assert config.script_config().sequence_length == 4096
    validate_config_consistency(config.script_config(), config)


def test_no_token_is_lost_in_an_odd_sequence() -> None:
    lengths = ScriptConfig(max_seq_length=1001, length_allocation_strategy="balanced")
    assert lengths.script_max_prompt_length + lengths.script_max_completion_length == 1001


def test_the_guides_warning_is_given_when_it_is_true() -> None:
    full = ScriptConfig(1536, 2560, 4096)
    assert full.warning() is None  # the guide warns here; 4096 > 4096 does not hold
    over = ScriptConfig(1536, 2561, 4096)
    assert over.warning() == "⚠️ 警告: prompt长度(1536) + completion长度(2561) = 4097 > 最大序列长度(4096)"
    asked = {"max_prompt_length": 1536, "max_completion_length": 2561}
    with pytest.raises(ConfigError, match="4097 > "):
        validate_config_consistency(over, TrainingConfig(**asked))
    with pytest.raises(ConfigError, match="4097 > .*lower one of the two"):
        TrainingConfig(**asked, max_seq_length=4096)
    with pytest.raises(ConfigError, match="max_completion_length is 2560 in the script's settings but 512 in the trainer's"):
        validate_config_consistency(full, TrainingConfig(max_prompt_length=1536))


def test_lengths_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="--length_allocation_strategy balanced needs --max_seq_length"):
        TrainingConfig(length_allocation_strategy="balanced")
    with pytest.raises(ConfigError, match="must be one of balanced, completion_heavy, prompt_heavy, custom; got 'even'"):
        ScriptConfig(length_allocation_strategy="even")
    with pytest.raises(ConfigError, match="script_max_prompt_length must be at least 1"):
        ScriptConfig(0)
