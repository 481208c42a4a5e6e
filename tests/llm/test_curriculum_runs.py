"""Exact quotas under every curriculum and exact continuation, once more on the trainer that Unsloth writes."""

# ruff: noqa: F403, F405, F821
from tests.llm.conftest import MARKS
from tests.unit.training.test_curriculum_runs import *

pytestmark = MARKS
# Under torchrun, where each process would have to be told of Unsloth; several processes were never tried with it.
del test_two_processes_share_exact_batches_and_go_on_exactly
