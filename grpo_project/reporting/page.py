"""The page: one frame with style, data and script inside. A model's text is data throughout; it never becomes markup."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).with_name("assets")
# One script in the page, in this order; the middle ones hold a section or a few.
SCRIPTS = tuple(f"{name}.js" for name in "charts overview held_out learning curriculum course configuration viewer main".split())


def render_page(data: Mapping[str, Any]) -> str:
    """The whole HTML file. ASCII only, so that no decoder can read it in another way."""
    parts = {
        "TITLE": html.escape(str(data["title"])),
        "STYLE": _asset("page.css"),
        "DATA": embedded_json(data),
        "SCRIPT": '"use strict";\n' + "".join(map(_asset, SCRIPTS)),
    }
    # One pass over the frame: what is put in is not searched for names again.
    page = re.sub("@@([A-Z]+)@@", lambda found: parts[found[1]], _asset("page.html"))
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def embedded_json(data: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element: whatever it holds, no tag, comment or entity can begin in it."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
