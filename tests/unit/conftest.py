"""Small data roots and a random planner, real in every part: written by our own generators, renderers and tokenizer."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

FOUR_DOMAINS = ("blocksworld", "ferry", "grippers", "spanner")


def write_data_root(folder: Path, domains: tuple[str, ...] = FOUR_DOMAINS, count: int = 12, seed: str = "train") -> Path:
    """`count` generated problems per domain, inline, without constraints; the same for the same seed."""
    from grpo_project.common.random_streams import stream
    from grpo_project.domains import get_domain
    from grpo_project.pddl import render_problem

    folder.mkdir(parents=True, exist_ok=True)
    for name in domains:
        domain = get_domain(name)
        lines = []
        for index in range(count):
            rng = stream("tests", seed, name, index)
            parameters = domain.draw_parameters(rng, domain.sizes["train"])
            problem = domain.generate(rng, parameters, False)
            meta = {
                "scenario": name,
                "problem_file": domain.file_name(parameters, index),
                "problem_pddl": render_problem(problem),
            }
            lines.append(json.dumps({"prompt": f"Solve this {name} problem.", "meta": meta}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_tiny_planner(folder: Path, seed: int = 0, family: str = "Llama", **grpo_defaults: object) -> Path:
    """A random model of two layers, by default a Llama, with the planner's own tokenizer, saved as a model folder of ours."""
    import torch
    import transformers

    from grpo_project.models.tokenizer import build_planner_tokenizer

    tokenizer = build_planner_tokenizer()
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=8,  # Qwen3's own default is 128, whatever its width
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, f"{family}ForCausalLM")(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "planner.json").write_text(json.dumps({"prompt_style": "compact", "grpo_defaults": grpo_defaults}))
    return folder


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four domains, 12 problems each."""
    return write_data_root(tmp_path_factory.mktemp("data") / "train")


@pytest.fixture(scope="session")
def test_data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four domains, 4 other problems each."""
    return write_data_root(tmp_path_factory.mktemp("data") / "test", count=4, seed="test")


@pytest.fixture(scope="session")
def tiny_planner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of ours with random weights."""
    return write_tiny_planner(tmp_path_factory.mktemp("model") / "tiny-planner")


@pytest.fixture
def make_data_root(tmp_path: Path) -> Callable[..., Path]:
    """write_data_root into this test's own folder."""
    return lambda name="data", **how: write_data_root(tmp_path / name, **how)


@pytest.fixture
def hangup_heard() -> Iterator[None]:
    """SIGHUP as a terminal leaves it: under nohup it is ignored, by the suite too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class StandIn:
    """An OpenAI-compatible endpoint on this machine.

    `behave(number of the request from 1, its body, its headers)` gives (status, headers, body or raw bytes).
    """

    def __init__(self, behave: Callable[[int, dict[str, Any], Any], tuple[int, dict[str, str], Any]]) -> None:
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.requests.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
                    outer.times.append(time.monotonic())
                    number = len(outer.requests)
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                status, headers, answer = behave(number, body, self.headers)
                with lock:
                    outer.at_once -= 1
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client did not wait

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def stand_in() -> Iterator[Callable[..., StandIn]]:
    started: list[StandIn] = []

    def start(behave: Callable[..., Any]) -> StandIn:
        started.append(StandIn(behave))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six problems of each of five domains, small enough for search."""
    from tests.report_runs import write_problems

    return write_problems(tmp_path_factory.mktemp("problems") / "data")
