"""The settings of what stands around a prompt: the same for a warm start, a run and an evaluation (prompting/chat.py)."""

from __future__ import annotations

from dataclasses import dataclass

from grpo_project.configs.setting import BY_CARD, FIXED, setting

CHAT = "chats"


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """None leaves a choice to the chat template."""

    # fmt: off
    system_prompt: str | None = setting(None, CHAT, FIXED, BY_CARD,
        "system turn before every problem; where the template has none, its text stands before the user's")
    enable_thinking: bool | None = setting(None, CHAT, FIXED, BY_CARD,
        "whether the model reasons before its plan; for chat templates with that switch (Qwen3), which do not unless asked to")
    chat_template_kwargs: str | None = setting(None, CHAT, FIXED, BY_CARD,
        "JSON object with further arguments of the chat template, as '{\"reasoning_effort\": \"low\"}'")
    # fmt: on
