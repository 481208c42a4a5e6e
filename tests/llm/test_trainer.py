"""Runs follow the plan, repeat bit for bit and go on exactly, once more on the trainer that Unsloth writes."""

# ruff: noqa: F403, F405
from tests.llm.conftest import MARKS
from tests.unit.training.test_trainer import *

pytestmark = MARKS
