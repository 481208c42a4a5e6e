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

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.sft.config import build_parser, resolve_settings  # noqa: E402


@entry_point("Interrupted before training began; nothing was written.", outlives_output=True)
def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 a mistake that the message on stderr names, 130 after Ctrl-C, 143 after SIGTERM."""
    config = resolve_settings(vars(build_parser(__doc__).parse_args(argv)))
    from grpo_project.sft.run import train_sft

    return train_sft(config)


if __name__ == "__main__":
    sys.exit(main())
