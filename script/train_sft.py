"""Supervised fine-tuning (SFT): a warm start on demonstrations (reference plans), from scratch or from a model folder.

python script/generate_data.py --count 20000 --split train --prompt_style compact --out outputs/sft_data
python script/train_sft.py --data_root outputs/sft_data --output_dir outputs/sft
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.errors import GrpoProjectError  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_argument_group("data and output")
    data.add_argument(
        "--data_root", nargs="+", required=True, metavar="DIR", help="folders of *.jsonl rows with compact prompts and responses"
    )
    data.add_argument("--output_dir", required=True, metavar="DIR", help="checkpoints, and the finished model under DIR/model")
    model = parser.add_argument_group("model")
    start = model.add_mutually_exclusive_group()
    start.add_argument("--base_model", metavar="DIR", help="start from this model")
    start.add_argument("--from_scratch", action="store_true", help="a new planner of the size below (default)")
    model.add_argument(
        "--add_layers",
        type=int,
        default=0,
        metavar="N",
        help="depth up-scaling: add N layers to --base_model that at first leave its outputs as they are",
    )
    model.add_argument("--hidden_size", type=int, default=128)
    model.add_argument("--layers", type=int, default=4)
    model.add_argument("--heads", type=int, default=4)
    model.add_argument("--intermediate_size", type=int, default=384)
    training = parser.add_argument_group("training")
    training.add_argument("--max_steps", type=int, default=-1, help="optimizer steps; overrides --epochs")
    training.add_argument("--epochs", type=float, default=1.0)
    training.add_argument("--batch_size", type=int, default=64, help="rows per step (default 64)")
    training.add_argument(
        "--optimizer",
        choices=("muon", "adamw"),
        default="muon",
        help="muon (default; learns a small planner twice as fast) or adamw (the usual choice for a large --base_model)",
    )
    training.add_argument(
        "--learning_rate",
        type=float,
        default=6e-3,
        help="peak; decays to 0 as a cosine (default 6e-3, for a planner of the default size; a large --base_model wants 1e-5)",
    )
    training.add_argument("--seed", type=int, default=1)
    training.add_argument("--save_steps", type=int, default=500)
    training.add_argument("--logging_steps", type=int, default=50)
    training.add_argument("--bf16", action="store_true", help="bfloat16 autocast; faster on processors that have it")
    training.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile: faster after two minutes, needs a C++ compiler, and the weights are the same only up to rounding",
    )
    training.add_argument("--warmup_steps", type=int, default=100)
    training.add_argument("--weight_decay", type=float, default=0.01)
    training.add_argument(
        "--resume_from_checkpoint",
        metavar="auto|DIR",
        help="auto: the newest checkpoint in --output_dir, or the start if there is none",
    )
    evaluation = parser.add_argument_group("evaluation while training")
    evaluation.add_argument("--eval_data", metavar="DIR", help="a data root of held-out problems")
    evaluation.add_argument("--eval_every", type=int, default=0, metavar="STEPS", help="0: never (default)")
    evaluation.add_argument("--eval_samples", type=int, default=100, metavar="N", help="problems per domain (default 100)")
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        from grpo_project.sft.trainer import SftConfig, train_sft

        settings = {name: value for name, value in vars(arguments).items() if name not in ("data_root", "from_scratch")}
        return train_sft(SftConfig(data_roots=tuple(arguments.data_root), **settings))
    except GrpoProjectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped. Run the same command with --resume_from_checkpoint auto to go on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
