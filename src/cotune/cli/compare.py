"""``cotune compare``."""

from __future__ import annotations

from typing import Any

import click

from cotune.cli import options
from cotune.cli.checks import check_search


@click.command()
@click.argument("data")
@click.option(
    "--samplers",
    default="grid,random,tpe",
    show_default=True,
    metavar="NAMES",
    help="Samplers out of tpe, random, grid, qmc and gp, separated by commas.",
)
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Searches per sampler, each with its own seed and split.",
)
@click.option(
    "--timeout",
    metavar="TIME",
    help="Wall-clock limit of each search: 90s, 5m, 2h.  [default: 60s; no limit with --n-trials]",
)
@options.n_trials("Number of trials of each search.")
@options.data_and_space
@options.metric()
@options.out("runs/compare-NAME-TIME", "Folder for the run directories of the searches.")
@options.quiet
def compare(data: str, samplers: str, quiet: bool, **asked: Any) -> None:
    """Compare samplers with equal budgets.

    DATA is as for `cotune run`. The test set is not read.
    """
    from cotune.arguments import read_samplers
    from cotune.space.given import read_space
    from cotune.study.samplers import SAMPLERS

    names = read_samplers(samplers, SAMPLERS)
    check_search(data, asked)
    if ":" not in (asked["model"] or ""):
        read_space(asked["space"], asked["model"])

    from cotune import api

    api.compare(data, samplers=names, verbose=not quiet, **asked)
