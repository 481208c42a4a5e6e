"""The commands that stand on a documentation page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path


def bash_commands(page: Path) -> list[list[str]]:
    """The words of every command in the bash blocks of a page, in order: continued lines joined, comments dropped."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]
