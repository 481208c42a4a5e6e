"""The flags of scripts that ask a model for plans: which model, what stands around its prompts, how its answers are made."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from typing import Any

from grpo_project.configs.chat import ChatSettings
from grpo_project.configs.resolution import convert
from grpo_project.configs.setting import flag_of_field, nature_of, placeholder
from grpo_project.errors import ConfigError
from grpo_project.pddl.explanation import DETAILS
from grpo_project.prompting import FULL, PROMPT_FORMATS, PROMPT_STYLES


def add_model_flags(what: argparse._ArgumentGroup) -> None:
    """--model, --adapter and --base_url, into a group that may hold other things to ask."""
    add = what.add_argument
    add("--model", metavar="NAME", help="model folder (also the model/ of a run), Hugging Face name, or the endpoint's model")
    add("--adapter", metavar="DIR", help="a LoRA adapter to put on --model (an adapter folder alone may be --model, too)")
    add("--base_url", metavar="URL", help="an OpenAI-compatible endpoint, up to /v1: ask it for --model")


def add_prompt_flags(problems: argparse._ArgumentGroup) -> None:
    """--prompt_style and --prompt_format."""
    add = problems.add_argument
    add(
        "--prompt_style",
        choices=PROMPT_STYLES,
        help="default: the model's own; full for an endpoint",
    )
    add("--prompt_format", choices=PROMPT_FORMATS, help="ask in PDDL, JSON or English; default: the row's own prompt")


def style_of(arguments: argparse.Namespace, own_style: str) -> str:
    """--prompt_style, else the model's own; a planner that is asked in another one than it was taught is warned about."""
    asked: str = arguments.prompt_style or own_style
    if own_style not in (FULL, asked):
        print(f"warning: {arguments.model} was taught prompts of the style {own_style}, and is asked in {asked}", file=sys.stderr)
    return asked


def add_chat_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each of ChatSettings."""
    chats = parser.add_argument_group("chats, by default as the model's planner.json or its chat template has them")
    for spec in fields(ChatSettings):
        chats.add_argument(flag_of_field(spec), metavar=placeholder(spec), help=nature_of(spec).help)


def add_drawing_flags(answers: argparse._ArgumentGroup) -> None:
    """--max_completion_length, --temperature and --seed."""
    add = answers.add_argument
    add("--max_completion_length", type=int, default=512, metavar="TOKENS", help="default 512")
    add("--temperature", type=float, default=1.0, help="of drawn answers (default 1.0)")
    add("--seed", type=int, default=0, help="names the random streams of drawn answers (default 0)")


def add_repair_flags(answers: argparse._ArgumentGroup, what: str) -> None:
    """--repair_turns and --repair_detail; `what` says which answers are repaired."""
    add = answers.add_argument
    add(
        "--repair_turns",
        type=int,
        default=0,
        metavar="K",
        help=f"how often {what} that fails goes back with the verifier's words, for a corrected plan (default 0)",
    )
    add(
        "--repair_detail",
        choices=DETAILS,
        default="state",
        help="what the model is told: that its plan failed; also how and at which step; also the state and what was unmet "
        "in it (default). Never a step that it did not write itself",
    )


def add_loading_flags(parser: argparse.ArgumentParser) -> None:
    """What concerns a model loaded here, and what concerns an endpoint."""
    local = parser.add_argument_group("a model loaded here")
    add = local.add_argument
    add(
        "--batch_size",
        type=int,
        default=64,
        help="completions at a time, at most: fewer of long ones; does not show in the answers (default 64)",
    )
    add("--backend", choices=("auto", "unsloth", "transformers"), default="auto")
    add("--no_4bit", dest="load_in_4bit", action="store_false", help="keep a large model's weights as they are")
    add("--trust_remote_code", action="store_true", help="run code that comes with the model")
    remote = parser.add_argument_group("an endpoint")
    add = remote.add_argument
    add("--api_key_env", default="OPENAI_API_KEY", metavar="VARIABLE", help="where the key stands (default OPENAI_API_KEY)")
    add("--concurrency", type=int, default=4, metavar="N", help="requests at a time (default 4)")
    add("--requests_per_minute", type=float, default=0.0, metavar="N", help="default 0: no limit of ours")
    add("--max_retries", type=int, default=6, metavar="N", help="further tries of a failed request (default 6)")
    add("--timeout", type=float, default=300.0, metavar="SECONDS", help="for one request (default 300)")
    add("--request_fields", metavar="JSON", help="fields of each request, such as '{\"top_p\": 0.9}'; null takes one out")


def chat_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """{setting: value} of the chats that were asked for. Raises ConfigError for a value of the wrong kind."""
    given = {spec.name: getattr(arguments, spec.name) for spec in fields(ChatSettings)}
    return {name: convert(name, text, f"--{name}") for name, text in given.items() if text is not None}


def check_asking(arguments: argparse.Namespace, drawn: int) -> None:
    """Raises ConfigError for flags of this page that cannot work, before anything is loaded. `drawn`: answers to be drawn."""
    if arguments.base_url and not arguments.model:
        raise ConfigError("--base_url needs --model, the name by which the endpoint knows the model")
    if arguments.adapter and (arguments.base_url or not arguments.model):
        raise ConfigError("--adapter goes with a --model that is loaded here")
    if drawn and not 0 < arguments.temperature < float("inf"):
        raise ConfigError(f"--temperature must be above 0, got {arguments.temperature}")
    at_least(arguments, max_completion_length=1, batch_size=1, repair_turns=0)


def at_least(arguments: argparse.Namespace, **least: int) -> None:
    """Raises ConfigError for a flag below its least value; one that was not given (None) passes."""
    for name, lowest in least.items():
        value = getattr(arguments, name)
        if value is not None and value < lowest:
            raise ConfigError(f"--{name} must be at least {lowest}, got {value}")
