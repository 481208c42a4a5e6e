"""What a message says: its content is a text, or a list of parts of which some are text."""

from __future__ import annotations

from typing import Any

_TEXT = ("text", "output_text")


def content_text(content: Any) -> str:
    """The words of a message: its parts that are text, joined; thinking, pictures and calls are none. "" for None.

    Raises TypeError for what is neither text nor such a list.
    """
    if content is None or isinstance(content, str):
        return content or ""
    try:
        if not isinstance(content, (list, tuple)):
            raise TypeError
        parts = [{"text": part} if isinstance(part, str) else part for part in content]
        return "".join(part["text"] for part in parts if part.get("type", "text") in _TEXT)
    except (TypeError, KeyError, AttributeError):
        raise TypeError(f"a message's content must be a text or a list of parts, got {type(content).__name__}") from None
