"""Teaches language models to plan in PDDL by reinforcement learning. See docs/architecture.md for where things live."""

__version__ = "0.1.0"
