"""Lines and consoles that several displays share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from cotune.diagnostics import Calibration, ColumnImportances, Reliability
from cotune.runs.config import ObjectiveConfig, RunConfig
from cotune.text import shown_class, shown_score

_MOST_COLUMNS = 5  # on a line


def make_console(stderr: bool = False) -> Console:
    """Return a console that prints text as it is: names from data may look like rich's markup."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def make_table(*columns: str) -> Table:
    """Return an empty table; columns whose names begin with ``>`` are aligned to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(
            column.removeprefix(">"),
            justify="right" if column.startswith(">") else "left",
            overflow="fold",
        )
    return table


def format_params(params: Mapping[str, Any]) -> str:
    """Return hyperparameters on one line: ``n_layers 2, lr 0.00123``."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in params.items())


def format_value(value: Any) -> str:
    """Return a hyperparameter's value, floats to three figures."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def baseline_line(scores: Mapping[str, float], config: RunConfig | None = None) -> str:
    """Return what always predicting the most frequent class scores.

    Args:
        scores: The baseline's, by metric.
        config: The run's, to return its metric and accuracy alone.
    """
    names = [name for name in scores if config is None or name in ("accuracy", config.metric)]
    shown = [f"{name} {shown_score(name, scores[name])}" for name in names]
    return f"{', '.join(shown)} ({_of_baseline(config)})"


def calibration_error(reliability: Reliability) -> str:
    """Return the expected calibration error, and what it is to be compared with."""
    chance = f"by chance about {reliability.chance:.2%}"
    return f"{reliability.error:.2%} ({reliability.described}; {chance})"


def calibration_line(calibration: Calibration) -> str:
    """Return what a temperature was fitted on, and what it changes on the test rows."""
    before, after = calibration.test or calibration.held_out or (None, None)
    line = calibration.described
    if before is None or after is None:
        return line
    where = "test" if calibration.test else "held-out"
    if calibration.temperature == 1.0 and calibration.test:
        return f"{line}; {where} log loss {after.loss:.4f}, error {calibration_error(after)}"
    return (
        f"{line}; {where} log loss {before.loss:.4f} to {after.loss:.4f}, "
        f"error {before.error:.2%} to {calibration_error(after)}"
    )


def columns_line(columns: ColumnImportances) -> str:
    """Return the most important columns, and how far the score falls without each."""
    if not columns.columns:
        return f"not measured: {columns.reason}"
    shown = [
        f"{one.name} {one.mean:.4f}" + ("" if one.sd is None else f" +- {one.sd:.4f}")
        for one in columns.columns[:_MOST_COLUMNS]
    ]
    more = len(columns.columns) - len(shown)
    rest = f" and {more} more" if more else ""
    return f"{', '.join(shown)}{rest} ({columns.described} when shuffled)"


def _of_baseline(config: RunConfig | None) -> str:
    name = config.dataset.baseline_class if config else None
    which = f"{shown_class(name)}, " if name is not None else ""
    return f"always predicting {which}the most frequent class"


def data_line(config: RunConfig | ObjectiveConfig) -> str:
    """Return what a run is on: its data and their parts, or its objective."""
    if isinstance(config, ObjectiveConfig):
        return f"{config.objective}, {config.direction}d"
    data, rows = config.dataset, config.dataset.rows
    test = f"{rows.test:,} sealed for the test" if rows.test else "no test set"
    return (
        f"{data.name}: {len(data.classes)} classes, {rows.train:,} rows to train on, "
        f"{rows.validation:,} to validate, {test}"
    )
