"""An evaluation in the terminal: scores, a table of the classes, a confusion matrix of few."""

from __future__ import annotations

from rich.console import Console

from cotune.inference.evaluate import Evaluation
from cotune.report.terminal.lines import (
    baseline_line,
    calibration_error,
    make_console,
    make_table,
)

_MOST_CLASSES = 12  # of a confusion matrix
_LABEL_WIDTH = 21
_WIDE = 1_000_000


def print_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print an evaluation."""
    console = console or make_console()
    for label, value in _lines(evaluation):
        console.print(f"{label.ljust(_LABEL_WIDTH)}{value}", soft_wrap=True)
    names = [one.name for one in evaluation.classes]
    classes = make_table("class", ">rows", ">recall", ">precision")
    for one in evaluation.classes:
        classes.add_row(one.name, f"{one.rows:,}", _share(one.recall), _share(one.precision))
    tables = [classes]
    if len(names) <= _MOST_CLASSES:
        confusion = make_table("true \\ predicted", *(f">{name}" for name in names))
        for name, counts in zip(names, evaluation.confusion, strict=True):
            confusion.add_row(name, *(f"{count:,}" for count in counts))
        tables.append(confusion)
    for table in tables:
        console.print()
        # In a pipe every line stays whole.
        console.print(table, width=None if console.is_terminal else _WIDE)


def _lines(evaluation: Evaluation) -> list[tuple[str, str]]:
    low, high = evaluation.ci95
    auc = evaluation.auc
    lines = [
        ("rows", f"{evaluation.rows:,}"),
        ("accuracy", f"{evaluation.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})"),
        ("balanced accuracy", f"{evaluation.balanced_accuracy:.2%}"),
        ("macro F1", f"{evaluation.f1:.4f}"),
        ("AUC", "none: all rows are of one class" if auc is None else f"{auc:.4f}"),
        ("log loss", f"{evaluation.log_loss:.4f}"),
        ("calibration error", calibration_error(evaluation.reliability)),
    ]
    if evaluation.baseline:
        lines.append(("baseline", baseline_line(evaluation.baseline)))
    for part, score in evaluation.parts.items():
        which = "held out to the end" if part == "test" else "the model was trained on them"
        lines.append((f"  {part} rows", f"{score.rows:,}, {score.accuracy:.2%} right ({which})"))
    if evaluation.warning:
        lines.append(("warning", evaluation.warning))
    if evaluation.readings is not None:
        lines.append(
            (
                "note",
                "the run's own test set is in this data: this is recorded as its reading "
                f"number {evaluation.readings}",
            )
        )
    return lines


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
