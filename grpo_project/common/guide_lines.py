"""Console lines that the guides give in Chinese, readable in English too."""

from __future__ import annotations


def with_english(guide_line: str, english: str) -> str:
    """The guide's line unchanged, so that it can be searched for, and the same in English behind a `#`."""
    return f"{guide_line}  # {english}"
