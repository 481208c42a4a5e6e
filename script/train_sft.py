"""Supervised fine-tuning (SFT): a warm start on demonstrations (reference plans), before GRPO (docs/sft.md).

A small planner from scratch, on a CPU:

    python script/generate_data.py --count 20000 --split train --prompt_style compact --out outputs/sft_data
    python script/train_sft.py --data_root outputs/sft_data --output_dir outputs/sft

A language model, with LoRA adapters in 4 bit where a GPU is; GRPO's --base_model takes the result:

    python script/train_sft.py --base_model unsloth/Qwen2.5-7B-Instruct-bnb-4bit --data_root outputs/sft_full \\
        --output_dir outputs/sft_7b --batch_size 4 --gradient_accumulation_steps 16 --use_gradient_checkpointing
    python script/train_grpo_unsloth_stl_v2.py --base_model outputs/sft_7b/model --data_root data/four_domain --beta 0
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.configs.setting import flag_of_field, kind_of, nature_of, placeholder  # noqa: E402
from grpo_project.sft.config import GROUPS, MODEL, SftConfig, resolve_settings  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    """One flag per setting of SftConfig, in its groups. A flag that is not given leaves no trace in the namespace."""
    how = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=how, argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    origin = groups[MODEL].add_mutually_exclusive_group()
    scratch = "a new planner of the size below (default)"
    origin.add_argument("--from_scratch", dest="base_model", action="store_const", const=None, help=scratch)
    for spec in fields(SftConfig):
        nature, kind, add = nature_of(spec), kind_of(spec), groups[nature_of(spec).group].add_argument
        if kind == "bool" and spec.default is not None:
            add(flag_of_field(spec), dest=spec.name, action="store_const", const=not spec.default, help=nature.help)
            continue
        (origin.add_argument if spec.name == "base_model" else add)(
            flag_of_field(spec),
            dest=spec.name,
            type={"int": int, "float": float, "bool": true_or_false}.get(kind, str),
            choices=nature.choices or None,
            metavar=placeholder(spec),
            nargs="+" if kind.startswith("tuple") else "?" if kind == "bool" else None,
            const=True if kind == "bool" else None,
            help=nature.help + (f" [{spec.default}]" if spec.default else ""),
        )
    return parser


def true_or_false(text: str) -> bool:
    """The value of a switch. Raises ValueError, which argparse reports, for another text."""
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


@entry_point("Interrupted before training began; nothing was written.", outlives_output=True)
def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 a mistake that the message on stderr names, 130 after Ctrl-C, 143 after SIGTERM."""
    config = resolve_settings(vars(build_parser().parse_args(argv)))
    from grpo_project.sft.run import train_sft

    return train_sft(config)


if __name__ == "__main__":
    sys.exit(main())
