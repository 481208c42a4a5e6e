"""Modules under the names that the guides give; their code is in grpo_project/tracking."""
