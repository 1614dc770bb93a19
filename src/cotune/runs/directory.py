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

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from cotune.exceptions import StorageError, UsageError, writing
from cotune.records import FinalResult
from cotune.runs.config import (
    OBJECTIVE,
    ObjectiveConfig,
    RecordedOptions,
    RunConfig,
    read_plain_config,
)
from cotune.runs.decode import damaged, decode, read_json
from cotune.runs.files import append_text, cut_file, describe_error, sync_file, write_file
from cotune.runs.lock import RunLock
from cotune.runs.paths import RunPaths, check_free
from cotune.runs.summary import Summary
from cotune.runs.tables import Tables


@dataclass(frozen=True)
class Reading:
    """A reading of the sealed test set.

    Attributes:
        when: In ISO 8601.
        accuracy: Of the final model, 0-1.
    """

    when: str
    accuracy: float


class RunDirectory(RunPaths):
    """One run on disk.

    Use :meth:`create` for a new run, :meth:`reopen` to write to one that is there, and
    :meth:`open` to read one.

    Attributes:
        tables: Its CSV files.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.tables = Tables(self)
        self._lock = RunLock(path)
        # Lines are added to these while the run continues, and never changed.
        self._growing = (
            self.journal_path,
            self.trials_path,
            self.curves_path,
            self.trainings_path,
        )

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
        run._lock.take()
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """Open a run directory to read from.

        Raises:
            UsageError: There is no run.
        """
        run = cls(Path(path).absolute())
        if not run.config_path.is_file():
            raise UsageError(f"{path}: no run is there (no config.yaml); give the folder of a run")
        return run

    @classmethod
    def reopen(cls, path: str | Path) -> RunDirectory:
        """Open a run directory to resume: take its lock, and cut off half-written last lines.

        Raises:
            UsageError: There is no run.
            StorageError: Another process writes there, or this one cannot.
        """
        run = cls.open(path)
        run._lock.take()
        for table in (*run._growing, run.readings_path, run.finalists_path):
            cut_file(table)
        return run

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()

    # -- files that grow -------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        """Return the bytes of the growing files, by name."""
        return {p.name: p.stat().st_size if p.exists() else 0 for p in self._growing}

    def sync(self) -> None:
        """Make the growing files survive a power loss."""
        for path in self._growing:
            sync_file(path)

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
            cut_file(path, size)
        return True

    # -- configuration and results ---------------------------------------------------------------

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write ``config.yaml``."""
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        write_file(self.config_path, text)

    def config(self) -> RunConfig | ObjectiveConfig:
        """Read ``config.yaml``.

        Raises:
            StorageError: It is damaged.
        """
        data = read_plain_config(self.config_path)
        if isinstance(data, dict) and data.get("kind") == OBJECTIVE:
            return decode(data, ObjectiveConfig, self.config_path)
        return decode(data, RunConfig, self.config_path)

    @property
    def is_of_objective(self) -> bool:
        """Tell whether the run is one of a user's own objective function."""
        return isinstance(self.config(), ObjectiveConfig)

    def data_config(self) -> RunConfig:
        """Read ``config.yaml`` of a run on data, with a model of Cotune's own.

        Raises:
            StorageError: It is damaged.
            UsageError: It is a run of an objective.
        """
        config = self.config()
        if isinstance(config, ObjectiveConfig):
            raise UsageError(
                f"{self.path}: is a run of an objective, without data or a model of Cotune's own"
            )
        return config

    def objective_config(self) -> ObjectiveConfig:
        """Read ``config.yaml`` of a run of an objective.

        Raises:
            StorageError: It is damaged.
            UsageError: It is a run on data.
        """
        config = self.config()
        if isinstance(config, RunConfig):
            raise UsageError(f"{self.path}: is no run of an objective")
        return config

    def options(self) -> RecordedOptions:
        """Read all options from ``config.yaml``, to train as the run did.

        Raises:
            StorageError: It is damaged.
            UsageError: An older Cotune wrote it, without one of the options.
        """
        data = read_plain_config(self.config_path)
        for one in fields(RecordedOptions):
            if isinstance(data, dict) and one.default is MISSING and one.name not in data:
                raise UsageError(f"{self.config_path}: has no {one.name}; an older Cotune wrote it")
        return decode(data, RecordedOptions, self.config_path)

    def write_summary(self, summary: Summary) -> None:
        """Write ``summary.json``."""
        write_file(self.summary_path, json.dumps(summary.to_json(), indent=1))

    def summary(self) -> Summary:
        """Read where the run stands; one whose writer was killed reads as interrupted.

        Raises:
            StorageError: The file is damaged.
        """
        # Before the summary is read: a run that ends in between has written its last one by then.
        is_locked = self._lock.is_held
        summary = decode(read_json(self.summary_path), Summary, self.summary_path)
        best = summary.best
        if best and None in (
            (best.value, best.search_best) if self.is_of_objective else (best.validation_accuracy,)
        ):
            raise damaged(self.summary_path, "best")
        if summary.state != "running" or is_locked:
            return summary
        return replace(
            summary,
            state="interrupted",
            message="the process that ran it was killed",
            trials=replace(summary.trials, running=0),
        )

    def write_final(self, final: FinalResult) -> None:
        """Write ``final.json``."""
        write_file(self.final_path, json.dumps(final.to_json()))

    def final(self) -> FinalResult | None:
        """Read the final model's result, or None when the run did not get that far.

        Raises:
            StorageError: The file is damaged.
        """
        path = self.final_path
        return decode(read_json(path), FinalResult, path) if path.exists() else None

    def append_reading(self, accuracy: float) -> None:
        """Record that the sealed test set was read now, and the final model's accuracy on it."""
        when = datetime.now().astimezone().isoformat(timespec="seconds")
        line = json.dumps(asdict(Reading(when, accuracy)))
        append_text(self.readings_path, line + "\n", sync=True)

    def readings(self) -> list[Reading]:
        """Read when the sealed test set was read, and the accuracy each time.

        Raises:
            StorageError: The file is damaged.
        """
        if not self.readings_path.exists():
            return []
        try:
            lines = self.readings_path.read_text(encoding="utf-8").splitlines()
            found = [json.loads(line) for line in lines]
        except (OSError, ValueError, RecursionError) as error:
            why = describe_error(error)
            raise StorageError(f"{self.readings_path}: cannot be read: {why}") from error
        return [decode(one, Reading, self.readings_path) for one in found]
