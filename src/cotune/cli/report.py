"""``cotune report``."""

from __future__ import annotations

from pathlib import Path

import click

from cotune.cli import options


@click.command()
@options.run_directory
def report(run_directory: Path) -> None:
    """Write a run's report.html again."""
    from cotune.report import build_report
    from cotune.runs.directory import RunDirectory

    click.echo(build_report(RunDirectory.open(run_directory)))
