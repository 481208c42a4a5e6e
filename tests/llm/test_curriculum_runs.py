from tests.llm.conftest import MARKS
from tests.unit.training.test_curriculum_runs import *  # noqa: F403

pytestmark = MARKS
