"""Planning problems with verified rewards for other frameworks: one module each, over `core`.

verifiers finds what it needs by the names in `__all__`; they are imported when they are asked for, so that the other modules do
not need verifiers.
"""

from importlib import import_module
from typing import Any

__all__ = ["ChatHarness", "PlanningEnvironment", "PlanningTaskset"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("pddl_planning.verifiers_taskset"), name)
