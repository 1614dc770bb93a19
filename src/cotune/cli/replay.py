"""``cotune replay``."""

from __future__ import annotations

from pathlib import Path

import click

from cotune.cli import options


@click.command()
@options.run_directory
@click.argument("number", type=click.IntRange(min=0))
@options.custom_model
def replay(run_directory: Path, number: int, model: str | None) -> None:
    """Retrain trial NUMBER alone and compare its scores with the recorded ones.

    Exits with 1 if a score differs by more than 0.01.
    """
    from cotune.runs.directory import RunDirectory

    RunDirectory.open(run_directory)  # before the seconds that importing PyTorch takes

    from cotune.tuning.reproduce import replay as retrain

    result = retrain(run_directory, number, _print_epoch, model)
    click.echo(f"largest difference of {result.metric}: {result.largest:.6g}")
    result.check()


def _print_epoch(epoch: int, recorded: float, replayed: float) -> None:
    if epoch == 1:
        _print_row("epoch", "recorded", "replayed", "difference")
    _print_row(epoch, f"{recorded:.4f}", f"{replayed:.4f}", f"{replayed - recorded:+.4f}")


def _print_row(*cells: object) -> None:
    click.echo("".join(str(cell).rjust(12) for cell in cells))
