"""Where a run's figures go: metrics.jsonl and completions.jsonl beside it, W&B, TensorBoard, trackio."""
