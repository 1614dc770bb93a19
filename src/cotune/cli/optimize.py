"""``cotune optimize``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cotune.cli import options
from cotune.cli.script_arguments import WithScriptArguments


@click.command(cls=WithScriptArguments)
@click.argument("objective", metavar="FILE.py:NAME")
@click.option(
    "--direction",
    metavar="NAME",
    help="minimize or maximize.  [default: as the script's own study, or minimize]",
)
@options.timeout
@options.n_trials("Number of trials.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Worker processes, each with one trial at a time.  [default: one per core]",
)
@options.sampler
@options.pruner
@options.seed("the sampler and of each call")
@click.option(
    "--finalists",
    type=click.IntRange(0, 1000),
    metavar="N",
    help="Rerun the N best trials with fresh seeds.  [default: 3 from ten trials on]",
)
@click.option(
    "--repeats",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of runs of each finalist.",
)
@options.out("runs/FILE-TIME")
@options.quiet
@click.pass_obj
def optimize(
    began: float,
    /,
    objective: str,
    out: Path | None,
    quiet: bool,
    arguments: list[str] | None,
    **asked: Any,
) -> None:
    """Run an Optuna objective, unchanged, on worker processes.

    FILE.py:NAME is a Python file and its function that takes a trial. What it prints goes to
    output.log in the run directory. Arguments after -- go to the script, as sys.argv.
    """
    # Not cotune.api, which imports PyTorch: this process does not need it.
    from cotune.report import build_report
    from cotune.report.terminal.live import make_observer
    from cotune.report.terminal.summary import print_run
    from cotune.tuning.objective_settings import read_options
    from cotune.tuning.optimize import run_objective

    checked = read_options(**asked, arguments=arguments or ())
    observer = make_observer(quiet)
    run = run_objective(objective, checked, out, observer, began, build_report)
    if not quiet:
        print_run(run)
