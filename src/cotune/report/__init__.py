"""Reports, of a run and of a comparison: each one HTML file that needs no network.

Pages are imported where they are written: Optuna and plotly take a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cotune.runs.directory import RunDirectory
    from cotune.tuning.comparison import Comparison

__all__ = ["build_comparison", "build_report"]


def build_report(run: RunDirectory) -> Path:
    """Write ``report.html`` into the run directory and return its path.

    Raises:
        StorageError: The run cannot be read, or the report cannot be written.
    """
    if run.is_of_objective:
        from cotune.report.html.objective_page import build_objective_report

        return build_objective_report(run)
    from cotune.report.html.page import build_report as build_run_report

    return build_run_report(run)


def build_comparison(comparison: Comparison) -> Path:
    """Write ``compare.html`` into the folder of a comparison and return its path.

    Raises:
        StorageError: It cannot be written.
    """
    from cotune.report.html.comparison_page import build_comparison as build

    return build(comparison)
