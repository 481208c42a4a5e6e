"""The page: one template with the data inside. A model's text is data throughout; it never becomes markup."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("template.html")
_TITLE = "@@TITLE@@"
_DATA = "@@DATA@@"


def render_page(data: Mapping[str, Any]) -> str:
    """The whole HTML file. ASCII only, so that no decoder can read it in another way."""
    before, title, rest = TEMPLATE.read_text(encoding="utf-8").partition(_TITLE)
    middle, place, after = rest.partition(_DATA)
    if not title or not place:
        raise ValueError(f"{TEMPLATE} lacks {_TITLE} or {_DATA}")
    page = before + html.escape(str(data["title"])) + middle + embedded_json(data) + after
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def embedded_json(data: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element: whatever it holds, no tag, comment or entity can begin in it."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
