"""The output of ``cotune run DATA --dry-run``: how data and options are understood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cotune.data import Dataset, TrainingData, prepare
from cotune.data.dataset import ColumnNote
from cotune.data.preprocessing.table_preprocess import TablePreprocessing
from cotune.data.preprocessing.told import describe as describe_rows
from cotune.data.preprocessing.told import remarks_of
from cotune.data.reading import Data, read_dataset
from cotune.data.uneven import is_uneven
from cotune.engine.lane_count import MOST_LANES
from cotune.report.terminal.lines import make_console, make_table
from cotune.runs.options import Options, Resources, uneven_remark_of
from cotune.space.space import Space, count_values, describe
from cotune.text import counted, shown_value
from cotune.tuning.settings import read_settings

_WIDTH: Final = 80
_MOST_COLUMNS: Final = 40
_MOST_CLASSES: Final = 30
_LEFT_OUT: Final = "a single value in the training part: left out"
_BAR: Final = 20  # characters of the most frequent class's bar


def print_dry_run(
    data: Data,
    *,
    target: str | None,
    test: str | None,
    columns: Mapping[str, str],
    skip_damaged: bool,
    out: object = None,
    **asked: Any,
) -> None:
    """Read the data and print what :func:`cotune.run` would do with these arguments.

    Args:
        out: Not used: nothing is written.

    Raises:
        UsageError, DataError: As ``run``.
    """
    settings = read_settings(**asked)
    dataset = read_dataset(data, target, test, columns, skip_damaged)
    print_settings(dataset, settings.fit(dataset), settings.resources)


def print_settings(
    dataset: Dataset, options: Options, resources: Resources, console: Console | None = None
) -> None:
    """Print a run's data, splits, classes, search space and resources.

    Args:
        console: By default stdout.

    Raises:
        DataError: The data cannot be learned from.
    """
    console = console or make_console()
    width = min(_WIDTH, console.width)
    for part in _parts(dataset, options, resources):
        console.print(part, width=width)


def _parts(dataset: Dataset, options: Options, resources: Resources) -> Iterator[RenderableType]:
    training, preprocessing = prepare(
        dataset,
        validation=options.validation,
        seed=options.seed,
        treatment=options.treatment,
    )
    told = remarks_of(dataset, options.asked, preprocessing, options.custom is not None)
    dataset = replace(dataset, remarks=(*dataset.remarks, *told))
    yield _facts([*_data_facts(dataset, training), ("scaled", describe_rows(preprocessing))])
    if isinstance(preprocessing, TablePreprocessing):
        yield from _section("columns", _columns(dataset, training, preprocessing))
    yield from _section("classes", _classes(dataset))
    yield from _section("space", _space(options.searched))
    yield Text()
    yield _facts(_search_facts(dataset, options, resources))
    yield Text("\nDry run: nothing was trained, and nothing was written.")


def _section(title: str, table: Table) -> Iterator[RenderableType]:
    yield Text(f"\n{title}", style="bold")
    yield table


def _facts(facts: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, min_width=10)
    table.add_column(overflow="fold")
    for label, text in facts:
        table.add_row(label, Text(text))
    return table


def _data_facts(dataset: Dataset, training: TrainingData) -> list[tuple[str, str]]:
    source = dataset.source
    facts = [("data", dataset.name)]
    if source is not None:
        facts.append(("from", source.path))
        if source.target is not None:
            facts.append(("target", source.target))
    facts.append(("rows", f"{len(dataset) + dataset.n_test:,}"))
    facts.append(("inputs", _inputs(dataset)))
    facts.append(("training", f"{training.n_train:,} rows"))
    held_out = len(training.labels) - training.n_train
    facts.append(("validation", f"{held_out:,} rows, stratified by class"))
    facts.append(("test", _test(dataset)))
    facts += [("note", remark) for remark in dataset.remarks]
    return facts


def _inputs(dataset: Dataset) -> str:
    shape = dataset.input_shape
    if dataset.has_images:
        channels = {2: "grey", 3: "colour" if shape[-1] == 3 else f"{shape[-1]} channels"}
        return f"images of {shape[1]} x {shape[0]} pixels, {channels[len(shape)]}"
    if not dataset.columns:
        return f"{shape[0]:,} numbers a row"
    kinds = [column.kind for column in dataset.columns]
    names = ("number", "boolean", "category")
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in names if kind in kinds)
    return f"{len(kinds):,} columns: {counts}"


def _test(dataset: Dataset) -> str:
    if not dataset.n_test:
        return "no test set: the final model will have no test score"
    return f"{dataset.n_test:,} rows, {dataset.test_origin}, sealed until the end"


def _columns(dataset: Dataset, training: TrainingData, preprocessing: TablePreprocessing) -> Table:
    table = make_table("name", "taken for", "values", ">missing")
    assert training.order is not None
    train = training.order[: training.n_train]
    place_of = {column.name: place for place, column in enumerate(dataset.columns)}
    notes = dataset.column_notes or [
        ColumnNote(column.name, column.kind, "") for column in dataset.columns
    ]
    for note in notes[:_MOST_COLUMNS]:
        place = place_of.get(note.name)
        if place is None:
            table.add_row(Text(note.name), Text(f"left out: {note.why}"), "", "")
            continue
        cells = np.asarray(dataset.inputs[train, place], np.float64)
        present = cells[~np.isnan(cells)]
        missing = len(cells) - len(present)
        is_used = preprocessing.parts[place].is_used
        categories = dataset.columns[place].categories
        table.add_row(
            Text(note.name),
            Text(f"{note.kind}, {note.why}" if note.why else note.kind),
            Text(_values(categories, present) if is_used else _LEFT_OUT),
            f"{missing:,}" if missing else "",
        )
    left = len(notes) - _MOST_COLUMNS
    if left > 0:
        table.add_row(f"and {left:,} more", "", "", "")
    return table


def _values(categories: tuple[str, ...], present: NDArray[np.float64]) -> str:
    """Describe a column's values in the training split."""
    if categories:
        shown = ", ".join(categories[:3])
        return f"{len(categories)}: {shown}" + (", ..." if len(categories) > 3 else "")
    if len(present) and present.min() < present.max():
        return f"{present.min():.4g} to {present.max():.4g}"
    return f"{present[0]:.4g} or missing" if len(present) else "missing"


def _classes(dataset: Dataset) -> Table:
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    most = int(counts.max())
    table = make_table("class", ">rows", ">share", "")
    for name, count in list(zip(dataset.classes, counts.tolist(), strict=True))[:_MOST_CLASSES]:
        rare = "  rare" if is_uneven((count, most)) else ""
        bar = "#" * max(1, round(_BAR * count / most))
        table.add_row(Text(name), f"{count:,}", f"{count / len(dataset):.1%}", bar + rare)
    if (left := len(counts) - _MOST_CLASSES) > 0:
        table.add_row(f"and {left:,} more", "", "", "")
    return table


def _space(space: Space) -> Table:
    table = make_table("hyperparameter", "range", "default", "only where")
    default: Mapping[str, Any] = space.default()
    for name, hyperparameter in space.searched.items():
        when = " and ".join(
            f"{parent} is {' or '.join(map(shown_value, values))}"
            for parent, values in hyperparameter.when.items()
        )
        shown = describe(hyperparameter.distribution)
        value = shown_value(default[name]) if name in default else "-"
        table.add_row(name, shown, value, when)
    for name, constant in space.constants.items():
        table.add_row(name, f"always {shown_value(constant)}", "", "")
    return table


def _search_facts(
    dataset: Dataset, options: Options, resources: Resources
) -> list[tuple[str, str]]:
    ends = [f"{options.n_trials:,} trials"] if options.n_trials else []
    ends += [f"{options.timeout:g} s"] if options.timeout else []
    where = "the GPU"
    if resources.device == "cpu":
        where = counted(resources.workers, "worker process", "es")
    if resources.cluster is not None:
        where = f"{resources.cluster.actors} on the Ray cluster: {resources.cluster.address}"
    lanes = f"up to {MOST_LANES[resources.device]} in each, measured when the run begins"
    if resources.lanes:
        lanes = f"{resources.lanes} in each"
    facts = [
        ("metric", ", ".join([options.metric, *options.costs])),
        ("search", f"{options.sampler}, pruner {options.pruner}, {' or '.join(ends)}"),
        ("workers", where),
        ("lanes", lanes),
        ("fused", _fused(options.space)),
    ]
    if remark := uneven_remark_of(dataset, options.metric, options.searched):
        facts.append(("note", remark))
    return facts


def _fused(space: Space) -> str:
    """Describe which trials are trained together."""
    shared = [name for name in space.shared if name in space.searched]
    if not shared:
        return "all trials, whatever their hyperparameters"
    kinds = prod(count_values(space.searched[name].distribution) for name in shared)
    fusible = len(space.searched) - len(shared)
    return (
        f"trials that agree in {', '.join(shared)} ({kinds:,} combinations); they may differ in "
        f"the other {fusible}"
    )
