"""Every point meant for W&B, in order, on our own disk before it is sent; and how many of them W&B holds.

Point number n of a run is line n of its history there: W&B takes points in order and counts them. So the count that the server
gives is all that is needed to go on without losing, doubling or dropping one.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from grpo_project.common.files import append_json_line, json_value, read_lines, without_nan
from grpo_project.common.netrc_file import netrc_password

FOLDER = "wandb_journal"
STEP_AXIS = "train/global_step"
TRAINER_STEP = "_trainer_step"
AXES = {STEP_AXIS, TRAINER_STEP}
ASK_SECONDS = 10.0
_BLOCK = 32768  # of the log format in .wandb files
_FILE_HEADER = 7
_RUN_QUERY = (
    "query RunResumeStatus($project: String, $entity: String, $name: String!) {"
    " model(name: $project, entityName: $entity) { bucket(name: $name, missingOk: true) { historyLineCount } } }"
)


class Journal:
    """The points of one run in `path`, oldest first. `base`: how many the run had before the first of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points: list[dict[str, Any]] = []
        self._names: dict[Any, set[str]] = {}  # step -> names that it has values for
        self.base = 0
        for line in read_lines(path) if path.exists() else ():
            try:
                record = json_value(line)
            except ValueError:
                continue  # the line in which the run was killed; its point comes again
            if not isinstance(record, dict):
                continue
            if "base" in record:
                self.base = int(record["base"])
            elif isinstance(record.get("point"), dict):
                self._take(record["point"])

    @classmethod
    def of(cls, output_dir: Path, run_id: str) -> Journal:
        return cls(output_dir / FOLDER / f"{run_id}.jsonl")

    def set_base(self, base: int) -> None:
        """Remembers that the run has points that are not here: of an earlier folder, or sent by something else."""
        if base != self.base:
            self.base = base
            append_json_line(self.path, {"base": base})

    def add(self, point: Mapping[str, Any]) -> bool:
        """Whether the point is a new one. It is not where its step has a value for one of its names.

        A resumed run comes by the steps after its checkpoint again, perhaps with a timing more or less than the first time.
        """
        # What W&B draws: numbers, truth values and short texts.
        point = {name: value for name, value in without_nan(point).items() if isinstance(value, (bool, int, float, str))}
        names = set(point) - AXES
        known = self._names.get(point.get(STEP_AXIS))
        if known is not None and (not names or names & known):
            return False
        append_json_line(self.path, {"point": point})
        self._take(point)
        return True

    def _take(self, point: dict[str, Any]) -> None:
        self.points.append(point)
        self._names.setdefault(point.get(STEP_AXIS), set()).update(set(point) - AXES)

    def __len__(self) -> int:
        return len(self.points)

    @property
    def total(self) -> int:
        """How many points the run has, those before the first one here included."""
        return self.base + len(self.points)


def server_count(project: str, entity: str | None, run_id: str) -> int | None:
    """As `ask_server`, but None where it cannot be asked."""
    try:
        return ask_server(project, entity, run_id)
    except OSError:
        return None


def ask_server(project: str, entity: str | None, run_id: str) -> int:
    """How many points the server holds of a run; 0 where it knows no such run. Raises OSError where it cannot be asked."""
    base_url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").rstrip("/")
    key = os.environ.get("WANDB_API_KEY", "").strip() or netrc_password(urlsplit(base_url).netloc, os.environ)
    variables = {"project": project, "entity": entity, "name": run_id}
    request = urllib.request.Request(
        f"{base_url}/graphql",
        json.dumps({"query": _RUN_QUERY, "variables": variables, "operationName": "RunResumeStatus"}).encode(),
        {"Content-Type": "application/json", "Authorization": "Basic " + base64.b64encode(f"api:{key}".encode()).decode()},
    )
    with urllib.request.urlopen(request, timeout=ASK_SECONDS) as answer:
        content = answer.read()
    try:
        model = json_value(content)["data"]["model"]
        bucket = model["bucket"] if model else None
        return int(bucket["historyLineCount"] or 0) if bucket else 0
    except (ValueError, KeyError, TypeError):
        raise OSError(f"{base_url} gave an answer that is none of W&B's") from None


def local_steps(folder: Path, run_id: str) -> set[int]:
    """W&B's own step numbers of all points in the local .wandb files of a run. Needs wandb; a torn end is left out."""
    found: set[int] = set()
    for path in sorted(folder.glob(f"*run-*/run-{run_id}.wandb")):
        found |= {int(point["_step"]) for point in read_points(path) if "_step" in point}
    return found


def read_points(path: Path) -> Iterator[dict[str, Any]]:
    """The history in a .wandb file, decoded by W&B's own record format."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    for content in _records(path.read_bytes()):
        record = Record.FromString(content)
        if record.WhichOneof("record_type") != "history":
            continue
        # NaN is no JSON, but W&B writes it; json reads it
        yield {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}


def _records(content: bytes) -> Iterator[bytes]:
    """The records of a log in blocks of 32 KiB, each fragment with checksum, length and kind (whole, first, middle, last)."""
    position, parts = _FILE_HEADER, b""
    while position + 7 <= len(content):
        left = _BLOCK - position % _BLOCK
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        fragment = content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind not in (1, 2, 3, 4) or len(fragment) < length:
            return
        parts = fragment if kind in (1, 2) else parts + fragment
        if kind in (1, 4):
            yield parts
