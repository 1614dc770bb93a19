"""The report of a run, written whichever way the run ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from cotune.exceptions import StorageError
from cotune.runs.directory import RunDirectory

BuildReport = Callable[[RunDirectory], object]
"""Writes the report of a run."""


def write_report(report: BuildReport, directory: RunDirectory) -> None:
    """Write the report of a run; what ended the run is the error to tell, not this one."""
    with contextlib.suppress(StorageError):
        report(directory)
