"""``cotune card``."""

from __future__ import annotations

from pathlib import Path

import click

from cotune.cli import options


@click.command()
@options.run_directory
@options.output
def card(run_directory: Path, output: Path | None) -> None:
    """Write a model card in Markdown from what a run recorded."""
    from cotune.cli.output import write_output
    from cotune.report.card import model_card
    from cotune.runs.directory import RunDirectory
    from cotune.runs.paths import check_not_own

    if output is not None:
        check_not_own(output)
    text = model_card(RunDirectory.open(run_directory))
    if output is None:
        click.echo(text, nl=False)
    else:
        write_output(output, text.encode())
