"""``cotune test``."""

from __future__ import annotations

from pathlib import Path

import click

from cotune.cli import options


@click.command()
@options.run_directory
@click.option("--again", is_flag=True, help="Read the test set even if it was read before.")
@options.custom_model
def test(run_directory: Path, again: bool, model: str | None) -> None:
    """Score a run's final model on the sealed test set again.

    A run reads the test set once, at its end. Each further reading is recorded in readings.jsonl.
    """
    from cotune.tuning.retest import retest

    reading = retest(run_directory, again, model)
    low, high = reading.ci95
    click.echo(f"test accuracy {reading.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})")
    if reading.baseline:
        from cotune.report.terminal.lines import baseline_line

        click.echo(f"baseline: {baseline_line(reading.baseline)}")
    if reading.warning:
        click.echo(f"warning: {reading.warning}")
