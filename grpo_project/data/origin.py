"""What the rows of one reading share: where their PDDL files are looked for, and how file names without a grammar are scored."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from grpo_project.common.paths import locate
from grpo_project.configs.settings import Settings
from grpo_project.errors import ConfigError, DataError

# Name -> {path under a root, in parts: file}; names and parts in lower case.
Files = dict[str, dict[tuple[str, ...], Path]]


@dataclass(frozen=True)
class Origin:
    """`data_root`; `problem_roots`: further folders in which PDDL files are looked for, however deep; `difficulty_pattern`: a
    regular expression for file names, whose groups are numbers (data/difficulty.py)."""

    data_root: Path
    problem_roots: tuple[Path, ...] = ()
    difficulty_pattern: str | None = None

    @classmethod
    def of(cls, data_root: str | Path, problem_roots: Sequence[str] = (), difficulty_pattern: str | None = None) -> Origin:
        """From what flags name; folders as they stand, or relative to the repository. Raises DataError or ConfigError."""
        found = {name: locate(name) for name in problem_roots}
        for name, path in found.items():
            if path is None or not path.is_dir():
                raise DataError(f"--problem_root {name}: no such folder; name the one that the rows' PDDL files are in")
        if difficulty_pattern is not None:
            _check_pattern(difficulty_pattern)
        return cls(Path(data_root), tuple(path for path in found.values() if path is not None), difficulty_pattern)

    @classmethod
    def of_settings(cls, data_root: Path, config: Settings) -> Origin:
        """`of` for a data root of a run."""
        return cls.of(data_root, config.problem_root or (), config.difficulty_pattern)

    @property
    def places(self) -> str:
        """Where `find` looks, for messages."""
        return ", ".join(map(str, (self.data_root, *self.problem_roots, Path.cwd()))) + f" nor {self.data_root.absolute().parent}"

    def find(self, name: str, scenario: str) -> Path | None:
        """The file that a row of `scenario` names: under the data root, a problem root, the working directory, or beside the data
        root.

        Under a problem root it may lie deeper, and leading folders of the name may be missing there: pddl3/ferry/p1.pddl is found
        as ferry/p1.pddl, p1.pddl and all/pddl3/ferry/p1.pddl. Backslashes separate folders too. Raises DataError where several
        files fit, and none of them lies in a folder named as the scenario.
        """
        for folder in (self.data_root, *self.problem_roots, Path.cwd(), self.data_root.absolute().parent):
            for written in dict.fromkeys((name, name.replace("\\", "/"))):
                try:
                    if (folder / written).is_file():
                        return folder / written
                except (OSError, ValueError):  # too long for a file name, or with a NUL
                    return None
        found = (_find_deeper(root, self._files_under(root), name, scenario) for root in self.problem_roots)
        return next((path for path in found if path is not None), None)

    def _files_under(self, root: Path) -> Files:
        """Of a problem root, listed once."""
        if root not in self._listed:
            self._listed[root] = _list_files(root)
        return self._listed[root]

    @cached_property
    def _listed(self) -> dict[Path, Files]:
        return {}


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ConfigError(f"--difficulty_pattern {pattern!r} is no regular expression: {error}") from None
    if not groups:
        raise ConfigError(f"--difficulty_pattern {pattern!r} has no group: put the numbers in brackets, as in 'p(\\d+)-d(\\d+)'")


def _find_deeper(root: Path, files: Files, name: str, scenario: str) -> Path | None:
    parts = tuple(part for part in name.lower().replace("\\", "/").split("/") if part not in ("", "."))
    under = files.get(parts[-1], {}) if parts else {}
    for start in range(len(parts)):  # the longest part of the name that is a whole path under the root
        if parts[start:] in under:
            return under[parts[start:]]
    deeper = {path: file for path, file in under.items() if path[-len(parts) :] == parts}
    own = {path: file for path, file in deeper.items() if scenario in path}
    fitting = own if len(own) == 1 else deeper
    if len(fitting) > 1:
        shown = ", ".join(map(str, sorted(fitting.values())[:3]))
        raise DataError(
            f"{name} may be any of {len(fitting)} files under {root} ({shown}): name a --problem_root with one of them"
        )
    return next(iter(fitting.values()), None)


def _list_files(root: Path) -> Files:
    found: Files = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            parts = tuple(part.lower() for part in path.relative_to(root).parts)
            found.setdefault(parts[-1], {})[parts] = path
    return found
