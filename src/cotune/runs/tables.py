"""The tables of a run: trials, curves, finalists, splits, rows, and readings of the test set."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cotune.exceptions import StorageError
from cotune.metrics import METRICS
from cotune.records import COSTS, EpochReport, TrialResult
from cotune.runs.files import append_text, describe_error, write_file
from cotune.runs.paths import RunPaths

PARTS = ("train", "validation", "test")
"""The parts of the data that ``splits.csv`` and ``rows.csv`` name."""

_TRIAL_COLUMNS = ("number", "state", "value", "epochs_trained", "seconds", "reason")
_OBJECTIVE_TRIAL_COLUMNS = ("number", "state", "value", "reports", "seconds", "reason")
_OBJECTIVE_CURVE_COLUMNS = ("number", "step", "value")
_OBJECTIVE_FINALIST_COLUMNS = ("number", "repeat", "value", "seconds", "reason")
_CURVE_COLUMNS = (
    "number",
    "epoch",
    "train_loss",
    "train_accuracy",
    "loss",
    "accuracy",
    "f1",
    "seconds",
    # Last, so that lines can be added to a table that an older Cotune began.
    "balanced-accuracy",
    "auc",
    "horizon",
)

T = TypeVar("T")


def _curve_columns() -> tuple[str, ...]:
    """Return the columns of ``curves.csv``; metrics that are added come last."""
    return (*_CURVE_COLUMNS, *(name for name in METRICS if name not in _CURVE_COLUMNS))


class Tables:
    """Readers and writers of the CSV files of one run."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._trial_columns: tuple[str, ...] = ()

    # -- trials and curves -----------------------------------------------------------------------

    def start(self, hyperparameters: Iterable[str]) -> None:
        """Write the headers of ``trials.csv`` and ``curves.csv`` where they are missing.

        Args:
            hyperparameters: Names of the columns, costs that are objectives included.
        """
        self._trial_columns = tuple(map(_column, hyperparameters))
        _write_header(self._paths.trials_path, (*_TRIAL_COLUMNS, *self._trial_columns))
        _write_header(self._paths.curves_path, _curve_columns())

    def start_objective(self) -> None:
        """Write the headers of an objective's tables where they are missing."""
        _write_header(self._paths.trials_path, _OBJECTIVE_TRIAL_COLUMNS)
        _write_header(self._paths.curves_path, _OBJECTIVE_CURVE_COLUMNS)
        _write_header(self._paths.finalists_path, _OBJECTIVE_FINALIST_COLUMNS)
        begin = len(_OBJECTIVE_TRIAL_COLUMNS)
        self._trial_columns = tuple(_read_rows(self._paths.trials_path)[0][begin:])

    def add_trial_columns(self, hyperparameters: Iterable[str]) -> None:
        """Add columns to ``trials.csv`` for hyperparameters that no trial had before."""
        columns = [_column(name) for name in hyperparameters]
        new = [column for column in columns if column not in self._trial_columns]
        if not new:
            return
        self._trial_columns = (*self._trial_columns, *new)
        header, *rows = _read_rows(self._paths.trials_path)
        lines = [_line([*header, *new]), *(_line([*row, *("" for _ in new)]) for row in rows)]
        write_file(self._paths.trials_path, "".join(lines))

    def append_trials(self, trials: Iterable[TrialResult]) -> None:
        """Add rows of finished trials; a hyperparameter that one does not have stays empty."""
        rows = []
        for trial in trials:
            values = {_column(n): value for n, value in {**trial.params, **trial.costs}.items()}
            rows.append(
                (
                    trial.number,
                    trial.state,
                    "" if trial.value is None else repr(trial.value),
                    trial.epochs,
                    f"{trial.seconds:.3f}",
                    trial.reason,
                    *(values.get(name, "") for name in self._trial_columns),
                )
            )
        append_text(self._paths.trials_path, _lines(rows), sync=True)

    def trials(self) -> list[TrialResult]:
        """Read the finished trials in the order in which they ended.

        They come without their hyperparameters: the study has those, in their own types.

        Raises:
            StorageError: The table is damaged.
        """
        return _parse(self._paths.trials_path, _trial_of)

    def append_reports(self, reports: Iterable[EpochReport]) -> None:
        """Add epochs of trials to ``curves.csv``."""
        columns = _curve_columns()
        rows = []
        for report in reports:
            cells = {**vars(report), **report.scores}
            rows.append([cells.get(name, "") for name in columns])
        append_text(self._paths.curves_path, _lines(rows))

    def append_steps(self, steps: Iterable[tuple[int, int, float]]) -> None:
        """Add reports of an objective's trials, each a number, a step and a value."""
        rows = [(number, step, repr(value)) for number, step, value in steps]
        append_text(self._paths.curves_path, _lines(rows))

    def curves(self) -> dict[int, list[EpochReport]]:
        """Read every trial's reports by trial number, in order of epochs.

        A last line that a power loss or a full disk cut off is left out.

        Raises:
            StorageError: The table is damaged.
        """
        curves: dict[int, list[EpochReport]] = {}
        for report in _parse(self._paths.curves_path, _report_of):
            curves.setdefault(report.number, []).append(report)
        return curves

    # -- finalists of an objective ---------------------------------------------------------------

    def append_finalist(
        self, number: int, repeat: int, value: float | None, seconds: float, reason: str
    ) -> None:
        """Add one call of an objective for a finalist to ``finalists.csv``."""
        shown = "" if value is None else repr(value)
        row = (number, repeat, shown, f"{seconds:.3f}", reason)
        append_text(self._paths.finalists_path, _line(row), sync=True)

    def finalists(self) -> dict[tuple[int, int], float | None]:
        """Read what an objective returned for finalists, by trial and repeat.

        Returns:
            None in place of the value where the call failed.

        Raises:
            StorageError: The table is damaged.
        """
        return dict(_parse(self._paths.finalists_path, _repeat_of))

    # -- rows of the data ------------------------------------------------------------------------

    def write_splits(self, parts: Sequence[tuple[int, str]]) -> None:
        """Write the part of each row of a file; without rows, write nothing."""
        if parts:
            lines = "".join(f"{row},{part}\n" for row, part in parts)
            write_file(self._paths.splits_path, f"row,part\n{lines}")

    def write_rows(self, rows: Iterable[tuple[str, int]]) -> None:
        """Write the part and digest of each row of the data."""
        lines = "".join(f"{part},{digest:016x}\n" for part, digest in rows)
        write_file(self._paths.rows_path, f"part,digest\n{lines}")

    def add_test_rows(self, digests: Iterable[int]) -> None:
        """Add the rows of the test set, unless they are there."""
        rows = self.rows()
        if not any(part == "test" for part, _ in rows):
            self.write_rows([*rows, *(("test", digest) for digest in digests)])

    def rows(self) -> list[tuple[str, int]]:
        """Read the part and digest of each row of the data; nothing where none are known.

        Raises:
            StorageError: The table is damaged.
        """
        path = self._paths.rows_path
        if not path.exists():
            return []
        try:
            heading, *lines = path.read_text(encoding="utf-8").splitlines()
            rows = [(part, int(digest, 16)) for part, digest in (x.split(",") for x in lines)]
            if heading != "part,digest" or any(
                part not in PARTS or not 0 <= digest < 2**64 for part, digest in rows
            ):
                raise ValueError(heading)
        except (OSError, ValueError) as error:
            raise StorageError(f"{path}: cannot be read: {describe_error(error)}") from error
        return rows


def _column(hyperparameter: str) -> str:
    """Name its column in ``trials.csv``; a user may call one ``value``, or ``number``."""
    taken = hyperparameter in (*_TRIAL_COLUMNS, *_OBJECTIVE_TRIAL_COLUMNS)
    return f"params_{hyperparameter}" if taken else hyperparameter


def _line(row: Iterable[Any]) -> str:
    return _lines([row])


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows(rows)
    return lines.getvalue()


def _write_header(path: Path, columns: Iterable[str]) -> None:
    if not path.exists() or path.stat().st_size == 0:
        append_text(path, _line(columns))


def _read_rows(path: Path) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StorageError(f"{path}: cannot be read: {describe_error(error)}") from error


def _parse(path: Path, parse: Callable[[Mapping[str, str]], T]) -> list[T]:
    """Parse the whole lines of a table; an error names the file and the line."""
    parsed = []
    line = 1
    try:
        text = path.read_text(encoding="utf-8")
        for row in csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])):
            line += 1
            parsed.append(parse(row))
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path}: cannot be read: {describe_error(error)}") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise StorageError(f"{path}:{line}: is damaged") from error
    return parsed


def _number(text: str) -> float | None:
    return float(text) if text else None


def _repeat_of(row: Mapping[str, str]) -> tuple[tuple[int, int], float | None]:
    return (int(row["number"]), int(row["repeat"])), _number(row["value"])


def _trial_of(row: Mapping[str, str]) -> TrialResult:
    if row["state"] not in ("complete", "pruned", "failed"):
        raise ValueError(row["state"])
    return TrialResult(
        number=int(row["number"]),
        state=row["state"],  # type: ignore[arg-type]
        value=_number(row["value"]),
        epochs=int(row["reports" if "reports" in row else "epochs_trained"]),
        params={},
        seconds=float(row["seconds"]),
        reason=row["reason"],
        costs={name: float(row[name]) for name in COSTS if row.get(name)},
    )


def _report_of(row: Mapping[str, str]) -> EpochReport:
    return EpochReport(
        number=int(row["number"]),
        epoch=int(row["epoch"]),
        train_loss=float(row["train_loss"]),
        train_accuracy=float(row["train_accuracy"]),
        scores={name: float(row[name]) for name in METRICS if row.get(name)},
        seconds=float(row["seconds"]),
        steps=0,
        horizon=int(row["horizon"]) if row.get("horizon") else None,
    )
