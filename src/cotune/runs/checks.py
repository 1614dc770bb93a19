"""Checks of what is read back from the files of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cotune.exceptions import StorageError
from cotune.records import DIRECTIONS
from cotune.runs.files import describe_error

# A test set of one class has no AUC.
_SCORES = {name: float for name in DIRECTIONS if name != "auc"}
_SCORES_OPTIONAL = {"auc": float}


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"{path}: cannot be read: {describe_error(error)}") from error


def check(data: Any, expected: Any, path: Path, key: str = "") -> None:
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
        check(data[name], expected[name], path, f"{key}{name}.")


def check_optional(data: Any, expected: Mapping[str, Any], path: Path, key: str) -> None:
    for name, kind in expected.items():
        if data.get(name) is not None:
            check(data[name], kind, path, f"{key}{name}.")


def check_scores(data: Any, names: Iterable[str], path: Path, key: str = "") -> None:
    for name in names:
        if data.get(name):
            check(data[name], _SCORES, path, f"{key}{name}.")
            check_optional(data[name], _SCORES_OPTIONAL, path, f"{key}{name}.")
