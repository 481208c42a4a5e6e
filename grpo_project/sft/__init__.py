"""Supervised fine-tuning on demonstrations: rows with reference plans to weights."""
