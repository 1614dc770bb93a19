"""``cotune resume``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cotune.cli import options
from cotune.cli.script_arguments import WithScriptArguments


@click.command(cls=WithScriptArguments)
@options.run_directory
@click.option("--timeout", metavar="TIME", help="Search for this much longer: 90s, 5m, 2h.")
@options.n_trials("Total number of trials.")
@click.option("--more", type=click.IntRange(min=1), metavar="N", help="Number of further trials.")
@options.custom_model
@click.option("--data", metavar="PATH", help="The run's data, if they were moved.")
@click.option("--test", metavar="PATH", help="The run's test set, if it was moved.")
@click.option(
    "--objective",
    metavar="FILE.py:NAME",
    help="The objective; required for a run of `cotune optimize`.",
)
@options.publish
@options.log
@options.executor("the run's own")
@options.address
@options.workers("Workers, on this machine or in the cluster.  [default: as before]")
@options.quiet
@click.pass_obj
def resume(began: float, /, run_directory: Path, quiet: bool, **asked: Any) -> None:
    """Resume a run that was stopped or killed, or search longer in a complete one.

    Without options, it finishes what the run was asked for.
    """
    from cotune.runs.directory import RunDirectory

    RunDirectory.open(run_directory).config()  # before the seconds that importing PyTorch takes

    from cotune import api
    from cotune.report.terminal.live import make_observer

    result = api.resume(run_directory, observer=make_observer(quiet), began=began, **asked)
    if not quiet:
        result.show()
