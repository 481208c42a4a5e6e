"""A W&B server of one process for tests: it keeps the history lines of runs, and can be slow, broken, gone, or refuse the key."""

from __future__ import annotations

import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WandbServer:
    """`behaviour`: ok, slow (every answer takes `delay` seconds), broken (500), expired (401) or deleted (409 for the run).

    `lines[run id]`: history.
    """

    def __init__(self, behaviour: str = "ok", delay: float = 3.0) -> None:
        self.behaviour = behaviour
        self.delay = delay
        self.lines: dict[str, list[dict[str, Any]]] = {}
        self.finished: set[str] = set()
        self.requests = 0
        self.port = 0
        self._http: ThreadingHTTPServer | None = None
        self.start()

    def start(self) -> None:
        """Listens, on the same port as before."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                pass

            def do_POST(self) -> None:  # noqa: N802 - http.server's own name
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                status, answer = server.answer(self.path, body)
                content = json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    pass  # the client did not wait

            do_PUT = do_GET = do_POST  # noqa: N815

        ThreadingHTTPServer.daemon_threads = True
        ThreadingHTTPServer.block_on_close = False
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Gone: connections are refused."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def points(self, run_id: str, name: str) -> list[Any]:
        """The values of one metric in the order of the server's lines."""
        return [line.get(name) for line in self.lines.get(run_id, [])]

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self.requests += 1
        if self.behaviour == "slow":
            time.sleep(self.delay)
        if self.behaviour == "broken":
            return 500, {"errors": [{"message": "internal"}]}
        if self.behaviour == "expired":
            return 401, {"errors": [{"message": "permission denied"}]}
        if self.behaviour == "deleted" and b"upsertBucket" in body:
            return 409, {"errors": [{"message": "the run was previously created and deleted; try a new run name"}]}
        if path.endswith("/file_stream"):
            return 200, self._stream(path.split("/")[-2], json.loads(body))
        if path != "/graphql":
            return 200, {}
        request = json.loads(body)
        query, variables = request.get("query", ""), request.get("variables") or {}
        if "upsertBucket" in query:
            self.lines.setdefault(variables["name"], [])
            return 200, {"data": {"upsertBucket": {"bucket": self._bucket(variables["name"]), "inserted": True}}}
        if "RunResumeStatus" in query:
            bucket = self._bucket(variables["name"]) if variables["name"] in self.lines else None
            entity = {"id": "RQ==", "name": "me"}
            return 200, {"data": {"model": {"id": "UA==", "name": "p", "entity": entity, "bucket": bucket}}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload"} for name in variables["files"]]
            return 200, {"data": {"createRunFiles": {"runID": "QQ==", "uploadHeaders": [], "files": files}}}
        if "viewer" in query:
            viewer = {"id": "VQ==", "entity": "me", "username": "me", "flags": "{}", "email": "", "teams": {"edges": []}}
            return 200, {"data": {"viewer": viewer}}
        return 200, {"data": {}}

    def _stream(self, run_id: str, request: dict[str, Any]) -> dict[str, Any]:
        part = request.get("files", {}).get("wandb-history.jsonl")
        if part:
            lines = self.lines.setdefault(run_id, [])
            assert part["offset"] <= len(lines), "a gap in the history"
            lines[part["offset"] : part["offset"] + len(part["content"])] = [json.loads(line) for line in part["content"]]
        if request.get("complete"):
            self.finished.add(run_id)
        return {"exitcode": None, "limits": {}}

    def _bucket(self, run_id: str) -> dict[str, Any]:
        lines = self.lines[run_id]
        return {
            "id": "QQ==",
            "name": run_id,
            "displayName": run_id,
            "description": "",
            "notes": "",
            "tags": [],
            "config": "{}",
            "sweepName": None,
            "summaryMetrics": json.dumps(lines[-1] if lines else {}),
            "logLineCount": 0,
            "historyLineCount": len(lines),
            "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(line) for line in lines[-1:]]),
            "eventsTail": "[]",
            "wandbConfig": json.dumps({"t": 1}),  # without it the client takes a run for one that never began
            "project": {"id": "UA==", "name": "p", "entity": {"id": "RQ==", "name": "me"}},
        }
