"""Every way in which vLLM can be missing is one line, said before a model is loaded; what is asked for reaches TRL."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from trainers import grpo_arguments

from grpo_project.configs.batches import batch_shape
from grpo_project.configs.training import TrainingConfig
from grpo_project.errors import BackendMissing, ConfigError
from grpo_project.models import vllm
from grpo_project.models.loading import plan_for
from grpo_project.models.vllm import NOT_EXACT, check_vllm


def _plan(name: str, device: str = "cuda", rank: int | None = None) -> Any:
    return plan_for(name, device, "of a test", False, True, True, rank, "bf16")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """installed(whether vllm can be found, its version); every other package as it is."""
    find = importlib.util.find_spec

    def pretend(there: bool, version: str = "0.30.0+cu129") -> None:
        monkeypatch.setattr(
            vllm.importlib.util, "find_spec", lambda name, *rest: (object() if there else None) if name == "vllm" else find(name)
        )
        monkeypatch.setattr(vllm.importlib.metadata, "version", lambda name: version)

    return pretend


def test_without_it_nothing_is_asked() -> None:
    assert check_vllm(TrainingConfig(), _plan("transformers", "cpu")) is None


@pytest.mark.parametrize(
    ("settings", "plan", "there", "message"),
    [
        ({"use_vllm": True}, ("transformers", "cpu"), True, "--use_vllm: vLLM needs a CUDA device"),
        ({"fast_inference": True}, ("transformers", "cpu"), True, "--fast_inference: vLLM needs a CUDA device"),
        ({"use_vllm": True}, ("unsloth",), True, "--use_vllm goes with --backend transformers.*or take --fast_inference"),
        ({"fast_inference": True}, ("transformers",), True, "--fast_inference goes with --backend unsloth.*because of a test"),
        ({"fast_inference": True}, ("unsloth", "cuda", 0), True, "needs adapters"),
        ({"use_vllm": True}, ("transformers",), False, "the package vllm is not installed .*0.20.0"),
        ({"fast_inference": True}, ("unsloth",), False, "--fast_inference: the package vllm is not installed"),
    ],
)
def test_what_is_missing_is_named(
    installed: Any, settings: dict[str, Any], plan: tuple[Any, ...], there: bool, message: str
) -> None:
    installed(there)
    with pytest.raises(BackendMissing, match=message) as caught:
        check_vllm(TrainingConfig(**settings), _plan(*plan))
    assert "\n" not in str(caught.value)


def test_where_all_is_there_the_limit_is_said(installed: Any) -> None:
    installed(True)
    assert check_vllm(TrainingConfig(use_vllm=True), _plan("transformers")) == NOT_EXACT
    assert check_vllm(TrainingConfig(fast_inference=True), _plan("unsloth")) == NOT_EXACT


@pytest.mark.parametrize("version", ["0.19.1", "0.30.1", "1.0.0rc1+cu130"])
@pytest.mark.parametrize(("flag", "backend"), [("use_vllm", "transformers"), ("fast_inference", "unsloth")])
def test_a_version_that_trl_does_not_take_is_refused(installed: Any, version: str, flag: str, backend: str) -> None:
    installed(True, version)
    with pytest.raises(BackendMissing) as caught:
        check_vllm(TrainingConfig(**{flag: True}), _plan(backend))
    told = f"vllm {version} is installed, and TRL takes {vllm.VERSIONS}: install one of these, or leave --{flag} out"
    assert str(caught.value) == f"--{flag}: {told}"


def test_the_version_range_is_that_of_the_installed_trl() -> None:
    trl = pytest.importorskip("trl")
    text = (Path(trl.__file__).parent / "import_utils.py").read_text(encoding="utf-8")
    first, last = vllm.VERSIONS.split(" to ")
    assert f'Version("{first}") <= _vllm_base_version <= Version("{last}")' in text


class _Server:
    def __init__(self, status: int) -> None:
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Any]:
    started: list[_Server] = []

    def start(status: int) -> _Server:
        started.append(_Server(status))
        return started[-1]

    yield start
    for one in started:
        one.server.shutdown()
        one.server.server_close()


def test_a_server_is_asked_before_anything_is_loaded(installed: Any, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(True)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # the server is ours, so no proxy is asked
    well = serve(200)
    config = TrainingConfig(use_vllm=True, vllm_mode="server", vllm_server_port=well.port)
    assert check_vllm(config, _plan("transformers")) == NOT_EXACT
    assert well.asked == ["/health"]

    ill = serve(503)
    with pytest.raises(BackendMissing, match=f"no vLLM server answers at 127.0.0.1:{ill.port}.*vllm serve"):
        check_vllm(TrainingConfig(use_vllm=True, vllm_mode="server", vllm_server_port=ill.port), _plan("transformers"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(BackendMissing, match="refused"):
            check_vllm(TrainingConfig(use_vllm=True, vllm_mode="server", vllm_server_port=port), _plan("transformers"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_vllm": True, "fast_inference": True}, "two ways to vLLM"),
        ({"use_vllm": True, "presence_penalty": 0.5}, "--presence_penalty is counted over the answer alone, which --use_vllm"),
        ({"fast_inference": True, "min_new_tokens": 4}, "--min_new_tokens .* --fast_inference"),
        ({"vllm_gpu_memory_utilization": 1.0}, r"--vllm_gpu_memory_utilization must lie in \(0, 1\)"),
        ({"vllm_server_port": 0}, r"--vllm_server_port must lie in \[1, 65535\]"),
        ({"vllm_server_timeout": 0.0}, "--vllm_server_timeout must be above 0"),
        ({"vllm_mode": "both"}, "--vllm_mode must be one of colocate, server"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**settings)


def test_what_was_asked_for_reaches_trl(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from trl import GRPOConfig

    config = TrainingConfig(
        use_vllm=True, vllm_mode="server", vllm_server_host="gpu2", vllm_server_port=8123, vllm_server_timeout=30.0
    )
    args = GRPOConfig(**grpo_arguments(config, batch_shape(config, "cpu"), "cpu", "transformers", str(tmp_path)))
    assert (args.use_vllm, args.vllm_mode, args.vllm_server_host, args.vllm_server_port) == (True, "server", "gpu2", 8123)
    assert args.vllm_server_timeout == 30.0 and args.vllm_importance_sampling_correction
    config = TrainingConfig(fast_inference=True, vllm_mode="server")  # Unsloth's way is in this process
    arguments = grpo_arguments(config, batch_shape(config, "cuda"), "cuda", "unsloth", str(tmp_path), "bf16")
    assert (arguments["use_vllm"], arguments["vllm_mode"], arguments["bf16"], arguments["fp16"]) == (
        True,
        "colocate",
        True,
        False,
    )
    assert arguments["optim"] == "adamw_8bit"
    assert grpo_arguments(config, batch_shape(config, "cuda"), "cuda", "unsloth", "o", "fp16")["fp16"] is True


def test_a_run_is_refused_before_anything_is_loaded(
    data_root: Path, tiny_planner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grpo_project.models import loading as backend
    from grpo_project.training.run import train

    def loaded(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(backend, "load_policy", loaded)
    monkeypatch.setattr(backend, "choose_backend", lambda asked, small: ("transformers", "cpu", "no CUDA device is there"))
    config = TrainingConfig(
        base_model=str(tiny_planner),
        data_root=str(data_root),
        output_dir=str(tmp_path / "run"),
        eval_samples=0,
        use_wandb=False,
        use_vllm=True,
    )
    with pytest.raises(BackendMissing, match="--use_vllm: vLLM needs a CUDA device"):
        train(config, lambda step, max_steps: {"easy": 1.0, "medium": 1.0, "hard": 1.0})
    assert not (tmp_path / "run").exists()
