"""The run directory: everything a run leaves behind, with one writer.

config.yaml     what was asked, resolved; versions, seed, the data's fingerprint
splits.csv      for each row of a file or array, counted from 0: train, validation or test; not
                for named datasets, nor for a test set that has a file of its own
rows.csv        the part and a digest of each row of the data, by which evaluate knows it again;
                those of a test set that is not in memory are added when it is read
study.journal   the Optuna study (JournalStorage; optuna-dashboard opens it)
trials.csv      one row a finished trial
curves.csv      one row a trial and epoch: losses and scores
summary.json    where the run stands (``cotune show``)
final.json      the final model: test score, curve, confusion matrix, worst mistakes
readings.jsonl  one line for each reading of the sealed test set
samples.png     the first 16 training images; mistakes.png the 16 worst test mistakes
best/           model.safetensors, model.json
ensemble/       ensemble.json and a folder for each member, where one was asked for
report.html     one file, no network
checkpoint/     lanes in training, while there are any
trainings.jsonl what finalists and the final model came to, epoch by epoch
lock            held by the process that writes here

Of a run of an objective (``cotune optimize``) there are, of these, config.yaml, study.journal,
trials.csv, summary.json, report.html and lock, and

curves.csv      one row a report: trial, step, value
finalists.csv   one row a finalist's call of the objective
output.log      what the objective printed, and the traceback of each of its errors
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import yaml

from cotune.exceptions import StorageError, UsageError, writing
from cotune.records import COSTS, DIRECTIONS, FinalResult, Report, Summary, TrialResult

PARTS = ("train", "validation", "test")
"""What ``splits.csv`` says that a row is in."""

_RUN_FILES = (
    *("config.yaml", "splits.csv", "rows.csv", "study.journal", "trials.csv", "curves.csv"),
    *("summary.json", "final.json", "readings.jsonl", "samples.png", "mistakes.png"),
    *("report.html", "trainings.jsonl", "lock", "finalists.csv", "output.log"),
)
_MODEL_FILES = ("model.json", "model.safetensors", "ensemble.json")

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
)

OBJECTIVE = "objective"
"""The ``kind`` in the configuration of a run of a user's own objective function."""

# What Cotune itself needs of the files it reads back: keys and the types of their values.
_CONFIG = {
    "dataset": {
        "name": str,
        "rows": {"train": int, "validation": int, "test": int},
        "classes": list,
    },
    "metric": str,
    "device": str,
}
_OBJECTIVE_CONFIG = {"kind": str, "objective": str, "direction": str, "metric": str, "workers": int}
_SUMMARY = {
    "state": str,
    "seconds": {"total": float, "search": float, "final": float, "study": float},
    "trials": {"complete": int, "pruned": int, "failed": int, "running": int},
    "message": str,
}
# A test set of one class has no AUC.
_SCORES = {name: float for name in DIRECTIONS if name != "auc"}
_SCORES_OPTIONAL = {"auc": float}
_SUMMARY_BEST = {"number": int, "params": dict, "validation_accuracy": float}
_FINAL = {"epochs": int, "parameters": int}
_TESTED = {"test_accuracy": float, "test_ci95": [float, float]}
_OBJECTIVE_BEST = {"number": int, "params": dict, "value": float, "search_best": float}
_OBJECTIVE_FINALIST = {"number": int, "runs": int, "failed": int, "mean": float}
# What may be missing or null; where it is there, it is of this kind.
_FINAL_OPTIONAL = {
    "test_accuracy": float,
    "validation_accuracy_mean": float,
    "validation_accuracy_sd": float,
    "default_test_accuracy": float,
    "default_p_value": float,
    "ensemble_test_accuracy": float,
    "ensemble_test_ci95": [float, float],
    "ensemble_members": int,
    "warning": str,
}
_FINAL_SCORES = ("test_scores", "default_test_scores", "baseline_test_scores")
_PARETO = {"number": int, "value": float}
_FINAL_FILE = {**_FINAL, "curve": dict, "confusion": list, "mistakes": list}


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
    def readings_path(self) -> Path:
        return self.path / "readings.jsonl"

    @property
    def splits_path(self) -> Path:
        return self.path / "splits.csv"

    @property
    def rows_path(self) -> Path:
        return self.path / "rows.csv"

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.png"

    @property
    def mistakes_path(self) -> Path:
        return self.path / "mistakes.png"

    @property
    def checkpoint_path(self) -> Path:
        return self.path / "checkpoint"

    @property
    def trainings_path(self) -> Path:
        return self.path / "trainings.jsonl"

    @property
    def best_path(self) -> Path:
        return self.path / "best"

    @property
    def ensemble_path(self) -> Path:
        return self.path / "ensemble"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    @property
    def finalists_path(self) -> Path:
        return self.path / "finalists.csv"

    @property
    def output_path(self) -> Path:
        return self.path / "output.log"

    # -- writing ---------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | Path) -> RunDirectory:
        """Make a new run directory and take its lock.

        Raises:
            UsageError: Something is there already; it is left as it was.
            StorageError: The directory cannot be made or written to.
        """
        path = Path(path).absolute()
        check_free(path)
        run = cls(path)
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        run._take_lock()
        return run

    @classmethod
    def reopen(cls, path: str | Path) -> RunDirectory:
        """A run directory to go on with: takes its lock, and cuts off half-written last lines.

        Raises:
            UsageError: There is no run.
            StorageError: Another process writes there, or this one cannot.
        """
        run = cls.open(path)
        run._take_lock()
        for table in (*run._growing, run.readings_path, run.finalists_path):
            run._cut(table, None)
        return run

    def _take_lock(self) -> None:
        path = self.path / "lock"
        with writing(self.path):
            self._lock = open(path, "a+")  # noqa: SIM115 - held until close()
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.seek(0)
                pid, _, host = self._lock.read().strip().partition(" ")
                self.close()
                raise StorageError(
                    f"{self.path}: process {pid or '?'} on {host or '?'} is writing there; wait "
                    "for it, or stop it"
                ) from None
            self._lock.truncate(0)
            self._lock.write(f"{os.getpid()} {socket.gethostname()}\n")
            self._lock.flush()

    @property
    def _growing(self) -> tuple[Path, ...]:
        """Files that lines are added to while the run goes on, and never changed."""
        return self.journal_path, self.trials_path, self.curves_path, self.trainings_path

    def sizes(self) -> dict[str, int]:
        """Bytes of the growing files, by name."""
        return {p.name: p.stat().st_size if p.exists() else 0 for p in self._growing}

    def sync(self) -> None:
        """Make the growing files survive a power loss."""
        for path in self._growing:
            if path.exists():
                with writing(path), open(path, "rb") as file:
                    os.fsync(file.fileno())

    def roll_back(self, sizes: Mapping[str, int]) -> bool:
        """Cut the growing files to the sizes that they had.

        Returns:
            False, with nothing changed, if one is shorter.

        Raises:
            StorageError: One cannot be written.
        """
        wanted = {path: int(sizes[path.name]) for path in self._growing}
        if any(self.sizes()[path.name] < size for path, size in wanted.items()):
            return False
        for path, size in wanted.items():
            self._cut(path, size)
        return True

    def _cut(self, path: Path, size: int | None) -> None:
        """To a size; without one, to the last whole line."""
        if not path.exists():
            return
        with writing(path), open(path, "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            if size is None:
                size = _whole_lines(file, end)
            if size < end:
                file.truncate(size)
                os.fsync(file.fileno())

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write_config(self, config: Mapping[str, Any]) -> None:
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        self._replace(self.config_path, text)

    def write_splits(self, parts: Sequence[tuple[int, str]]) -> None:
        """Rows of the file with the part that each is in; nothing where none are known."""
        if parts:
            lines = "".join(f"{row},{part}\n" for row, part in parts)
            self._replace(self.splits_path, f"row,part\n{lines}")

    def write_rows(self, rows: Iterable[tuple[str, int]]) -> None:
        """The part and digest of each row of the data."""
        lines = "".join(f"{part},{digest:016x}\n" for part, digest in rows)
        self._replace(self.rows_path, f"part,digest\n{lines}")

    def add_test_rows(self, digests: Iterable[int]) -> None:
        """Those of the test set, unless they are there."""
        rows = self.rows()
        if not any(part == "test" for part, _ in rows):
            self.write_rows([*rows, *(("test", digest) for digest in digests)])

    def write_summary(self, summary: Summary) -> None:
        self._replace(self.path / "summary.json", json.dumps(summary.to_json(), indent=1))

    def write_final(self, final: FinalResult) -> None:
        self._replace(self.path / "final.json", json.dumps(final.to_json()))

    def append_reading(self, accuracy: float) -> None:
        """Record that the sealed test set was read, now, and what the final model got right."""
        when = datetime.now().astimezone().isoformat(timespec="seconds")
        line = json.dumps({"when": when, "accuracy": accuracy})
        path = self.readings_path
        with writing(path), open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def start_tables(self, hyperparameters: Iterable[str]) -> None:
        """Write the headers of ``trials.csv`` and ``curves.csv``, where they are not there yet.

        Args:
            hyperparameters: And costs, where they are objectives.
        """
        names = tuple(map(_column, hyperparameters))
        self._trial_columns = names
        for path, columns in (
            (self.trials_path, (*_TRIAL_COLUMNS, *names)),
            (self.curves_path, _CURVE_COLUMNS),
        ):
            if not path.exists() or path.stat().st_size == 0:
                self._append(path, columns)

    def start_objective_tables(self) -> None:
        """Write the headers of an objective's tables, where they are not there yet."""
        for path, columns in (
            (self.trials_path, _OBJECTIVE_TRIAL_COLUMNS),
            (self.curves_path, _OBJECTIVE_CURVE_COLUMNS),
            (self.finalists_path, _OBJECTIVE_FINALIST_COLUMNS),
        ):
            if not path.exists() or path.stat().st_size == 0:
                self._append(path, columns)
        begin = len(_OBJECTIVE_TRIAL_COLUMNS)
        self._trial_columns = tuple(self._rows(self.trials_path)[0][begin:])

    def add_trial_columns(self, hyperparameters: Iterable[str]) -> None:
        """Make room in ``trials.csv`` for hyperparameters that no trial had before."""
        columns = [_column(name) for name in hyperparameters]
        new = [column for column in columns if column not in self._trial_columns]
        if not new:
            return
        self._trial_columns = (*self._trial_columns, *new)
        header, *rows = self._rows(self.trials_path)
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow([*header, *new])
        writer.writerows([*row, *("" for _ in new)] for row in rows)
        self._replace(self.trials_path, table.getvalue())

    def _rows(self, path: Path) -> list[list[str]]:
        try:
            return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise StorageError(f"{path}: cannot be read: {_line(error)}") from error

    def append_step(self, number: int, step: int, value: float) -> None:
        """Add one report of an objective's trial to ``curves.csv``."""
        self._append(self.curves_path, (number, step, repr(value)))

    def append_finalist(
        self, number: int, repeat: int, value: float | None, seconds: float, reason: str
    ) -> None:
        """Add one call of an objective for a finalist to ``finalists.csv``."""
        shown = "" if value is None else repr(value)
        row = (number, repeat, shown, f"{seconds:.3f}", reason)
        self._append(self.finalists_path, row, sync=True)

    def finalists(self) -> dict[tuple[int, int], float | None]:
        """What an objective returned for finalists, by trial and repeat; None where it failed."""
        try:
            rows = self._rows(self.finalists_path)[1:]
            return {(int(row[0]), int(row[1])): float(row[2]) if row[2] else None for row in rows}
        except (IndexError, ValueError) as error:
            raise StorageError(f"{self.finalists_path}: is damaged") from error

    def append_trial(self, trial: TrialResult) -> None:
        """Add a finished trial's row; a hyperparameter that does not exist for it stays empty."""
        values = {_column(n): value for n, value in {**trial.params, **trial.costs}.items()}
        self._append(
            self.trials_path,
            (
                trial.number,
                trial.state,
                "" if trial.value is None else repr(trial.value),
                trial.epochs,
                f"{trial.seconds:.3f}",
                trial.reason,
                *(values.get(name, "") for name in self._trial_columns),
            ),
            sync=True,
        )

    def append_report(self, report: Report) -> None:
        """Add one epoch of one trial to ``curves.csv``."""
        row = {**report.to_json(), **report.scores}
        self._append(self.curves_path, [row.get(name, "") for name in _CURVE_COLUMNS])

    def _append(self, path: Path, row: Iterable[Any], sync: bool = False) -> None:
        with writing(path), open(path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)
            file.flush()
            if sync:
                os.fsync(file.fileno())

    def _replace(self, path: Path, text: str) -> None:
        temporary = path.with_name(path.name + ".tmp")
        with writing(path):
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)

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
        except Exception as error:  # PyYAML lets a ValueError or KeyError through
            raise StorageError(f"{self.config_path}: cannot be read: {_line(error)}") from error
        is_objective = isinstance(config, dict) and config.get("kind") == OBJECTIVE
        _check(config, _OBJECTIVE_CONFIG if is_objective else _CONFIG, self.config_path)
        _check_optional(config, {"notes": list}, self.config_path, "")
        if not is_objective:
            dataset = config["dataset"]
            _check_scores(dataset, ("baseline",), self.config_path, "dataset.")
            _check_optional(dataset, {"baseline_class": str}, self.config_path, "dataset.")
        return config  # type: ignore[no-any-return]

    @property
    def is_of_objective(self) -> bool:
        """Whether the run is one of a user's own objective function."""
        return self.config().get("kind") == OBJECTIVE

    def check_on_data(self) -> None:
        """Make sure that there is data and a model of Cotune's own to ask for.

        Raises:
            UsageError: It is a run of an objective.
        """
        if self.is_of_objective:
            raise UsageError(
                f"{self.path}: is a run of an objective, without data or a model of Cotune's own"
            )

    def summary(self) -> Summary:
        """Where the run stands. A run whose writer was killed reads as interrupted."""
        path = self.path / "summary.json"
        # Before the summary is read: a run that ends in between has written its last one by then.
        is_locked = self._is_locked()
        data = _read_json(path)
        _check(data, _SUMMARY, path)
        if data.get("best") is not None:
            best = _OBJECTIVE_BEST if self.is_of_objective else _SUMMARY_BEST
            _check(data["best"], best, path, "best.")
            _check_scores(data["best"], ("baseline",), path, "best.")
        _check(data.get("finalists", []), list, path, "finalists.")
        for one in data.get("finalists", []):
            _check(one, _OBJECTIVE_FINALIST, path, "finalists.")
            _check_optional(one, {"sd": float}, path, "finalists.")
        if data.get("final") is not None:
            _check(data["final"], _FINAL, path, "final.")
            _check_optional(data["final"], _FINAL_OPTIONAL, path, "final.")
            _check_scores(data["final"], _FINAL_SCORES, path, "final.")
            if data["final"].get("test_accuracy") is not None:
                _check(data["final"], _TESTED, path, "final.")
            if data["final"].get("default_test_accuracy") is not None:
                _check(
                    data["final"],
                    {"default_p_value": float, "default_chosen": bool},
                    path,
                    "final.",
                )
        _check(data.get("pareto", []), list, path, "pareto.")
        for one in data.get("pareto", []):
            _check(one, _PARETO, path, "pareto.")
        if data["state"] == "running" and not is_locked:
            data["state"] = "interrupted"
            data["message"] = "the process that ran it was killed"
            data["trials"]["running"] = 0
        try:
            return Summary.from_json(data)
        except TypeError as error:
            raise StorageError(f"{path}: is not a run's summary: {error}") from error

    def final(self) -> FinalResult | None:
        """The final model's result, or None when the run did not get that far."""
        path = self.path / "final.json"
        if not path.exists():
            return None
        data = _read_json(path)
        _check(data, _FINAL_FILE, path)
        _check_scores(data, _FINAL_SCORES, path)
        _check_optional(data, {"warning": str}, path, "")
        if data.get("test_accuracy") is not None:
            _check(data, _TESTED, path)
        try:
            return FinalResult.from_json(data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{path}: is not a final result: {error}") from error

    def readings(self) -> list[dict[str, Any]]:
        """When the sealed test set was read, and the accuracy each time."""
        if not self.readings_path.exists():
            return []
        try:
            lines = self.readings_path.read_text(encoding="utf-8").splitlines()
            readings = [json.loads(line) for line in lines]
        except (OSError, ValueError, RecursionError) as error:
            raise StorageError(f"{self.readings_path}: cannot be read: {_line(error)}") from error
        for reading in readings:
            _check(reading, {"when": str, "accuracy": float}, self.readings_path)
        return readings

    def rows(self) -> list[tuple[str, int]]:
        """The part and digest of each row of the data; nothing where none are known.

        Raises:
            StorageError: The table is damaged.
        """
        if not self.rows_path.exists():
            return []
        try:
            heading, *lines = self.rows_path.read_text(encoding="utf-8").splitlines()
            rows = [(part, int(digest, 16)) for part, digest in (x.split(",") for x in lines)]
            if heading != "part,digest" or any(
                part not in PARTS or not 0 <= digest < 2**64 for part, digest in rows
            ):
                raise ValueError(heading)
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.rows_path}: cannot be read: {_line(error)}") from error
        return rows

    def trials(self) -> list[TrialResult]:
        """Finished trials in the order in which they ended, without their hyperparameters.

        Those are in the study, in their own types.

        Raises:
            StorageError: The table is damaged.
        """
        trials = []
        line = 1
        try:
            text = self.trials_path.read_text(encoding="utf-8")
            for row in csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])):
                line += 1
                if row["state"] not in ("complete", "pruned", "failed"):
                    raise ValueError(row["state"])
                trials.append(
                    TrialResult(
                        number=int(row["number"]),
                        state=row["state"],  # type: ignore[arg-type]
                        value=float(row["value"]) if row["value"] else None,
                        epochs=int(row["reports" if "reports" in row else "epochs_trained"]),
                        params={},
                        seconds=float(row["seconds"]),
                        reason=row["reason"],
                        costs={name: float(row[name]) for name in COSTS if row.get(name)},
                    )
                )
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"{self.trials_path}: cannot be read: {_line(error)}") from error
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise StorageError(f"{self.trials_path}:{line}: is damaged") from error
        return trials

    def curves(self) -> dict[int, list[Report]]:
        """Every trial's reports by trial number, in order of epochs.

        A last line that was cut off, by a power loss or a full disk, is left out.
        """
        curves: dict[int, list[Report]] = {}
        line = 1
        try:
            text = self.curves_path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]
            for row in csv.DictReader(io.StringIO(whole)):
                line += 1
                report = Report(
                    number=int(row["number"]),
                    epoch=int(row["epoch"]),
                    train_loss=float(row["train_loss"]),
                    train_accuracy=float(row["train_accuracy"]),
                    scores={name: float(row[name]) for name in DIRECTIONS if row.get(name)},
                    seconds=float(row["seconds"]),
                    steps=0,
                )
                curves.setdefault(report.number, []).append(report)
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"{self.curves_path}: cannot be read: {_line(error)}") from error
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise StorageError(f"{self.curves_path}:{line}: is damaged") from error
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


def check_not_own(path: Path, option: str = "-o FILE") -> None:
    """Make sure that a file to be written is none that a run or a model is made of.

    Raises:
        UsageError: It is.
    """
    place = path.resolve()
    in_model = any((place.parent / name).exists() for name in _MODEL_FILES)
    in_run = (place.parent / "config.yaml").is_file()
    if (in_model and place.name in _MODEL_FILES) or (in_run and place.name in _RUN_FILES):
        owner = "model" if place.name in _MODEL_FILES else "run"
        raise UsageError(f"{path}: is a {owner}'s own file; choose another {option}")


def check_free(path: Path) -> None:
    """Make sure that a new run would overwrite nothing.

    Raises:
        UsageError: Something is there already.
        StorageError: That cannot be found out.
    """
    try:
        if os.path.lexists(path) and not path.is_dir():
            raise UsageError(f"{path}: is a file; choose another --out DIR")
        if path.is_dir() and any(path.iterdir()):
            raise UsageError(
                f"{path}: a run or other files are there already; choose another --out DIR"
            )
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


def default_path(name: str) -> Path:
    """``runs/NAME-TIME``, with a number added where two runs begin in one second."""
    stem = re.sub(r"[^\w.-]+", "-", name) + f"-{datetime.now():%Y%m%d-%H%M%S}"
    path, count = Path("runs") / stem, 1
    while path.exists():
        count += 1
        path = Path("runs") / f"{stem}-{count}"
    return path


def _column(hyperparameter: str) -> str:
    """Its column in ``trials.csv``; a user may call one ``value``, or ``number``."""
    taken = hyperparameter in (*_TRIAL_COLUMNS, *_OBJECTIVE_TRIAL_COLUMNS)
    return f"params_{hyperparameter}" if taken else hyperparameter


def _whole_lines(file: IO[bytes], end: int) -> int:
    """Bytes up to the last line break."""
    while end > 0:
        start = max(0, end - 65_536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"{path}: cannot be read: {_line(error)}") from error


def _check(data: Any, expected: Any, path: Path, key: str = "") -> None:
    """Raise a StorageError where data lack what ``expected`` shows (more keys are fine)."""
    if isinstance(expected, dict):
        fits = isinstance(data, dict) and all(name in data for name in expected)
        names: Iterable[Any] = expected
    elif isinstance(expected, list):
        fits = isinstance(data, list) and len(data) == len(expected)
        names = range(len(expected))
    else:
        # A whole number is a float too; True is no number.
        kinds = (int, float) if expected is float else expected
        fits = isinstance(data, kinds) and (expected is bool or not isinstance(data, bool))
        names = ()
    if not fits:
        where = f" ({key[:-1]})" if key else ""
        raise StorageError(f"{path}: is damaged, or not what a run writes there{where}")
    for name in names:
        _check(data[name], expected[name], path, f"{key}{name}.")


def _check_optional(data: Any, expected: Mapping[str, Any], path: Path, key: str) -> None:
    for name, kind in expected.items():
        if data.get(name) is not None:
            _check(data[name], kind, path, f"{key}{name}.")


def _check_scores(data: Any, names: Iterable[str], path: Path, key: str = "") -> None:
    for name in names:
        if data.get(name):
            _check(data[name], _SCORES, path, f"{key}{name}.")
            _check_optional(data[name], _SCORES_OPTIONAL, path, f"{key}{name}.")


def _line(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200]
