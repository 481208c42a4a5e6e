"""What vLLM needs before a run may use it, said in one line each, before anything is loaded.

Two ways: --use_vllm is TRL's (in this process, or a server), for plain transformers models; --fast_inference is Unsloth's.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import urllib.error
import urllib.request

from grpo_project.configs.settings import Settings
from grpo_project.errors import BackendMissing
from grpo_project.models.loading import LoadPlan

VERSIONS = "0.20.0 to 0.30.0"  # that the pinned TRL takes (trl/import_utils.py)
SECONDS_TO_ANSWER = 5.0
NOT_EXACT = "completions are drawn by vLLM: a continued run sees the same problems, but not the same completions"


def check_vllm(config: Settings, plan: LoadPlan) -> str | None:
    """The limit to tell the user of; None without vLLM. Raises BackendMissing, naming what is not there."""
    if not (config.use_vllm or config.fast_inference):
        return None
    flag = "--use_vllm" if config.use_vllm else "--fast_inference"
    wanted = "transformers" if config.use_vllm else "unsloth"
    if plan.device != "cuda":
        raise BackendMissing(f"{flag}: vLLM needs a CUDA device to take new weights in training, and none is there. Leave it out")
    if plan.name != wanted:
        other = "--fast_inference" if config.use_vllm else "--use_vllm"
        raise BackendMissing(
            f"{flag} goes with --backend {wanted}, but this run takes {plan.name}, because {plan.reason}: "
            f"add --backend {wanted}, or take {other}"
        )
    if config.fast_inference and plan.rank == 0:
        raise BackendMissing("--fast_inference shares the base weights with vLLM, so it needs adapters: set --lora_rank above 0")
    if importlib.util.find_spec("vllm") is None:
        raise BackendMissing(f"{flag}: the package vllm is not installed (TRL takes {VERSIONS}): install it, or leave {flag} out")
    _refuse_other_versions(flag)
    if config.use_vllm and config.vllm_mode == "server":
        _ask_server(config.vllm_server_host, config.vllm_server_port)
    return NOT_EXACT


def _refuse_other_versions(flag: str) -> None:
    """TRL only warns, and fails later in the middle of a step."""
    from packaging.version import Version

    try:
        found = importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return  # a checkout on the path does not say
    first, last = map(Version, VERSIONS.split(" to "))
    if not first <= Version(Version(found).base_version) <= last:
        raise BackendMissing(
            f"{flag}: vllm {found} is installed, and TRL takes {VERSIONS}: install one of these, or leave {flag} out"
        )


def _ask_server(host: str, port: int) -> None:
    """Returns where the server's /health endpoint answers. Raises BackendMissing where it does not."""
    url = f"http://{host}:{port}/health"
    try:
        # No proxy: the server is one of ours.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=SECONDS_TO_ANSWER):
            return
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise BackendMissing(
            f"--vllm_mode server: no vLLM server answers at {host}:{port} ({reason}). Start one on another GPU by `vllm serve "
            "MODEL`, or name it by --vllm_server_host and --vllm_server_port"
        ) from None
