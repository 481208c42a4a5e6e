"""The rows that a run trains on, as its model reads them: prompts measured, difficulties sorted, what is too long left out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_project.common.paths import locate
from grpo_project.configs.settings import Settings
from grpo_project.data.difficulty import Buckets, fill_buckets
from grpo_project.data.origin import Origin
from grpo_project.data.prompts import row_prompt
from grpo_project.data.row_files import WANTED
from grpo_project.data.rows import RowTable, read_rows
from grpo_project.errors import ConfigError, DataError
from grpo_project.prompting import PLAIN_CHAT, ChatOptions, render_chat


@dataclass(frozen=True)
class TrainingData:
    """`prompts`: the user turn of every row, in the model's style. `prompt_tokens`: their lengths with the chat template.
    `prompt_fingerprint`: SHA-256 of what that makes of them.

    `buckets` sorts all rows; `drawn` are those that batches are drawn from, {domain: {bucket: row indices}}: without the
    `too_long`.
    """

    rows: RowTable
    prompts: Sequence[str]
    prompt_tokens: Sequence[int]
    buckets: Buckets
    drawn: Mapping[str, Mapping[str, Sequence[int]]]
    too_long: frozenset[int]
    prompt_fingerprint: str

    @property
    def domain_of(self) -> dict[int, str]:
        """Domain of each row index."""
        return {index: row.scenario for index, row in enumerate(self.rows.rows)}

    @property
    def bucket_of(self) -> dict[int, str]:
        """Difficulty bucket of each row index."""
        return dict(enumerate(self.buckets.of_row))

    def describe(self) -> str:
        """`2000 training problems (blocksworld 500: easy 205, ...; 3 bad rows skipped)`."""
        parts = []
        for domain, statistics in self.buckets.statistics.items():
            sizes = ", ".join(f"{name} {count}" for name, count in statistics.counts.items())
            parts.append(f"{domain} {statistics.count}: {sizes}")
        skipped = f", {len(self.rows.bad_rows)} bad rows skipped" if self.rows.bad_rows else ""
        return f"{len(self.rows)} training problems ({'; '.join(parts)}{skipped})"

    def check_room(self, room: int | None, max_completion_length: int) -> None:
        """Raises ConfigError where the longest prompt and its completion exceed the `room` tokens that a model reads."""
        longest = max(length for index, length in enumerate(self.prompt_tokens) if index not in self.too_long)
        if room is None or longest + max_completion_length <= room:
            return
        raise ConfigError(
            f"the model reads {room} tokens, but the longest prompt has {longest} and --max_completion_length is "
            f"{max_completion_length}: lower it to {room - longest}, or set --max_prompt_length"
            if longest < room
            else f"the model reads {room} tokens, but the longest prompt has {longest}: set --max_prompt_length"
        )


def read_training_rows(config: Settings) -> RowTable:
    """The usable rows of --data_root. Raises DataError or ConfigError as `read_rows` does."""
    root = locate(config.data_root)
    if root is None:
        raise DataError(f"--data_root {config.data_root} does not exist: {WANTED}")
    return read_rows(Origin.of_settings(root, config), config.domains, config.on_bad_row)


def measure(
    rows: RowTable,
    tokenizer: Any,
    style: str,
    max_prompt_length: int,
    chat: ChatOptions = PLAIN_CHAT,
    bands: str = "percentiles",
) -> TrainingData:
    """The rows with their prompts; those above `max_prompt_length` tokens are left out: a cut problem is another problem.

    `style`: as the model was taught; `chat`: what stands around a prompt; `bands`: as `fill_buckets` takes them. Raises DataError
    where that leaves a domain without any.
    """
    prompts = [row_prompt(row, style) for row in rows.rows]
    texts = [render_chat(tokenizer, prompt, chat=chat) for prompt in prompts]
    lengths = [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    too_long = frozenset(index for index, length in enumerate(lengths) if length > max_prompt_length)
    buckets = fill_buckets(rows.rows, rows.domains, bands)
    drawn = {
        domain: {name: [index for index in members if index not in too_long] for name, members in filled.items()}
        for domain, filled in buckets.rows.items()
    }
    for domain, filled in drawn.items():
        if not any(filled.values()):
            raise DataError(f"no {domain} problem is left: {why_left_out(max_prompt_length, max(lengths))}")
    fingerprint = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    return TrainingData(rows, prompts, lengths, buckets, drawn, too_long, fingerprint)


def why_left_out(max_prompt_length: int, longest: int) -> str:
    """The reason, for people; lengths in tokens."""
    return f"prompts are longer than --max_prompt_length {max_prompt_length} (the longest has {longest} tokens)"
