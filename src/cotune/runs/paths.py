"""Where the files of a run are, and which files no command may overwrite."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

from cotune.exceptions import StorageError, UsageError

_RUN_FILES = (
    *("config.yaml", "splits.csv", "rows.csv", "study.journal", "trials.csv", "curves.csv"),
    *("summary.json", "final.json", "readings.jsonl", "samples.png", "mistakes.png"),
    *("report.html", "trainings.jsonl", "lock", "finalists.csv", "output.log"),
)
_MODEL_FILES = ("model.json", "model.safetensors", "ensemble.json")


class RunPaths:
    """Paths of the files in a run directory; :mod:`cotune.runs.directory` says what is in each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.yaml"
        self.journal_path = path / "study.journal"
        self.trials_path = path / "trials.csv"
        self.curves_path = path / "curves.csv"
        self.finalists_path = path / "finalists.csv"
        self.splits_path = path / "splits.csv"
        self.rows_path = path / "rows.csv"
        self.summary_path = path / "summary.json"
        self.final_path = path / "final.json"
        self.readings_path = path / "readings.jsonl"
        self.samples_path = path / "samples.png"
        self.mistakes_path = path / "mistakes.png"
        self.checkpoint_path = path / "checkpoint"
        self.trainings_path = path / "trainings.jsonl"
        self.best_path = path / "best"
        self.ensemble_path = path / "ensemble"
        self.report_path = path / "report.html"
        self.output_path = path / "output.log"


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
        StorageError: The path cannot be read.
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
    """Return ``runs/NAME-TIME``, with a number added where two runs begin in one second."""
    stem = re.sub(r"[^\w.-]+", "-", name) + f"-{datetime.now():%Y%m%d-%H%M%S}"
    path, count = Path("runs") / stem, 1
    while path.exists():
        count += 1
        path = Path("runs") / f"{stem}-{count}"
    return path
