"""The run directory: everything a run leaves behind, with one writer.

config.yaml     what was asked, resolved; versions, seed, the data's fingerprint
study.journal   the Optuna study (JournalStorage; optuna-dashboard opens it)
trials.csv      one row a finished trial; a row never changes
curves.csv      one row a trial and epoch: losses and scores
summary.json    where the run stands (``cotune show``)
final.json      the final model: test score, curve, confusion matrix, worst mistakes
samples.png     the first 16 training images; mistakes.png the 16 worst test mistakes
best/           model.safetensors, model.json
report.html     one file, no network
lock            held by the process that writes here
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import socket
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import yaml

from cotune.exceptions import StorageError, UsageError
from cotune.results import FinalResult, Report, Summary, TrialResult

_CURVE_COLUMNS = (
    "number",
    "epoch",
    "train_loss",
    "train_accuracy",
    "loss",
    "accuracy",
    "f1",
    "seconds",
)


class RunDirectory:
    """Paths, readers and writers of one run directory.

    Use :meth:`create` for a new run and :meth:`open` to read one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        self._trial_columns: tuple[str, ...] = ()

    @property
    def config_path(self) -> Path:
        return self.path / "config.yaml"

    @property
    def journal_path(self) -> Path:
        return self.path / "study.journal"

    @property
    def trials_path(self) -> Path:
        return self.path / "trials.csv"

    @property
    def curves_path(self) -> Path:
        return self.path / "curves.csv"

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.png"

    @property
    def mistakes_path(self) -> Path:
        return self.path / "mistakes.png"

    @property
    def best_path(self) -> Path:
        return self.path / "best"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    # -- writing ---------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | Path) -> RunDirectory:
        """Make a new run directory and take its lock.

        Raises:
            UsageError: Something is there already; it is left as it was.
            StorageError: The directory cannot be made or written to.
        """
        path = Path(path).absolute()
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise UsageError(
                    f"{path}: a run or other files are there already; choose another --out DIR"
                )
            run = cls(path)
            run._lock = open(path / "lock", "w")  # noqa: SIM115 - held until close()
            fcntl.flock(run._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            run._lock.write(f"{os.getpid()} {socket.gethostname()}\n")
            run._lock.flush()
        except FileExistsError:
            raise UsageError(f"{path}: is a file; choose another --out DIR") from None
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
        return run

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write_config(self, config: Mapping[str, Any]) -> None:
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        self._replace(self.config_path, text)

    def write_summary(self, summary: Summary) -> None:
        self._replace(self.path / "summary.json", json.dumps(summary.to_json(), indent=1))

    def write_final(self, final: FinalResult) -> None:
        self._replace(self.path / "final.json", json.dumps(final.to_json()))

    def start_tables(self, hyperparameters: Iterable[str]) -> None:
        """Write the headers of ``trials.csv`` and ``curves.csv``."""
        names = tuple(hyperparameters)
        self._trial_columns = names
        self._append(
            self.trials_path,
            ("number", "state", "value", "epochs_trained", "seconds", "reason", *names),
        )
        self._append(self.curves_path, _CURVE_COLUMNS)

    def append_trial(self, trial: TrialResult) -> None:
        """Add a finished trial's row; a hyperparameter that does not exist for it stays empty."""
        self._append(
            self.trials_path,
            (
                trial.number,
                trial.state,
                "" if trial.value is None else repr(trial.value),
                trial.epochs,
                f"{trial.seconds:.3f}",
                trial.reason,
                *(trial.params.get(name, "") for name in self._trial_columns),
            ),
        )

    def append_report(self, report: Report) -> None:
        """Add one epoch of one trial to ``curves.csv``."""
        row = {**report.to_json(), **report.scores}
        self._append(self.curves_path, [row.get(name, "") for name in _CURVE_COLUMNS])

    def _append(self, path: Path, row: Iterable[Any]) -> None:
        try:
            with open(path, "a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(row)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error

    def _replace(self, path: Path, text: str) -> None:
        temporary = path.with_name(path.name + ".tmp")
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error

    # -- reading ---------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """A run directory to read from.

        Raises:
            UsageError: There is no run.
        """
        run = cls(Path(path).absolute())
        if not run.config_path.is_file():
            raise UsageError(f"{path}: no run is there (no config.yaml); give the folder of a run")
        return run

    def config(self) -> dict[str, Any]:
        try:
            config = yaml.safe_load(self.config_path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise StorageError(f"{self.config_path}: cannot be read: {_line(error)}") from error
        if not isinstance(config, dict):
            raise StorageError(f"{self.config_path}: is not a run's configuration")
        return config

    def summary(self) -> Summary:
        """Where the run stands. A run whose writer was killed reads as interrupted."""
        path = self.path / "summary.json"
        data = _read_json(path)
        try:
            summary = Summary.from_json(data)
        except TypeError as error:
            raise StorageError(f"{path}: is not a run's summary: {error}") from error
        if summary.state == "running" and not self._is_locked():
            data["state"] = "interrupted"
            data["message"] = "the process that ran it was killed"
            summary = Summary.from_json(data)
        return summary

    def final(self) -> FinalResult | None:
        """The final model's result, or None when the run did not get that far."""
        path = self.path / "final.json"
        if not path.exists():
            return None
        try:
            return FinalResult.from_json(_read_json(path))
        except TypeError as error:
            raise StorageError(f"{path}: is not a final result: {error}") from error

    def curves(self) -> dict[int, list[Report]]:
        """Every trial's reports by trial number, in order of epochs."""
        curves: dict[int, list[Report]] = {}
        try:
            with open(self.curves_path, newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    report = Report(
                        number=int(row["number"]),
                        epoch=int(row["epoch"]),
                        train_loss=float(row["train_loss"]),
                        train_accuracy=float(row["train_accuracy"]),
                        scores={k: float(row[k]) for k in ("loss", "accuracy", "f1") if row[k]},
                        seconds=float(row["seconds"]),
                        steps=0,
                    )
                    curves.setdefault(report.number, []).append(report)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{self.curves_path}: cannot be read: {_line(error)}") from error
        return curves

    def _is_locked(self) -> bool:
        try:
            with open(self.path / "lock") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def default_path(name: str) -> Path:
    """``runs/NAME-TIME``, with a number added where two runs begin in one second."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    path, count = Path("runs") / stem, 1
    while path.exists():
        count += 1
        path = Path("runs") / f"{stem}-{count}"
    return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StorageError(f"{path}: cannot be read: {_line(error)}") from error
    if not isinstance(data, dict):
        raise StorageError(f"{path}: is not a JSON object")
    return data


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
