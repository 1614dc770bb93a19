"""Configurations that a user wants tried first, from a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cotune.exceptions import SpaceError
from cotune.results import Value
from cotune.space import Space


def read_configurations(path: Path, space: Space) -> list[dict[str, Value]]:
    """One JSON object of hyperparameters a line; empty lines are passed over.

    Raises:
        SpaceError: With file and line: no JSON object, an unknown hyperparameter, or a value that
            the space does not have.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SpaceError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpaceError(f"{path}: is not UTF-8 (byte {error.start})") from error
    configurations = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            configurations.append(_read_line(line, f"{path}:{number}", space))
    if not configurations:
        raise SpaceError(f"{path}: holds no configuration; write one JSON object a line")
    return configurations


def check_configurations(
    configurations: Iterable[Mapping[str, Any]], space: Space
) -> list[dict[str, Value]]:
    """The configurations, if they lie in the space.

    Raises:
        SpaceError: With the position, from 0, of the one that does not.
    """
    checked = []
    for number, params in enumerate(configurations):
        try:
            checked.append(space.check(params))
        except SpaceError as error:
            raise SpaceError(f"enqueue[{number}]: {error}") from None
    return checked


def _read_line(line: str, where: str, space: Space) -> dict[str, Value]:
    try:
        params = json.loads(line, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise SpaceError(f"{where}: is not JSON: {error}") from None
    if not isinstance(params, dict):
        raise SpaceError(f'{where}: is not a JSON object such as {{"lr": 0.001}}')
    try:
        return space.check(params)
    except SpaceError as error:
        raise SpaceError(f"{where}: {error}") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is there twice")
    return dict(pairs)
