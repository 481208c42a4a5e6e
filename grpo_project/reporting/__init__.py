"""A run folder to something people read: one HTML page, figures for papers, a leaderboard. Nothing here needs torch."""

from grpo_project.reporting.figures import write_figures
from grpo_project.reporting.leaderboard import Entry, leaderboard, read_entries
from grpo_project.reporting.page import render_page
from grpo_project.reporting.page_data import page_data
from grpo_project.reporting.run import RecordedRun, read_run, read_runs
from grpo_project.tracking.completion_file import CompletionFile

__all__ = [
    "CompletionFile",
    "Entry",
    "RecordedRun",
    "leaderboard",
    "page_data",
    "read_entries",
    "read_run",
    "read_runs",
    "render_page",
    "write_figures",
]
