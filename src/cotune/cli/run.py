"""``cotune run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cotune.cli import options
from cotune.cli.checks import check_search
from cotune.exceptions import UsageError


@click.command()
@click.argument("data")
@options.timeout
@options.n_trials("Number of trials.")
@options.sampler
@options.data_and_space
@click.option(
    "--set",
    "fixed",
    multiple=True,
    metavar="NAME=VALUE",
    help="Fix a hyperparameter: lr=0.001. Can be given several times.",
)
@options.metric("; append ,parameters or ,latency to minimize that as well")
@click.option(
    "--enqueue",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.jsonl",
    help="Configurations to try first, one JSON object per line.",
)
@click.option(
    "--portfolio/--no-portfolio",
    default=True,
    show_default=True,
    help="Try the default and other good configurations first.",
)
@options.seed("the split, the sampler, the weights and the order of rows")
@options.executor("auto: this process for a GPU, else processes")
@options.address
@click.option(
    "--cpus-per-worker",
    type=float,
    metavar="N",
    help="CPUs of each Ray actor, and threads of its PyTorch.  [default: 1]",
)
@click.option(
    "--gpus-per-worker",
    type=float,
    metavar="N",
    help="GPUs of each Ray actor; parts such as 0.5 share one.  [default: 0]",
)
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="float32; bfloat16: less exact, and faster on some hardware; auto: bfloat16 for CNNs "
    "where it is faster.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop the search after N trials without an improvement beyond noise.  [default: never]",
)
@click.option(
    "--ensemble",
    default=0,
    type=click.IntRange(0, 1000),
    metavar="N",
    help="Also build an ensemble of N networks of the search.  [default: none]",
)
@click.option(
    "--validation",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    metavar="SHARE",
    help="Share of the training rows that is held out for validation.  "
    "[default: 0.2, at most 6,000 rows]",
)
@click.option(
    "--checkpoint",
    default="30s",
    show_default=True,
    metavar="TIME",
    help="Interval between checkpoints of the running trials, for `cotune resume`.",
)
@click.option(
    "--max-disk",
    default="2GB",
    show_default=True,
    metavar="SIZE",
    help="Size limit of the run directory. Checkpoints that would exceed it are not written.",
)
@options.publish
@options.log
@click.option(
    "--storage",
    hidden=True,
    expose_value=False,
    metavar="URL",
    callback=lambda context, option, url: _refuse_storage(url),
    help="Not supported; see --publish.",
)
@options.out("runs/NAME-TIME")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print how data and options are understood. Train nothing, write nothing.",
)
@options.quiet
@click.pass_obj
def run(
    began: float,
    /,
    data: str,
    fixed: tuple[str, ...],
    enqueue: Path | None,
    dry_run: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Search, retrain the best configuration on all training rows, and test it once.

    DATA is a CSV, TSV, Parquet, NPZ, NPY or IDX file, a folder of images with a folder per class,
    or the name of a dataset (see `cotune datasets`).
    """
    asked["executor"] = asked["executor"] or "auto"
    check_search(data, asked)
    asked |= _read_space(fixed, enqueue, **asked)

    if dry_run:
        from cotune.cli.dry_run import print_dry_run

        del asked["publish"], asked["log"]
        print_dry_run(data, **asked)
        return

    from cotune import api
    from cotune.report.terminal.live import make_observer

    result = api.run(data, observer=make_observer(quiet), began=began, **asked)
    if not quiet:
        result.show()


def _refuse_storage(url: str | None) -> None:
    if url is not None:
        raise UsageError(
            "storage: the run directory holds the study; --publish URL copies it to a database"
        )


def _read_space(
    fixed: tuple[str, ...],
    enqueue: Path | None,
    *,
    space: str | None,
    model: str | None,
    sampler: str,
    **_: Any,
) -> dict[str, Any]:
    """Return the fixed hyperparameters and the enqueued configurations.

    Raises:
        UsageError: They, or the search space, are wrong. The space of a user's own network is
            unknown until the network is loaded, and is not checked here.
    """
    from cotune.space.enqueue import read_configurations
    from cotune.space.given import read_fixed, read_space

    held = read_fixed(fixed)
    searched = None
    if ":" not in (model or ""):
        searched = read_space(space, model, fixed=held)
        if sampler == "grid":
            searched = searched.discretized()
    return {"fixed": held, "enqueue": read_configurations(enqueue, searched) if enqueue else []}
