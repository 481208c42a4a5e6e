"""The page: one frame with style, data and script inside. A model's text is data throughout; it never becomes markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_project.common.metrics import VERDICTS, is_number
from grpo_project.common.text import figure
from grpo_project.reporting.charts import charts, run_colour
from grpo_project.reporting.sections import sections
from grpo_project.reporting.tiles import foot, head

ASSETS = Path(__file__).with_name("assets")
# One script in the page, in this order.
SCRIPTS = tuple(f"{name}.js" for name in "elements charts layout configuration viewer main".split())


def render_page(data: Mapping[str, Any]) -> str:
    """The whole HTML file for what `page_data` gives. ASCII only, so that no decoder can read it in another way."""
    parts = {
        "TITLE": html.escape(str(data["title"])),
        "STYLE": _asset("page.css"),
        "DATA": embedded_json(_content(data)),
        "SCRIPT": '"use strict";\n' + "".join(map(_asset, SCRIPTS)),
    }
    # One pass over the frame: what is put in is not searched for names again.
    page = re.sub("@@([A-Z]+)@@", lambda found: parts[found[1]], _asset("page.html"))
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _content(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the script lays out: texts, tables and charts ready to be shown; of a run itself only plans and settings."""
    drawn = {chart.name: chart.as_json() for chart in charts(data)}
    runs = [
        {
            "name": run["name"],
            "state": run["state"],
            "colour": run_colour(place),
            "traces": [{**made, "reward": figure(made["reward"]) if is_number(made["reward"]) else ""} for made in run["traces"]],
            "trace_notes": run["trace_notes"],
            "configuration": run["configuration"],
        }
        for place, run in enumerate(data["runs"])
    ]
    return {
        "title": data["title"],
        "verdicts": VERDICTS,
        "head": head(data),
        "sections": sections(data, drawn),
        "charts": drawn,
        "foot": foot(data),
        "runs": runs,
    }


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def embedded_json(data: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element: whatever it holds, no tag, comment or entity can begin in it."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
