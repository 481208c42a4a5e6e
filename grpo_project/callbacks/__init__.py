"""What a run says about itself: counts per domain and difficulty, timings, metrics.jsonl, the progress line and W&B.

`monitor.py` alone knows the Trainer; the rest is plain Python that a test can call without a model.
"""
