"""The command line."""

from __future__ import annotations

import io
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cotune.cli.script_arguments import WithScriptArguments, split
from cotune.exceptions import CotuneError, DataError, StorageError, UsageError, writing
from cotune.version import VERSION

_BEGAN = time.monotonic()  # before PyTorch is imported: --timeout is wall clock of everything
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@click.version_option(VERSION, prog_name="cotune")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cotune(debug: bool) -> None:
    """Tune a PyTorch classifier: from labelled data to a tuned network and an honest score."""


_LIKE_RUN = (
    click.option(
        "--target",
        metavar="COLUMN",
        help="What holds the labels: a table's column, an array of an NPZ file.",
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
        callback=lambda context, option, texts: _read_columns(texts),
        help="What a table's column is, where it is not what it looks like: number, category, "
        "date, day-first, month-first, or skip. Can be given several times.",
    ),
    click.option("--skip-damaged", is_flag=True, help="Leave out images that cannot be decoded."),
    click.option(
        "--inputs",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="raw, standardize, or auto: raw where rows are whole numbers and the network is your "
        "own.",
    ),
    click.option(
        "--channels",
        default="auto",
        show_default=True,
        metavar="AXIS",
        help="Axis of an array's rows whose entries have scales of their own: first, last or none.",
    ),
    click.option(
        "--model",
        metavar="NAME|FILE.py:NAME",
        help="mlp, cnn, auto (both, where the rows are images), or a function build(trial) or a "
        "class, of a file, that makes your own network.  [default: mlp]",
    ),
    click.option(
        "--space",
        metavar="PRESET|FILE.yaml",
        help="What is searched, instead of a model's own space: mlp-per-layer, or a file.",
    ),
    click.option(
        "--pruner",
        default="asha",
        show_default=True,
        metavar="NAME",
        help="asha, top-k, median, hyperband or none.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Processes on the CPU.  [default: one per core]",
    ),
    click.option(
        "--lanes",
        type=click.IntRange(min=1),
        metavar="N",
        help="Trials trained together in each process.  [default: measured]",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="auto (a GPU when there is one), cpu or cuda.",
    ),
)
"""What `run` and `compare` have in common."""


_OWN_MODEL = click.option(
    "--model",
    metavar="FILE.py:NAME",
    help="What makes the network, of a run on a network of your own.",
)


def _read_columns(texts: tuple[str, ...]) -> dict[str, str]:
    from cotune.data.tables.asked_kinds import read_column_kinds

    return read_column_kinds(texts)


def _like_run(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_LIKE_RUN):
        command = option(command)
    return command


@cotune.command()
@click.argument("data")
@click.option(
    "--timeout",
    metavar="TIME",
    help="Wall clock of everything: 90s, 5m, 2h.  [default: 5m; no limit with --n-trials]",
)
@click.option("--n-trials", type=click.IntRange(min=1), metavar="N", help="Trials to run.")
@click.option(
    "--sampler",
    default="tpe",
    show_default=True,
    metavar="NAME",
    help="tpe, random, grid, qmc or gp.",
)
@_like_run
@click.option(
    "--set",
    "fixed",
    multiple=True,
    metavar="NAME=VALUE",
    help="Hold a hyperparameter at a value: lr=0.001. Can be given several times.",
)
@click.option(
    "--metric",
    default="accuracy",
    show_default=True,
    metavar="NAME",
    help="accuracy, balanced-accuracy, f1, auc or loss, on the validation part; with ,parameters "
    "or ,latency after it for networks that are also small, or fast.",
)
@click.option(
    "--enqueue",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.jsonl",
    help="Configurations to try first, one JSON object a line.",
)
@click.option(
    "--portfolio/--no-portfolio",
    default=True,
    show_default=True,
    help="Try the default and other good configurations first.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=int,
    metavar="N",
    help="Decides split, sampler, weights and order of rows.",
)
@click.option(
    "--precision",
    default="float32",
    show_default=True,
    metavar="NAME",
    help="float32, or bfloat16: faster where the CPU or GPU has it, and less exact.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    metavar="N",
    help="End the search after N trials without a gain beyond noise.  [default: never]",
)
@click.option(
    "--ensemble",
    default=0,
    type=click.IntRange(0, 1000),
    metavar="N",
    help="Average N of the search's networks as well.  [default: none]",
)
@click.option(
    "--validation",
    default=0.2,
    show_default=True,
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    metavar="SHARE",
    help="Share of the training rows that trials are judged on.",
)
@click.option(
    "--checkpoint",
    default="30s",
    show_default=True,
    metavar="TIME",
    help="How often trials in training are saved, for `cotune resume`.",
)
@click.option(
    "--max-disk",
    default="2GB",
    show_default=True,
    metavar="SIZE",
    help="What the run directory may take up; where checkpoints would take more, there are none.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run directory.  [default: runs/NAME-TIME]",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what was understood of data and options; train nothing, write nothing.",
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def run(
    data: str,
    enqueue: Path | None,
    space: str | None,
    model: str | None,
    fixed: tuple[str, ...],
    dry_run: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Search, train the best configuration on all rows, test it once.

    DATA is a CSV, TSV, Parquet, NPZ, NPY or IDX file, a folder of images with a folder per class,
    or the name of a dataset; `cotune datasets` lists them.
    """
    _check_names(data, **options)
    from cotune.space.enqueue import read_configurations
    from cotune.space.given import read_fixed, read_space

    held = read_fixed(fixed)
    seen = None
    if model is None or ":" not in model:
        searched = read_space(space, model, fixed=held)
        seen = searched.discretized() if options["sampler"] == "grid" else searched
    enqueued = read_configurations(enqueue, seen) if enqueue else []

    if dry_run:
        from cotune.cli.dry_run import dry_run as say

        say(data, space=space, model=model, fixed=held, **options)
        return

    from cotune.api import run as run_api
    from cotune.report.terminal.live import make_observer

    result = run_api(
        data,
        space=space,
        model=model,
        fixed=held,
        enqueue=enqueued,
        observer=make_observer(quiet),
        began=_BEGAN,
        **options,
    )
    if not quiet:
        result.show()


@cotune.command(cls=WithScriptArguments)
@click.argument("run_directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--timeout", metavar="TIME", help="Search for so much longer: 90s, 5m, 2h.")
@click.option("--n-trials", type=click.IntRange(min=1), metavar="N", help="Trials altogether.")
@click.option("--more", type=click.IntRange(min=1), metavar="N", help="So many more trials.")
@_OWN_MODEL
@click.option("--data", metavar="PATH", help="The run's file or folder, where it was moved.")
@click.option("--test", metavar="PATH", help="The file of its test set, likewise.")
@click.option(
    "--objective", metavar="FILE.py:NAME", help="Of a run of `cotune optimize`: its objective."
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def resume(run_directory: Path, quiet: bool, **options: Any) -> None:
    """Go on with a run that was stopped or killed, or search longer in one that is complete.

    Without options it does what is left of what it was asked for.
    """
    from cotune.runs.directory import RunDirectory

    # Before the seconds that importing PyTorch takes.
    is_of_objective = RunDirectory.open(run_directory).is_of_objective

    from cotune.api import resume as go_on
    from cotune.report.terminal.live import make_observer
    from cotune.report.terminal.objective import make_objective_observer

    observer = make_objective_observer(quiet) if is_of_objective else make_observer(quiet)
    result = go_on(run_directory, observer=observer, began=_BEGAN, **options)
    if not quiet:
        result.show()


@cotune.command(cls=WithScriptArguments)
@click.argument("objective", metavar="FILE.py:NAME")
@click.option(
    "--direction",
    metavar="NAME",
    help="minimize or maximize what the objective returns.  [default: as the script's own study, "
    "or minimize]",
)
@click.option(
    "--timeout",
    metavar="TIME",
    help="Wall clock of everything: 90s, 5m, 2h.  [default: 5m; no limit with --n-trials]",
)
@click.option("--n-trials", type=click.IntRange(min=1), metavar="N", help="Trials to run.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes, one trial at a time in each.  [default: one per core]",
)
@click.option(
    "--sampler",
    default="tpe",
    show_default=True,
    metavar="NAME",
    help="tpe, random, grid, qmc or gp.",
)
@click.option(
    "--pruner",
    default="asha",
    show_default=True,
    metavar="NAME",
    help="asha, top-k, median, hyperband or none.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=int,
    metavar="N",
    help="Decides the sampler's draws and the seeds of all calls.",
)
@click.option(
    "--finalists",
    type=click.IntRange(0, 1000),
    metavar="N",
    help="Run the N best trials again with fresh seeds.  [default: 3, from ten trials on]",
)
@click.option(
    "--repeats",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="How often each of them is run.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run directory.  [default: runs/FILE-TIME]",
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def optimize(
    objective: str, out: Path | None, quiet: bool, arguments: list[str] | None, **options: Any
) -> None:
    """Run an Optuna objective, unchanged, on worker processes.

    FILE.py:NAME is the file and the function in it that takes a trial. What it prints is in the
    run directory's output.log. What stands after -- is for the script, in its sys.argv.
    """
    from cotune.report import build_report
    from cotune.report.terminal.objective import make_objective_observer
    from cotune.report.terminal.summary import print_run
    from cotune.tuning.objective_settings import read_options
    from cotune.tuning.optimize import run_objective

    checked = read_options(**options, arguments=arguments or ())
    observer = make_objective_observer(quiet)
    run = run_objective(objective, checked, out, observer, _BEGAN, build_report)
    if not quiet:
        print_run(run)


@cotune.command()
@click.argument("data")
@click.option(
    "--samplers",
    default="grid,random,tpe",
    show_default=True,
    metavar="NAMES",
    help="Some of tpe, random, grid, qmc and gp, with commas between them.",
)
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Searches of each sampler, each from a seed and with a split of its own.",
)
@click.option(
    "--timeout",
    metavar="TIME",
    help="Wall clock of each search: 90s, 5m, 2h.  [default: 60s; no limit with --n-trials]",
)
@click.option("--n-trials", type=click.IntRange(min=1), metavar="N", help="Trials of each search.")
@_like_run
@click.option(
    "--metric",
    default="accuracy",
    show_default=True,
    metavar="NAME",
    help="accuracy, balanced-accuracy, f1, auc or loss, on the validation part.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the searches' run directories go.  [default: runs/compare-NAME-TIME]",
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def compare(data: str, samplers: str, quiet: bool, **options: Any) -> None:
    """Search with several samplers and equal budgets, and hold them side by side.

    DATA is as for `cotune run`. The test set is not read.
    """
    from cotune.arguments import read_samplers
    from cotune.space.given import read_space
    from cotune.study.samplers import SAMPLERS

    names = read_samplers(samplers, SAMPLERS)
    _check_names(data, sampler=names[0], precision="float32", **{**options, "seed": 0})
    if ":" not in (options["model"] or ""):
        read_space(options["space"], options["model"])

    from cotune.api import compare as compare_api
    from cotune.report.terminal.comparison import PlainComparisonObserver

    observer = None if quiet else PlainComparisonObserver()
    compare_api(data, samplers=names, observer=observer, **options)


@cotune.command()
@click.argument("run_directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("number", type=click.IntRange(min=0))
@_OWN_MODEL
def replay(run_directory: Path, number: int, model: str | None) -> None:
    """Train trial NUMBER of a run again, alone, and compare its scores with the recorded ones.

    Exits with 1 where a score differs by more than 0.01.
    """
    from cotune.runs.directory import RunDirectory

    RunDirectory.open(run_directory)  # before the seconds that importing PyTorch takes

    from cotune.tuning.reproduce import replay as train_again

    def line(*columns: object) -> None:
        click.echo("".join(str(column).rjust(12) for column in columns))

    def show(epoch: int, recorded: float, again: float) -> None:
        if epoch == 1:
            line("epoch", "recorded", "replayed", "difference")
        line(epoch, f"{recorded:.4f}", f"{again:.4f}", f"{again - recorded:+.4f}")

    result = train_again(run_directory, number, show, model)
    click.echo(f"largest difference of {result.metric}: {result.largest:.6g}")
    result.check()


def _check_names(
    data: str,
    test: str | None,
    sampler: str,
    pruner: str,
    metric: str,
    device: str,
    precision: str,
    timeout: str | None,
    n_trials: int | None,
    seed: int,
    out: Path | None,
    inputs: str,
    channels: str,
    **_: Any,
) -> None:
    """Say what is plainly wrong before the seconds that importing PyTorch takes."""
    from cotune.arguments import named, read_metrics, read_seed, read_timeout
    from cotune.data.preprocessing.treatment import CHANNELS, INPUTS
    from cotune.data.reading import check_path
    from cotune.engine.device import DEVICES, PRECISIONS
    from cotune.runs.paths import check_free
    from cotune.study.pruners import PRUNERS
    from cotune.study.samplers import SAMPLERS

    named(sampler, SAMPLERS, "sampler")
    named(pruner, PRUNERS, "pruner")
    read_metrics(metric)
    named(device, DEVICES, "device")
    named(inputs, INPUTS, "inputs")
    named(channels, CHANNELS, "channels")
    named(precision, PRECISIONS, "precision")
    read_timeout(timeout, n_trials)
    read_seed(seed)
    check_path(data)
    if test is not None:
        check_path(test)
    if out is not None:
        check_free(out)


@cotune.command()
@click.argument("run_directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(run_directory: Path, as_json: bool) -> None:
    """Print where a run stands, or how it ended."""
    from cotune.runs.directory import RunDirectory

    directory = RunDirectory.open(run_directory)
    if as_json:
        click.echo(json.dumps(directory.summary().to_json(), indent=1))
    else:
        from cotune.report.terminal.summary import print_run

        print_run(directory)


@cotune.command("test")
@click.argument("run_directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--again", is_flag=True, help="Read the test set although it was read before.")
@_OWN_MODEL
def test_again(run_directory: Path, again: bool, model: str | None) -> None:
    """Score a run's final model on the sealed test set once more.

    A run reads it once, at its end. Each further reading is recorded in readings.jsonl.
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


@cotune.command()
@click.argument("run_directory", metavar="DIR", type=click.Path(path_type=Path))
def report(run_directory: Path) -> None:
    """Write a run's report.html anew."""
    from cotune.report import build_report
    from cotune.runs.directory import RunDirectory

    click.echo(build_report(RunDirectory.open(run_directory)))


_OF_A_MODEL = (
    click.option("--ensemble", is_flag=True, help="The run's ensemble, not its final model."),
    _OWN_MODEL,
    click.option(
        "--device",
        default="cpu",
        show_default=True,
        metavar="NAME",
        help="auto (a GPU when there is one), cpu or cuda.",
    ),
)
"""What `predict` and `evaluate` have in common."""


def _of_a_model(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OF_A_MODEL):
        command = option(command)
    return command


def _check_model_options(data: Path, device: str) -> None:
    """Say what is plainly wrong before the seconds that importing PyTorch takes."""
    from cotune.arguments import named
    from cotune.data.reading import check_path
    from cotune.engine.device import DEVICES

    named(device, DEVICES, "device")
    check_path(data)


@cotune.command("predict")
@click.argument("run_directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("new_data", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Where the predictions go; a file that is there is replaced.  [default: the terminal]",
)
@click.option("--proba", is_flag=True, help="The probability of each class as well.")
@_of_a_model
def predict_new(
    run_directory: Path,
    new_data: Path,
    output: Path | None,
    proba: bool,
    ensemble: bool,
    model: str | None,
    device: str,
) -> None:
    """Predict the class of each row of NEW_DATA, as CSV.

    NEW_DATA is a file or folder as in training, with labels or without, or a folder of images.
    """
    _check_model_options(new_data, device)
    if output is not None and output.is_file() and output.samefile(new_data):
        raise UsageError(f"{output}: is the data itself; choose another -o FILE.csv")

    from cotune.runs.paths import check_not_own

    if output is not None:
        check_not_own(output, "-o FILE.csv")

    from cotune.inference.predict import load_predictor, predict_rows
    from cotune.runs.files import write_files

    predictor = load_predictor(run_directory, ensemble, model)
    predictions = predict_rows(predictor, new_data, device=device)
    if output is None:
        predictions.write_csv(sys.stdout, proba)
        return
    text = io.StringIO()
    predictions.write_csv(text, proba)
    content = text.getvalue().encode("utf-8", "backslashreplace")
    with writing(output):
        if output.is_symlink() or (output.exists() and not output.is_file()):
            output.write_bytes(content)  # a link, device or pipe stays what it is
        else:
            write_files(output.parent, {output.name: content})


@cotune.command("evaluate")
@click.argument("run_directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--target", metavar="COLUMN", help="What holds the labels.  [default: what did in training]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_of_a_model
def evaluate_model(run_directory: Path, data: Path, as_json: bool, **options: Any) -> None:
    """Score a run's final model on labelled DATA.

    Where DATA has the run's own sealed test set, that is recorded in readings.jsonl.
    """
    _check_model_options(data, options["device"])

    from cotune.inference.evaluate import evaluate

    result = evaluate(run_directory, data, **options)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=1))
    else:
        from cotune.report.terminal.evaluation import print_evaluation

        print_evaluation(result)


@cotune.command("export")
@click.argument("run_directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "formats",
    required=True,
    multiple=True,
    metavar="NAME",
    help="onnx, torch-export, safetensors or torchscript; can be given several times.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file, or a folder for it; with several formats a folder.  [default: DIR/export]",
)
@click.option("--ensemble", is_flag=True, help="The run's ensemble, not its final model.")
@_OWN_MODEL
def export_model(
    run_directory: Path,
    formats: tuple[str, ...],
    output: Path | None,
    ensemble: bool,
    model: str | None,
) -> None:
    """Write a run's final model, preprocessing included, for other programs.

    Each file is read back by the program that it is for, and has to give what PyTorch gives.
    """
    from cotune.inference.export import check_format, export

    for name in formats:
        check_format(name)
    if output is not None and len(formats) > 1:
        with writing(output):
            output.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(formats):
        done = export(run_directory, name, output, ensemble=ensemble, model=model)
        difference = f"differs from PyTorch by {done.difference:.1g} at most"
        click.echo(f"{done.path}  {done.size:,} bytes, {difference}")


@cotune.group(invoke_without_command=True)
@click.pass_context
def datasets(context: click.Context) -> None:
    """List the named datasets."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.table import Table

    from cotune.data import entries

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("name", "rows", "test rows", "classes", "row", "where"):
        table.add_column(column, overflow="fold")
    for entry in entries():
        table.add_row(
            entry.name,
            f"{entry.rows:,}",
            f"{entry.test_rows:,}",
            str(entry.classes),
            " x ".join(map(str, entry.input_shape)),
            entry.where,
        )
    Console(highlight=False, markup=False, emoji=False).print(table)


@datasets.command("show")
@click.argument("name")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="The picture.",
)
def datasets_show(name: str, output: Path) -> None:
    """Draw the first 16 images of a dataset with their classes."""
    from cotune.data import load
    from cotune.data.pictures import draw_samples

    draw_samples(load(name), output)
    click.echo(output)


@datasets.command("fetch")
@click.argument("name")
def datasets_fetch(name: str) -> None:
    """Get a dataset that is not here yet."""
    from cotune.data import entries, load

    load(name)
    click.echo(next(entry.where for entry in entries() if entry.name == name))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors are one line on stderr and an exit code.

    Args:
        arguments: Without them, those of the process, which is ended at a fault in the data.
    """
    if arguments is not None:
        _main(arguments)
        return
    try:
        _main(sys.argv[1:])
    except SystemExit as end:
        if end.code == DataError.exit_code and "pyarrow" in sys.modules:
            # Arrow's threads may still be at work; the interpreter's end would then be SIGABRT.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(DataError.exit_code)
        raise


def _main(arguments: list[str]) -> None:
    own, of_script = split(arguments)
    debug = "--debug" in own
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    for stream in (sys.stdout, sys.stderr):
        # A path may hold bytes that are no text, and a terminal may know ASCII alone.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        # --debug is understood anywhere on the line.
        given = [a for a in own if a != "--debug"]
        given += [] if of_script is None else ["--", *of_script]
        cotune.main(given, "cotune", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(UsageError.exit_code)
    except click.Abort as error:
        # What click makes of a KeyboardInterrupt. 128 + the signal's number, as a shell has it.
        cause = error.__cause__
        _fail(str(cause or "") or "stopped", 128 + getattr(cause, "signal", 2), debug)
    except click.ClickException as error:
        _fail(error.format_message(), UsageError.exit_code, debug)
    except CotuneError as error:
        _fail(str(error), error.exit_code, debug)
    except BrokenPipeError:
        # Nobody reads on, as in `cotune datasets | head -1`; nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", StorageError.exit_code, debug)


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    line = " ".join(message.split())
    click.echo(f"cotune: error: {line}" if code < 128 else f"cotune: {line}", err=True)
    sys.exit(code)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    if issubclass(category, UserWarning):
        click.echo(f"cotune: warning: {message}", err=True)
