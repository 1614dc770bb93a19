"""Reports, of a run and of a comparison: each one HTML file that needs no network."""

from __future__ import annotations

from pathlib import Path

from cotune.report.html.comparison_page import build_comparison
from cotune.report.html.objective_page import build_objective_report
from cotune.report.html.page import build_report as build_run_report
from cotune.runs.directory import RunDirectory

__all__ = ["build_comparison", "build_report"]


def build_report(run: RunDirectory) -> Path:
    """Write ``report.html`` into the run directory and return its path.

    Raises:
        StorageError: The run cannot be read, or the report cannot be written.
    """
    return build_objective_report(run) if run.is_of_objective else build_run_report(run)
