"""Reports, of a run and of a comparison: each one HTML file that needs no network.

Pages are imported where they are written: Optuna and plotly take a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cotune.runs.config import ObjectiveConfig
from cotune.runs.files import write_file

if TYPE_CHECKING:
    from cotune.runs.directory import RunDirectory
    from cotune.tuning.comparison import Comparison

__all__ = ["build_comparison", "build_report", "render_report"]


def build_report(run: RunDirectory) -> Path:
    """Write ``report.html`` into the run directory and return its path.

    An earlier report is replaced at once, or stays whole when this one cannot be written. A run
    that was interrupted, or whose trials all failed, gets a report of what there is.

    Raises:
        StorageError: The run cannot be read, or the report cannot be written.
    """
    write_file(run.report_path, render_report(run))
    return run.report_path


def render_report(run: RunDirectory) -> str:
    """Return the report's HTML.

    Raises:
        StorageError: The run cannot be read.
    """
    from cotune.report.html import objective_page, run_page
    from cotune.report.html.contents import gather

    contents = gather(run)
    if isinstance(contents.config, ObjectiveConfig):
        return objective_page.render(contents, contents.config)
    return run_page.render(run, contents, contents.config)


def build_comparison(comparison: Comparison) -> Path:
    """Write ``compare.html`` into the folder of a comparison and return its path.

    Raises:
        StorageError: It cannot be written.
    """
    from cotune.report.html.comparison_page import render

    path = comparison.path / "compare.html"
    write_file(path, render(comparison))
    return path
