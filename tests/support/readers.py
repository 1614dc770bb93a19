"""Everything that reads a file, each as a function of the file's path."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet  # noqa: F401 -- so that no reader is the first to wait for it

from cotune.data.dataset import Column
from cotune.data.readers.idx import read_idx
from cotune.data.readers.npy import read_npy
from cotune.data.reading import read_data
from cotune.data.tables.tables import read_cells, read_table
from cotune.engine.lane_state import saved_specs
from cotune.inference.model_file import load_model
from cotune.runs.checkpoint_store import Generations
from cotune.runs.directory import RunDirectory
from cotune.runs.training_log import TrainingLog
from cotune.space.enqueue import read_configurations
from cotune.space.presets import load_space
from cotune.space.yaml import read_space
from cotune.study.journal import load_study

_SPACE = load_space("mlp")


def _run_file(name: str, read: Callable[[RunDirectory], object]) -> Callable[[Path], None]:
    def target(path: Path) -> None:
        folder = path.parent / "run"
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").touch()
        path.replace(folder / name)
        read(RunDirectory.open(folder))

    return target


def _model(path: Path) -> None:
    folder = path.parent / "best"
    folder.mkdir(exist_ok=True)
    path.replace(folder / "model.json")
    (folder / "model.safetensors").touch()
    load_model(folder)


_COLUMNS = (Column("number", "number"), Column("type", "category", ("a", "b")))


@cache
def _parquet_file() -> bytes:
    file = io.BytesIO()
    table = pa.table({"number": [1.0, None, 3.0] * 4, "type": list("abba") * 3, "y": [0, 1] * 6})
    parquet.write_table(table, file)
    return file.getvalue()


def _parquet(path: Path) -> None:
    """A Parquet file that is overwritten from somewhere on."""
    content, good = path.read_bytes(), _parquet_file()
    place = 4 + int.from_bytes(content[:2], "little") % (len(good) - 4)
    path.write_bytes((good[:place] + content[2:] + good[place + len(content[2:]) :])[: len(good)])
    read_table(path)


def _manifest(path: Path) -> None:
    folder = path.parent / "checkpoint" / "000001"
    folder.mkdir(parents=True, exist_ok=True)
    path.replace(folder / "manifest.json")
    Generations(folder.parent).latest()


def _data(name: str) -> Callable[[Path], object]:
    """A file of that name, alone in a folder of a class in a folder of data."""

    def target(path: Path) -> None:
        folder = path.parent / "data" / "class"
        folder.mkdir(parents=True, exist_ok=True)
        path.replace(folder / name)
        read_data(folder.parent if name.endswith(".png") else folder / name)

    return target


READERS: dict[str, Callable[[Path], object]] = {
    "space": read_space,
    "idx": read_idx,
    "table": read_table,
    "cells": lambda path: read_cells(path, _COLUMNS, "value"),
    "parquet": _parquet,
    "npz": _data("x.npz"),
    "npy": read_npy,
    "png": _data("x.png"),
    "enqueue": lambda path: read_configurations(path, _SPACE),
    "model": _model,
    "config": _run_file("config.yaml", lambda run: run.config()),
    "summary": _run_file("summary.json", lambda run: run.summary()),
    "rows": _run_file("rows.csv", lambda run: run.tables.rows()),
    "trials": _run_file("trials.csv", lambda run: run.tables.trials()),
    "curves": _run_file("curves.csv", lambda run: run.tables.curves()),
    "trainings": lambda path: TrainingLog(path),
    "journal": load_study,
    "lanes": saved_specs,
    "manifest": _manifest,
}
