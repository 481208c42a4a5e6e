"""Who answers, from the flags of configs/asking.py: a model loaded here, or an endpoint, which needs no torch."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from typing import Any

from grpo_project.common.files import json_object
from grpo_project.configs.asking import chat_of
from grpo_project.evaluation.answers import Answerer
from grpo_project.prompting import ChatOptions


def asked_model(
    arguments: argparse.Namespace, patience_seconds: float = math.inf, wrote: Callable[[int], None] | None = None
) -> tuple[Answerer, str, dict[str, Any]]:
    """(who answers, the prompt style that it reads unless another is asked for, the settings of its chats that are not left to
    the template). patience_seconds: of an endpoint. wrote: as for local_answerer. Raises ConfigError, ModelError or
    BackendMissing."""
    chat = ChatOptions.of(chat_of(arguments))
    if arguments.base_url:
        return _endpoint(arguments, chat, patience_seconds), "full", chat.asked()
    from grpo_project.models.answers import local_answerer
    from grpo_project.models.loading import load_policy, with_adapter

    policy = load_policy(
        arguments.model,
        chat=chat,
        training=False,
        load_in_4bit=arguments.load_in_4bit,
        trust_remote_code=arguments.trust_remote_code,
        # An adapter is put on by peft, which wants the model as transformers knows it.
        backend="transformers" if arguments.adapter and arguments.backend == "auto" else arguments.backend,
    )
    if arguments.adapter:
        policy = with_adapter(policy, arguments.adapter)
    if policy.remark:
        print(f"warning: {policy.remark}", file=sys.stderr)
    how = (arguments.max_completion_length, arguments.batch_size, arguments.temperature, arguments.seed)
    return local_answerer(policy, *how, wrote), policy.prompt_style, policy.chat.asked()


def _endpoint(arguments: argparse.Namespace, chat: ChatOptions, patience_seconds: float) -> Answerer:
    """The client, with the key that the environment names."""
    from grpo_project.evaluation.endpoint import Endpoint, EndpointConfig

    config = EndpointConfig(
        arguments.base_url,
        arguments.model,
        arguments.max_completion_length,
        temperature=arguments.temperature,
        seed=arguments.seed,
        concurrency=arguments.concurrency,
        requests_per_minute=arguments.requests_per_minute,
        max_retries=arguments.max_retries,
        timeout_seconds=min(arguments.timeout, patience_seconds),
        patience_seconds=patience_seconds,
        request_fields=json_object(arguments.request_fields or "{}", "--request_fields"),
        chat=chat,
    )
    key = os.environ.get(arguments.api_key_env) or None
    if key and config.sends_keys_in_the_open:
        print("warning: --base_url is plain http: the key travels unencrypted", file=sys.stderr)

    def on_retry(reason: str, seconds: float) -> None:
        print(f"again in {seconds:.1f} s: {reason}", file=sys.stderr)

    def on_stop(under_way: int) -> None:
        print(f"stopping when {under_way} answers under way are there; Ctrl-C again: at once", file=sys.stderr)

    return Endpoint(config, key, on_retry, on_stop)
