"""``cotune show``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cotune.cli import options


@click.command()
@options.run_directory
@options.as_json
def show(run_directory: Path, as_json: bool) -> None:
    """Print the state of a run, or its results."""
    from cotune.runs.directory import RunDirectory

    directory = RunDirectory.open(run_directory)
    if as_json:
        click.echo(json.dumps(directory.summary().to_json(), indent=1))
        return

    from cotune.report.terminal.summary import print_run

    print_run(directory)
