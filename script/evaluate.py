"""Greedy success of a model on held-out problems, with counts and 95% Wilson intervals; or of exact search, as the ceiling.

python script/evaluate.py --model data/models/tiny-planner --data_root data/test
python script/evaluate.py --planner --data_root data/test --domains ferry
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grpo_project.errors import ConfigError, GrpoProjectError  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", metavar="DIR", help="model folder (also the model/ of a run) or Hugging Face name")
    what.add_argument("--planner", action="store_true", help="A* with the domains' heuristics instead of a model")
    parser.add_argument("--data_root", default="data/test", metavar="DIR", help="folder of *.jsonl rows (default data/test)")
    parser.add_argument("--domains", nargs="+", metavar="NAME", help="default: every file of the data root")
    parser.add_argument("--samples", type=int, metavar="N", help="problems per domain, the first N; default all")
    parser.add_argument("--max_completion_length", type=int, default=512, metavar="TOKENS", help="default 512")
    parser.add_argument("--output", metavar="FILE", help="write the result as JSON, every completion included")
    parser.add_argument("--trust_remote_code", action="store_true", help="run code that comes with the model")
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        return run(arguments)
    except GrpoProjectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written.", file=sys.stderr)
        return 130


def run(arguments: argparse.Namespace) -> int:
    from grpo_project.core.files import write_json_atomically
    from grpo_project.core.rows import Row, read_rows
    from grpo_project.evaluation import evaluate, planner_completions, table

    for name in ("samples", "max_completion_length"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} must be at least 1, got {value}")
    rows = read_rows(Path(arguments.data_root), arguments.domains)
    for message in rows.bad_rows:
        print(f"skipped {message}", file=sys.stderr)
    indices = [index for domain in rows.domains for index in rows.indices_of(domain)[: arguments.samples]]

    def complete(chosen: list[Row]) -> list[str]:
        if arguments.planner:
            return planner_completions(rows, indices)
        from rich.progress import Progress

        from grpo_project.training.backend import load_policy
        from grpo_project.training.generation import complete_greedy
        from grpo_project.training.trainer import row_prompt

        policy = load_policy(arguments.model, training=False, trust_remote_code=arguments.trust_remote_code)
        prompts = [row_prompt(row, policy.prompt_style) for row in chosen]
        with Progress(transient=True) as progress:
            bar = progress.add_task("solving", total=len(prompts))
            return complete_greedy(
                policy.model,
                policy.tokenizer,
                prompts,
                arguments.max_completion_length,
                progress=lambda done, _: progress.update(bar, completed=done),
            )

    result = evaluate(rows, indices, complete, arguments.model or "A* search")
    print(f"{result.name} on {arguments.data_root}: {len(result.problems)} problems in {result.seconds:.0f} s")
    print(table(result))
    if arguments.output:
        write_json_atomically(Path(arguments.output), result.to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
