"""Algorithms: which of TRL's trainers turns rewards into an update, and with which arguments. One file each.

A new one is a file that makes an `Algorithm`, a line in ALGORITHMS, and its name among the choices of --algorithm.
"""

from grpo_project.training.algorithms.base import Algorithm, trainer_arguments
from grpo_project.training.algorithms.grpo import GRPO
from grpo_project.training.algorithms.rloo import RLOO

ALGORITHMS = {algorithm.name: algorithm for algorithm in (GRPO, RLOO)}

__all__ = ["ALGORITHMS", "Algorithm", "trainer_arguments"]
