"""What the page is made of: blocks, and the cells of their tables, as plain data that the script lays out.

A block is {"kind": ...} with what it shows. "run": only where that run is shown. "when": only where the choices of its section
are those.
A cell of a table is a text, or an object with `text`, `of` (what it rests on), `tone` (up, down), `colour` and `left`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from grpo_project.common.statistics import wilson_interval
from grpo_project.common.text import interval_text, percent, points

Block = dict[str, Any]
Cell = Any  # a text, an object as above, or None for a dash


def text_block(text: str, small: bool = False) -> Block:
    return {"kind": "text", "text": text, "small": small}


def empty_block(text: str) -> Block:
    return {"kind": "empty", "text": text}


def heading_block(text: str) -> Block:
    return {"kind": "heading", "text": text}


def chart_block(name: str) -> Block:
    return {"kind": "chart", "name": name}


def split_block(left: Sequence[Block], right: Sequence[Block]) -> Block:
    return {"kind": "split", "left": list(left), "right": list(right)}


def choice_of(label: str, **options: str) -> Block:
    """options: what is shown for each value, the first one chosen at first."""
    return {"label": label, "options": [list(option) for option in options.items()]}


def details_block(summary: str, *blocks: Block) -> Block:
    return {"kind": "details", "summary": summary, "blocks": list(blocks)}


def table_block(head: Sequence[Cell], rows: Iterable[Sequence[Cell]], caption: str = "") -> Block:
    return table_of_runs(head, ((None, cells) for cells in rows), caption)


def table_of_runs(head: Sequence[Cell], rows: Iterable[tuple[int | None, Sequence[Cell]]], caption: str = "") -> Block:
    """rows: (the run that a row is of, or None; its cells)."""
    shown = [{"run": run, "cells": list(cells)} for run, cells in rows]
    return {"kind": "table", "head": list(head), "caption": caption, "rows": shown}


def words_block(head: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> Block:
    """A table of texts, which break into lines."""
    return {**table_block(head, rows), "words": True}


def left_cell(text: str) -> Cell:
    return {"text": text, "left": True}


def coloured_cell(text: str, colour: str) -> Cell:
    return {"text": text, "colour": colour}


def counts_text(successes: float, count: float) -> str:
    """What a rate rests on: 40/70 [45.4, 68.1]"""
    return f"{successes}/{count} {interval_text(*wilson_interval(successes, count))}"


def rate_cell(successes: float, count: float) -> Cell:
    """A rate with its counts and its 95% Wilson interval; None without observations."""
    return {"text": percent(successes / count), "of": counts_text(successes, count)} if count else None


def row_rate_cell(row: Mapping[str, Any] | None) -> Cell:
    return rate_cell(row["successes"], row["count"]) if row else None


def change_cell(change: float, text: str = "") -> Cell:
    tone = "up" if change > 0 else "down" if change < 0 else ""
    return {"text": text or points(change), "tone": tone}
