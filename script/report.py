"""Training runs as one HTML page that needs no network, as figures for papers; evaluations as a leaderboard.

python script/report.py outputs/my_run                               # outputs/my_run/report.html
python script/report.py outputs/a outputs/b --output compared.html   # several runs side by side
python script/report.py outputs/my_run --png figures                 # figures/*.png beside the page
python script/report.py --leaderboard outputs/my_run results/*.json --output leaderboard.md
python script/report.py --strategies results/*.json --output what_pays.svg   # success against seconds

A run may still be training: the page shows what is logged so far. Exit status 0, or 2 for bad input.
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
    parser.add_argument("runs", nargs="*", metavar="RUN", help="--output_dir of a training run")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--leaderboard", nargs="+", metavar="FILE|RUN", help="evaluations, to be ranked in a Markdown table")
    instead.add_argument(
        "--strategies", nargs="+", metavar="FILE", help="evaluations, drawn as success against seconds a problem"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="the page (default: report.html in the run's folder; for several runs in the working directory) or the table "
        "(default: printed only)",
    )
    parser.add_argument("--title", help="head line of the page; default the name of the run")
    parser.add_argument("--png", metavar="DIR", help="write the figures as PNG files too; needs matplotlib")
    return parser


@entry_point()
def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    flag = "--leaderboard" if arguments.leaderboard else "--strategies" if arguments.strategies else None
    if flag and (arguments.runs or arguments.png or arguments.title):
        raise ConfigError(f"{flag} is about the files named after it: it takes no RUN before it, no --png and no --title")
    if arguments.leaderboard:
        return make_leaderboard(arguments)
    if arguments.strategies:
        return draw_strategies(arguments)
    return make_report(arguments)


def make_leaderboard(arguments: argparse.Namespace) -> int:
    from grpo_project.common.files import write_text_atomically
    from grpo_project.reporting import leaderboard, read_entries

    table = leaderboard(read_entries(arguments.leaderboard))
    print(table, end="")
    if arguments.output:
        write_text_atomically(Path(arguments.output), table)
    return 0


def draw_strategies(arguments: argparse.Namespace) -> int:
    from grpo_project.evaluation.results import read_result
    from grpo_project.reporting.figures import write_figure
    from grpo_project.reporting.strategies_chart import strategies_chart

    if not arguments.output:
        raise ConfigError("--strategies draws a figure: name its file with --output, for instance what_pays.svg")
    print(write_figure(strategies_chart([read_result(path) for path in arguments.strategies]), Path(arguments.output)))
    return 0


def make_report(arguments: argparse.Namespace) -> int:
    from grpo_project.common.files import write_text_atomically
    from grpo_project.reporting import page_data, read_runs, render_page, write_figures

    if not arguments.runs:
        raise ConfigError("name at least one run folder, or evaluations with --leaderboard; --help shows both")
    runs = read_runs(arguments.runs)
    data = page_data(runs, arguments.title)
    output = Path(arguments.output or (runs[0].path / "report.html" if len(runs) == 1 else "report.html"))
    if output.is_dir():
        raise ConfigError(f"{output} is a folder; --output names the file to write")
    page = render_page(data)
    write_text_atomically(output, page)
    for run in runs:
        print(f"{run.name}: {run.state}, step {run.step} of {run.max_steps}")
        for fault in run.faults:
            print(f"  {fault}", file=sys.stderr)
    print(f"{output}: {len(page) / 1e6:.1f} MB, opens in any browser without a network")
    if arguments.png:
        for path in write_figures(data, Path(arguments.png)):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
