"""What stops a run and what only warns, once more on the trainer that Unsloth writes."""

# ruff: noqa: F403, F405, F821
from tests.llm.conftest import MARKS
from tests.unit.training.test_diagnosis import *

pytestmark = MARKS
# Two look at the small planner's own decoding and trimming, which are not taken here.
del test_the_boundary_lines_show_the_very_tokens_of_the_loss, test_prompt_tokens_in_the_answers_stop_it
# That planner's answers without a choice are those of solved groups, which it leaves out of its loss: here they count.
del test_a_sound_run_stays_silent
# Under torchrun, as in test_curriculum_runs.py.
del test_all_processes_stop_at_the_same_step
