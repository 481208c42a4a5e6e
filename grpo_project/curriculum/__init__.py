"""From file names to batches: difficulty, buckets, curriculum weights, and the plan of every batch."""
