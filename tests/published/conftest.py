"""What the unit tests have, for these tests too."""

from tests.unit.conftest import hangup_heard, stand_in

__all__ = ["hangup_heard", "stand_in"]
