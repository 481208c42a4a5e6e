#!/usr/bin/env python
"""Teach a language model to write PDDL plans by GRPO: verified rewards, balanced domains, a difficulty curriculum.

    python script/train_grpo_unsloth_stl_v2.py --data_root data/four_domain

trains the planner that ships with the repository, on any machine. With a CUDA device and --base_model of a real language
model the same command trains that one, in 4 bit with Unsloth. GRPO_V2_README.md is the guide.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Dict, NoReturn  # noqa: UP035 - schedules pasted from the guide say Dict

REPOSITORY = Path(__file__).resolve().parent.parent
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.configs.resolution import convert, describe_settings  # noqa: E402
from grpo_project.configs.setting import flag_of_field, kind_of, nature_of, placeholder, true_or_false  # noqa: E402
from grpo_project.configs.settings import CURRICULUM, GROUPS, flag_of, settings  # noqa: E402
from grpo_project.errors import ConfigError  # noqa: E402


def get_curriculum_weights(step: int, max_steps: int) -> Dict[str, float]:  # noqa: UP006
    """Edit me: the share of easy, medium and hard problems in the batch of `step` (from 0), used by --curriculum step.

    Shares are 0 or more and are brought to a sum of 1. The answer must depend on nothing but the arguments: a run that is
    killed and continued asks again.
    """
    step_ratio = step / max(max_steps, 1)
    if step_ratio < 0.3:  # learn to plan at all
        return {"easy": 0.7, "medium": 0.25, "hard": 0.05}
    if step_ratio < 0.7:  # get better everywhere
        return {"easy": 0.4, "medium": 0.4, "hard": 0.2}
    return {"easy": 0.2, "medium": 0.4, "hard": 0.4}  # reach further


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of a page of usage."""
        raise ConfigError(f"{message} (--help explains every flag)")


def build_parser() -> argparse.ArgumentParser:
    """One flag per setting of TrainingConfig, in its groups. A flag that is not given leaves no trace in the namespace."""
    parser = _Parser(
        prog=Path(__file__).name,
        usage="%(prog)s [--flag value ...]",
        description=__doc__.split("\n\n")[0],
        epilog="A setting that is not given here is taken from the environment (GRPO_LEARNING_RATE=2e-5), then from the model's "
        "own planner.json, then from the default shown. Batch, length and step defaults of the shipped planner are its own. "
        "The curriculum's schedule is the function get_curriculum_weights at the top of this file: edit it.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for spec in settings():
        nature, kind, default = nature_of(spec), kind_of(spec), spec.default
        group, text = groups[nature.group], nature.help.replace("%", "%%")
        if kind == "bool" and default is not None:
            group.add_argument(flag_of_field(spec), dest=spec.name, action="store_const", const=not default, help=text)
            continue
        several = kind.startswith("tuple")
        # A switch that decides by itself where it is left out: bare it means true.
        count, bare = ("+", None) if several else ("?", True) if kind == "bool" else (None, None)
        shown = f" [{' '.join(default) if several else default}]" if default is not None else ""
        group.add_argument(
            flag_of_field(spec),
            *ALIASES.get(spec.name, ()),
            dest=spec.name,
            metavar=placeholder(spec),
            nargs=count,
            const=bare,
            help=text + shown.replace("%", "%%"),
        )
    groups[CURRICULUM].add_argument(
        "--enable_curriculum", metavar="{true,false}", help="false: the same as --curriculum uniform [true]"
    )
    parser.add_argument(
        "--estimate_memory", action="store_true", help="show how much GPU memory the run will need, and stop; needs no GPU"
    )
    parser.add_argument(
        "--gpu_memory_gib", type=float, metavar="GIB", help="with --estimate_memory: the size of a GPU that need not be here"
    )
    parser.add_argument("--print_config", action="store_true", help="show every setting with its origin, and stop")
    return parser


# Names that other scripts gave to the same settings.
ALIASES = {
    "base_model": ["--model_name"],
    "data_root": ["--dataset_path"],
    "micro_batch_size": ["--per_device_train_batch_size"],
}
ASIDES = ("print_config", "estimate_memory", "gpu_memory_gib")  # flags that are no settings


def parse_flags(argv: list[str] | None = None) -> dict[str, object]:
    """{setting: value} of the flags that were given. Raises ConfigError for text that is no number, SystemExit for --help.

    `print_config` and `estimate_memory` are there, and True, where they were asked for, `gpu_memory_gib` with the latter: they
    are no settings.
    """
    given: dict[str, object] = {}
    found = vars(build_parser().parse_args(argv))
    if "enable_curriculum" in found:
        text = found.pop("enable_curriculum")
        try:
            enabled = true_or_false(text)
        except ValueError:
            raise ConfigError(f"--enable_curriculum must be true or false, got {text!r}") from None
        if not enabled and found.setdefault("curriculum", "uniform") != "uniform":
            raise ConfigError(f"--enable_curriculum false contradicts --curriculum {found['curriculum']}: leave one out")
    given |= {name: found.pop(name) for name in ASIDES if name in found}
    if "gpu_memory_gib" in given and "estimate_memory" not in given:
        raise ConfigError("--gpu_memory_gib goes with --estimate_memory, which loads nothing; a run asks its own GPU")
    for name, value in found.items():
        text = " ".join(value) if isinstance(value, list) else value
        given[name] = text if isinstance(text, bool) else convert(name, text, flag_of(name))
    return given


def start(given: dict[str, object]) -> int:
    """Trains with these settings, or shows them (`print_config`). Returns the exit status; raises a GrpoProjectError."""
    from grpo_project.training.launch import resolve_settings

    asides = {name: given.pop(name, None) for name in ASIDES}
    config = resolve_settings(given)
    if asides["print_config"]:
        from grpo_project.training.algorithms import ALGORITHMS

        algorithm = ALGORITHMS[config.algorithm]
        algorithm.refuse_settings(config)
        algorithm.check_fields(config)
        print(describe_settings(config))
        return 0
    if asides["estimate_memory"]:
        from grpo_project.models.forecast import forecast_for_a_gpu

        print(forecast_for_a_gpu(config, asides["gpu_memory_gib"]).report())
        return 0
    from grpo_project.training.run import train

    return train(config, get_curriculum_weights)


@entry_point("\nInterrupted before the run began; nothing was written.", outlives_output=True)
def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 a mistake that the message on stderr names, 3 and 4 stopped by --on_collapse and --on_anomaly, 130
    interrupted."""
    return start(parse_flags(argv))


if __name__ == "__main__":
    sys.exit(main())
