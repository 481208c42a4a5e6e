"""W&B without any effect on training: every point is kept on disk first, and sent by a thread of its own.

    wandb_journal/<run id>.jsonl    all points, in order (wandb_journal.py)
    wandb_backup/step_XXXXXX.json   points that W&B missed, when the run ended
    wandb_sync_state.json           which run, how many points there are and how many W&B confirmed

`script/sync_wandb.py` sends later what was missed, each point once. No key is ever written or logged.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from grpo_project.common.files import json_object_or_none, write_json_atomically
from grpo_project.common.guide_lines import with_english
from grpo_project.common.metrics import wandb_summaries
from grpo_project.errors import ConfigError
from grpo_project.tracking.wandb_journal import FOLDER as JOURNAL_FOLDER
from grpo_project.tracking.wandb_journal import STEP_AXIS, TRAINER_STEP, Journal, ask_server, local_steps, server_count
from grpo_project.tracking.wandb_run_id import RunChoice, configure_wandb_resume

logger = logging.getLogger(__name__)

STATE_FILE = "wandb_sync_state.json"
BACKUP_FOLDER = "wandb_backup"
SENT_FOLDER = "sent"
MODES = ("online", "offline", "disabled")
INIT_SECONDS = 60.0
FINISH_SECONDS = 20.0
RETRY_SECONDS = 60.0
FLUSH_SECONDS = 0.5  # what a kill may cost of W&B's own file; the journal has it all the same


class WandbSyncManager:
    """One W&B run in `output_dir`. Nothing that goes wrong with W&B reaches the caller.

    `state` says for people what became of it. `choice`: the run to write to (wandb_run_id.py). Points are logged in the order
    of `log`. Call `close` at the end.
    """

    def __init__(
        self,
        output_dir: str | Path,
        project_name: str,
        run_name: str | None = None,
        *,
        mode: str = "online",
        choice: RunChoice | None = None,
        entity: str | None = None,
        config: Mapping[str, Any] | None = None,
        finish_seconds: float = FINISH_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        if mode not in MODES:
            raise ConfigError(f"wandb mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.output_dir = Path(output_dir)
        self.project = project_name
        self.run_name = run_name
        self.mode = mode
        self.state = "off"
        self.entity = entity
        self.confirmed = 0
        self.step_offset = 0
        self._trainer_step = 0
        self._finish_seconds = finish_seconds
        self._retry_seconds = retry_seconds
        self._failure = ""
        self._run: Any = None
        self._closing, self._closed = threading.Event(), False
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.choice = choice or configure_wandb_resume(None)
        self.run_id = self.choice.run_id
        if mode == "disabled":
            return
        self.journal = Journal.of(self.output_dir, self.run_id)
        self._adopt_earlier_points()
        self._config = {**(config or {}), **self._origin()}
        self.state = f"{mode}, run {self.run_id}" + ("; send it later with script/sync_wandb.py" if mode == "offline" else "")
        if mode == "offline":
            # Beside the argument: W&B's own service reads the variable, and an offline run must not look for a login.
            os.environ["WANDB_MODE"] = "offline"
        self._save_state()
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    # -- for the training ---------------------------------------------------------------------------------------------

    def log(self, data: Mapping[str, Any], step: int | None = None) -> bool:
        """Takes a point; `step` is the trainer's. False where W&B is off, or has had the same names at the same step."""
        if self.mode == "disabled" or self._closed:
            return False
        if step is not None:
            self._trainer_step = int(step)
        axis = self._trainer_step
        try:
            if not self.journal.add({**dict(flatten(data)), STEP_AXIS: axis, TRAINER_STEP: axis}):
                return False
        except OSError as error:  # a full disk: the point is in metrics.jsonl, or nowhere at all
            logger.warning("step %s is not kept for W&B (%s)", axis, error)
            return False
        self._queue.put(self.journal.points[-1])
        return True

    def summary(self, values: Mapping[str, Any]) -> None:
        """Figures of the run as a whole, beside its points."""
        if self.mode != "disabled" and not self._closed:
            self._queue.put({"summary": dict(flatten(values))})

    def update_step_offset(self, step: int) -> int:
        """W&B's own counter less the trainer's step; remembered, and logged when it changes. Our step axis makes it harmless."""
        self._trainer_step = int(step)
        if self.mode == "disabled":
            return 0
        wandb_step = self.journal.total
        offset = wandb_step - self._trainer_step
        if offset != self.step_offset:
            found = f"⚠️ 检测到步数偏移: WandB={wandb_step}, Trainer={self._trainer_step}, 偏移={offset}"
            logger.info(with_english(found, "W&B counts other steps than the trainer; its points carry the trainer's"))
        self.step_offset = offset
        self._save_state()
        return offset

    def position(self) -> dict[str, Any]:
        """What a checkpoint keeps: the run, and how many points it had by then (`last_step` is W&B's own counter)."""
        if self.mode == "disabled":
            return {}
        status = self.get_sync_status()
        kept = {name: status[name] for name in ("run_id", "project", "entity", "mode", "points")}
        return {**kept, "last_step": self.journal.total - 1}

    def get_sync_status(self) -> dict[str, Any]:
        """Plain data for people and for wandb_sync_state.json."""
        return {
            "run_id": self.run_id,
            "project": self.project,
            "entity": self.entity,
            "run_name": self.run_name,
            "mode": self.mode,
            "resume": self.choice.resume,
            "state": self.state,
            "points": self.journal.total if self.mode != "disabled" else 0,
            "confirmed": self.confirmed,
            "trainer_step": self._trainer_step,
            "step_offset": self.step_offset,
            "finished": self._closed,
            "failure": self._failure,
        }

    def close(self) -> None:
        """Ends the W&B run, waiting a bounded time; what W&B has not confirmed by then goes into wandb_backup/."""
        if self._closed or self._thread is None:
            self._closed = True
            return
        self._closed = True
        self._closing.set()
        self._queue.put(None)
        self._thread.join(self._finish_seconds + 10)
        if self._thread.is_alive():
            self._failure = self._failure or "W&B did not end in time"
        if self.mode == "online":
            self._keep_missed()
        self._save_state()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            wait = 0.0
            while self._run is None:
                # While training goes on a server that is down is asked again now and then; at the end it is not waited for.
                if wait and self._closing.wait(wait):
                    return
                self._run = self._start()
                wait = self._retry_seconds
            self._send_all()
            self._run.finish()
            if self.mode == "online":
                counted = server_count(self.project, self.entity, self.run_id)
                self.confirmed = counted if counted is not None else self.confirmed
            else:
                self.confirmed = self._count_in_files()
        except Exception as error:
            # The boundary: whatever a tracker raises, it must not reach the training.
            self._failure = _first_line(error)
            logger.warning("W&B stopped (%s); every point is in %s", self._failure, self.journal.path)

    def _count_in_files(self) -> int:
        """Points in W&B's own files, which its service may still be writing for a moment after the run has ended."""
        deadline = time.monotonic() + 10 * FLUSH_SECONDS
        while True:
            count = self.journal.base + len(local_steps(self.output_dir / "wandb", self.run_id))
            if count >= self.journal.total or time.monotonic() > deadline:
                return count
            time.sleep(0.05)

    def _start(self) -> Any:
        """The W&B run, or None where it did not start."""
        try:
            import wandb

            settings = wandb.Settings(
                mode=self.mode,  # type: ignore[arg-type]
                silent=True,
                console="off",
                init_timeout=INIT_SECONDS,
                finish_timeout=self._finish_seconds,
                x_disable_stats=True,
                x_transaction_log_flush_interval=FLUSH_SECONDS,
                x_graphql_retry_max=2,
                x_graphql_timeout_seconds=15,
                disable_git=True,
                save_code=False,
            )
            run = wandb.init(
                project=self.project,
                entity=self.entity,
                name=self.run_name,
                id=self.run_id,
                dir=str(self.output_dir),
                config=self._config,
                settings=settings,
                reinit="finish_previous",
                resume=self._resume_mode(),  # type: ignore[arg-type]
            )
            # Our own axis: W&B drops points whose internal step goes back, as it does after a resume.
            run.define_metric(STEP_AXIS)
            run.define_metric("*", step_metric=STEP_AXIS)
            for name, summary in wandb_summaries().items():
                run.define_metric(name, step_metric=STEP_AXIS, summary=summary)
            self.entity = run.entity or self.entity
            if self.mode == "online":
                self.state = f"online, {run.url}"
            self._failure = ""
            return run
        except Exception as error:
            # Also here: no key, an expired key, no server, a wandb that does not import.
            self._failure = _first_line(error)
            self.state = f"not reached ({self._failure}); points are kept in {self.journal.path}"
            logger.warning("W&B did not start (%s); training goes on, and its points are kept", self._failure)
            with contextlib.suppress(Exception):  # also where there is no wandb to tear down
                # Its service process would refuse the run id of an attempt that failed half way.
                wandb.teardown()
            return None

    def _resume_mode(self) -> str | None:
        """must or allow; None offline, where W&B ignores it. Raises OSError where the server cannot be asked.

        It is asked here, not left to wandb.init: an attempt that failed holds the run id until W&B's service process ends.
        """
        if self.mode != "online":
            return None
        held = ask_server(self.project, self.entity, self.run_id)
        if held == 0 and self.choice.resume == "must":
            # It was never sent there, or somebody deleted it: the same run, from its first point.
            logger.warning("WandB恢复 (W&B resume): the server knows no run %s; it is made again from the journal", self.run_id)
            return "allow"
        return self.choice.resume

    def _send_all(self) -> None:
        """First what the run lacks of the journal, then what comes."""
        already: float = -1  # steps up to this one came from elsewhere
        if self.mode == "online":
            held = int(self._run.step)
            if held > self.journal.total:  # it had points that this folder has not
                self.journal.set_base(held - len(self.journal))
                already = float(self._run.summary.get(STEP_AXIS) or 0)
            have = set(range(held))
        else:
            have = local_steps(self.output_dir / "wandb", self.run_id)
        number = 0  # of the next point
        while True:
            while number < len(self.journal):
                line, point = self.journal.base + number, self.journal.points[number]
                if line not in have and point[STEP_AXIS] <= already:
                    self.journal.set_base(self.journal.base - 1)  # it takes no line of its own
                elif line not in have:
                    self._run.log(point, step=line)
                number += 1
            item = self._queue.get()
            if item is None and number == len(self.journal):
                return
            if item is not None and "summary" in item:
                self._run.summary.update(item["summary"])

    # -- files --------------------------------------------------------------------------------------------------------

    def _adopt_earlier_points(self) -> None:
        parent, count = self.choice.parent, self.choice.copy_points
        if parent is not None and count and not len(self.journal):
            earlier = Journal.of(self.output_dir, parent.run_id)
            for point in earlier.points[: max(0, count - earlier.base)]:
                self.journal.add(point)
        found = self.choice.found
        if found is not None and found.points and not len(self.journal) and not self.journal.base:
            self.journal.set_base(found.points)

    def _origin(self) -> dict[str, Any]:
        """What the W&B run says about where it came from."""
        if self.choice.parent is not None:
            return {"continued_from_run": self.choice.parent.run_id, "points_copied": self.choice.copy_points}
        if self.choice.found is not None:
            return {"resumed": True, "run_id_found_in": self.choice.found.source}
        return {}

    def _keep_missed(self) -> None:
        """wandb_backup/step_XXXXXX.json for each step with points that the server did not confirm."""
        missed: dict[int, list[dict[str, Any]]] = {}
        for number, point in enumerate(self.journal.points):
            if self.journal.base + number >= self.confirmed:
                missed.setdefault(int(point.get(STEP_AXIS, 0)), []).append(point)
        if not missed:
            return
        try:
            for step, points in missed.items():
                path = self.output_dir / BACKUP_FOLDER / f"step_{step:06d}.json"
                write_json_atomically(path, {"run_id": self.run_id, "step": step, "points": points})
        except OSError as error:
            logger.warning("no backup of what W&B missed could be written (%s)", error)
            return
        logger.warning(
            "W&B has not confirmed %d points; they are in %s. Send them with script/sync_wandb.py --output_dir %s",
            sum(map(len, missed.values())),
            self.output_dir / BACKUP_FOLDER,
            self.output_dir,
        )

    def _save_state(self) -> None:
        path = self.output_dir / STATE_FILE
        projects = _projects(json_object_or_none(path) or {}) | {self.run_id: self.project}  # of every run in this folder
        try:
            write_json_atomically(path, {**self.get_sync_status(), "projects": projects, "written": time.time()})
        except OSError as error:
            logger.warning("%s could not be written (%s)", STATE_FILE, error)


def _projects(state: Mapping[str, Any]) -> dict[str, str]:
    """{run id: project} of a folder's runs, from its STATE_FILE."""
    found = state.get("projects")
    return dict(found) if isinstance(found, dict) else {}


def flatten(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) of every leaf, the names of nested mappings joined by slashes."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _first_line(error: BaseException) -> str:
    """For a message. A key that W&B quotes back must not be in it."""
    text = (str(error).strip().splitlines() or [""])[0][:200]
    key = os.environ.get("WANDB_API_KEY", "").strip()
    text = text.replace(key, "***") if key else text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_manager: WandbSyncManager | None = None


def initialize_wandb_sync_manager(
    output_dir: str | Path, project_name: str, run_name: str | None = None, **how: Any
) -> WandbSyncManager:
    """The one manager of this process; an earlier one is closed. `how` as for WandbSyncManager.

    Without a mode it is online where somebody is logged in, else offline, so that nothing ever asks.
    """
    global _manager
    if _manager is not None:
        _manager.close()
    if "mode" not in how:
        from grpo_project.configs.environment import read_environment

        how["mode"] = read_environment().wandb_mode
    _manager = WandbSyncManager(output_dir, project_name, run_name, **how)
    return _manager


def get_wandb_sync_manager() -> WandbSyncManager | None:
    """The manager of this process; None before `initialize_wandb_sync_manager`."""
    return _manager


def safe_wandb_log(data: Mapping[str, Any], step: int | None = None) -> bool:
    """In place of wandb.log(data, step=step): never raises, never waits. False where there is no manager to take the point."""
    if _manager is None:
        logger.warning("nothing was logged: call initialize_wandb_sync_manager first")
        return False
    return _manager.log(data, step)


def sync_folder_to_wandb(output_dir: Path, seconds: float = 600.0) -> list[dict[str, Any]]:
    """Sends what W&B lacks of every run in `output_dir`; {run_id, points, held_before, held_after} of each.

    The server is asked what it has, before and after, so that it may be called again at any time. Raises ConfigError where
    there is nothing of ours, or the server cannot be asked.
    """
    journals = sorted((output_dir / JOURNAL_FOLDER).glob("*.jsonl"))
    state = json_object_or_none(output_dir / STATE_FILE) or {}
    if not journals or not state.get("project"):
        raise ConfigError(f"{output_dir} holds no {STATE_FILE} with a journal beside it: nothing to send")
    results = []
    for path in journals:
        run_id = path.stem
        project = _projects(state).get(run_id, state["project"])
        before = server_count(project, state.get("entity"), run_id)
        if before is None:
            raise ConfigError("the W&B server cannot be asked; are you logged in (`wandb login`), and is it up?")
        journal = Journal(path)
        after: int | None = before
        if before < journal.total:
            manager = WandbSyncManager(
                output_dir,
                project,
                state.get("run_name"),
                choice=RunChoice(run_id, "allow"),
                entity=state.get("entity"),
                finish_seconds=seconds,
            )
            manager.close()
            after = manager.confirmed
        if after is not None and after >= journal.total:
            _put_away_backups(output_dir, run_id)
        results.append({"run_id": run_id, "points": journal.total, "held_before": before, "held_after": after})
    return results


def _put_away_backups(output_dir: Path, run_id: str) -> None:
    """Backups of points that arrived are kept in wandb_backup/sent/."""
    for path in sorted((output_dir / BACKUP_FOLDER).glob("step_*.json")):
        if (json_object_or_none(path) or {}).get("run_id") == run_id:
            sent = path.parent / SENT_FOLDER
            sent.mkdir(exist_ok=True)
            os.replace(path, sent / path.name)
