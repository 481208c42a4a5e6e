"""Doors under the names that the guides give; what is behind them lives in grpo_project/tracking."""
