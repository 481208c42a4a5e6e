"""The guides' name for grpo_project/tracking/wandb_sync.py."""

from grpo_project.tracking.wandb_sync import (
    WandbSyncManager,
    get_wandb_sync_manager,
    initialize_wandb_sync_manager,
    safe_wandb_log,
)

__all__ = ["WandbSyncManager", "get_wandb_sync_manager", "initialize_wandb_sync_manager", "safe_wandb_log"]
