from tests.llm.conftest import MARKS
from tests.unit.training.test_diagnosis import *  # noqa: F403

pytestmark = MARKS
