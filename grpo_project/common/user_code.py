"""Python of a user's, named as path/to/file.py:name: a reward, a curriculum."""

from __future__ import annotations

import ast
import inspect
import os
import sys
import traceback
import types
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from grpo_project.common import paths
from grpo_project.errors import ConfigError, first_line

Locate = Callable[[str], Path | None]


def is_user_code(spec: str) -> bool:
    """Whether `spec` names something in a file, rather than something built in."""
    return ".py:" in spec


def file_of(spec: str, flag: str, locate: Locate = paths.locate) -> Path:
    """The file of path/to/file.py:name. `flag` begins the message of the ConfigError raised where there is none."""
    path_text, _, name = spec.rpartition(":")
    if not (path_text.endswith(".py") and name.isidentifier()):
        raise ConfigError(f"{flag} {spec}: write path/to/file.py:function, or the name of a built-in one")
    path = locate(path_text)
    if path is None or not path.is_file():
        raise ConfigError(f"{flag} {spec}: there is no file {path_text}")
    return path


def load_function(spec: str, flag: str, locate: Locate = paths.locate) -> Callable[..., Any]:
    """The function or class meant by path/to/file.py:name. `locate` finds the file, which is run once unless it is edited.

    Raises ConfigError, in one line that begins with `flag`, for a file that is missing or fails and a name that it lacks.
    """
    path, name = file_of(spec, flag, locate), spec.rpartition(":")[2]
    try:
        module = _run(path.resolve(), path.stat().st_mtime_ns)
    except (Exception, SystemExit) as error:  # whatever a user's file raises is a fault of the file, told in one line
        what = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(f"{flag} {spec}: {path} fails when it is loaded: {what}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"{flag} {spec}: {path} has no function {name}")
    return function  # type: ignore[no-any-return]


def code_of(path: Path) -> str:
    """The code of a user's file without comments and layout, which may change under a run; what it imports is not looked at."""
    return ast.unparse(ast.parse(path.read_bytes()))


def what_failed(error: BaseException, file: Path | None) -> str:
    """`ValueError: too short in line 3`: an error on one line, with the line of the user's `file` as far as it arose there."""
    own = str(file.resolve()) if file else None
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    return f"{type(error).__name__}: {first_line(error)}" + (f" in line {lines[-1]}" if lines else "")


def source_of(function: Any) -> str:
    """The text of a function or class, for a run's record; its repr where there is no text."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return repr(function)


@lru_cache
def _run(path: Path, _modified_ns: int) -> types.ModuleType:
    """The file as a module of its own. Compiled here: an import would leave __pycache__ beside it, and trust it."""
    module = types.ModuleType(f"user_code_{path.stem}_{zlib.crc32(os.fsencode(path)):08x}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and the like look their module up
    exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    return module
