"""Settings as frozen dataclasses that cannot exist in a wrong state: reward.py, training.py, environment.py."""
