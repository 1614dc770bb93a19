"""The report of a run: one HTML file that needs no network."""

from cotune.report.page import build_report

__all__ = ["build_report"]
