"""Reports, of a run and of a comparison: each one HTML file that needs no network."""

from cotune.report.comparison_page import build_comparison
from cotune.report.page import build_report

__all__ = ["build_comparison", "build_report"]
