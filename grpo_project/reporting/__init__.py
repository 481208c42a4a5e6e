"""A run folder to something people read: one HTML page, figures for papers, a leaderboard. Nothing here needs torch."""

from grpo_project.reporting.completions import CompletionFile
from grpo_project.reporting.leaderboard import leaderboard
from grpo_project.reporting.page import render_page
from grpo_project.reporting.page_data import page_data
from grpo_project.reporting.run import RecordedRun, read_run, read_runs

__all__ = ["RecordedRun", "CompletionFile", "leaderboard", "page_data", "read_run", "read_runs", "render_page"]
