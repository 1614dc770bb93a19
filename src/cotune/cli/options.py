"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _join(*options: Decorator) -> Decorator:
    """Return one decorator that adds several options, in this order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _read_columns(
    context: click.Context, option: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str]:
    from cotune.data.reading import read_column_kinds

    return read_column_kinds(texts)


def n_trials(text: str) -> Decorator:
    return click.option("--n-trials", type=click.IntRange(min=1), metavar="N", help=text)


def seed(text: str) -> Decorator:
    return click.option(
        "--seed", default=0, show_default=True, type=int, metavar="N", help=f"Seed of {text}."
    )


class _Workers(click.ParamType[Any]):
    """A number of workers, or ``max``."""

    name = "workers"

    def convert(self, value: Any, option: click.Parameter | None, context: Any) -> Any:
        if value == "max":
            return value
        return click.IntRange(min=1).convert(value, option, context)


def workers(text: str) -> Decorator:
    return click.option("--workers", type=_Workers(), metavar="N|max", help=text)


def executor(default: str) -> Decorator:
    return click.option(
        "--executor",
        metavar="NAME",
        help=f"processes, in-process, ray: a Ray cluster, or auto.  [default: {default}]",
    )


address = click.option(
    "--address",
    metavar="HOST:PORT|local",
    help="The Ray cluster's head; local starts one on this machine.  "
    "[default: RAY_ADDRESS, else local]",
)


publish = click.option(
    "--publish",
    metavar="URL",
    help="A database that gets a copy of the study as it grows: postgresql://user@host/name.",
)


log = click.option(
    "--log",
    multiple=True,
    metavar="NAME",
    help="A tool that is told of the run: tensorboard, mlflow, or mlflow=URI. Can be given several "
    "times.",
)


def metric(more: str = "") -> Decorator:
    return click.option(
        "--metric",
        default="accuracy",
        show_default=True,
        metavar="NAME",
        help=f"accuracy, balanced-accuracy, f1, auc or loss, on the validation split{more}.",
    )


def device(default: str) -> Decorator:
    return click.option(
        "--device",
        default=default,
        show_default=True,
        metavar="NAME",
        help="cpu, cuda, mps (an Apple GPU), or auto: a CUDA GPU if there is one.",
    )


def out(default: str, text: str = "The run directory.") -> Decorator:
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help=f"{text}  [default: {default}]",
    )


host = click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where it listens."
)


def port(default: int) -> Decorator:
    return click.option(
        "--port",
        default=default,
        show_default=True,
        type=click.IntRange(0, 65_535),
        metavar="N",
        help="Its port; 0 for any that is free.",
    )


output = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write; an existing file is replaced.  [default: the terminal]",
)

run_directory = click.argument("run_directory", metavar="DIR", type=click.Path(path_type=Path))

quiet = click.option("--quiet", is_flag=True, help="Print nothing but errors.")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

timeout = click.option(
    "--timeout",
    metavar="TIME",
    help="Wall-clock limit of the whole run: 90s, 5m, 2h.  [default: 5m; no limit with --n-trials]",
)

sampler = click.option(
    "--sampler",
    default="tpe",
    show_default=True,
    metavar="NAME",
    help="tpe, random, grid, qmc or gp.",
)

pruner = click.option(
    "--pruner",
    default="asha",
    show_default=True,
    metavar="NAME",
    help="asha, top-k, median, hyperband or none.",
)

custom_model = click.option(
    "--model",
    metavar="FILE.py:NAME",
    help="The function or class of your own network; required if the run has one.",
)

of_ensemble = click.option(
    "--ensemble", is_flag=True, help="Use the run's ensemble instead of its final model."
)

data_and_space = _join(
    click.option(
        "--target",
        metavar="COLUMN",
        help="The labels: a column of a table, or an array of an NPZ file.",
    ),
    click.option(
        "--test",
        metavar="PATH",
        help="The test set.  [default: the data's own, or a fifth of the rows]",
    ),
    click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="NAME=KIND",
        callback=_read_columns,
        help="Set the kind of a table's column instead of inferring it: number, category, date, "
        "day-first, month-first, or skip. Can be given several times.",
    ),
    click.option("--skip-damaged", is_flag=True, help="Skip images that cannot be decoded."),
    click.option(
        "--inputs",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="standardize, raw, or auto: raw if all values are whole numbers and the network is "
        "your own.",
    ),
    click.option(
        "--channels",
        default="auto",
        show_default=True,
        metavar="AXIS",
        help="Axis of an array's rows that holds channels, each scaled by itself: first, last, "
        "none or auto.",
    ),
    click.option(
        "--model",
        metavar="NAME|FILE.py:NAME",
        help="mlp, cnn, auto (both, for images), or your own network: a function build(trial) or "
        "a class in a Python file.  [default: auto]",
    ),
    click.option(
        "--space",
        metavar="PRESET|FILE.yaml",
        help="The search space, instead of the model's own: the preset mlp-per-layer, or a file.",
    ),
    pruner,
    workers(
        "Worker processes on the CPU, or actors on a cluster; max: as many actors as fit, while "
        "nodes join and leave.  [default: one per core; max]"
    ),
    click.option(
        "--lanes",
        type=click.IntRange(min=1),
        metavar="N",
        help="Trials trained together in each process.  [default: measured]",
    ),
    device("auto"),
)
"""Options of `run` and `compare`: data, search space, pruner and resources."""
