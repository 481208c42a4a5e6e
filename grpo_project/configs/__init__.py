"""Settings as frozen dataclasses that cannot exist in a wrong state, a file for each."""

from grpo_project.configs.environment import EnvironmentConfig
from grpo_project.configs.health import HealthConfig
from grpo_project.configs.lengths import ScriptConfig, validate_config_consistency
from grpo_project.configs.reward import RewardConfig
from grpo_project.configs.training import TrainingConfig

__all__ = ["EnvironmentConfig", "HealthConfig", "RewardConfig", "ScriptConfig", "TrainingConfig", "validate_config_consistency"]
