"""Configurations that a user wants tried first, from a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cotune.exceptions import SpaceError
from cotune.records import Value
from cotune.space.space import Space
from cotune.space.yaml import read_text
from cotune.text import shown_key

_MAX_BYTES = 1 << 24


def read_configurations(path: Path, space: Space | None) -> list[dict[str, Value]]:
    """Read one JSON object of hyperparameters a line; empty lines are skipped.

    Args:
        space: What they have to lie in; None where that is not known yet.

    Raises:
        SpaceError: With file and line: no JSON object, an unknown hyperparameter, or a value that
            the space does not have.
    """
    # Not splitlines(): it splits at characters that JSON allows in a string.
    lines = read_text(path, _MAX_BYTES).split("\n")
    configurations = [
        _read_line(line, f"{path}:{number}", space)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not configurations:
        raise SpaceError(f"{path}: holds no configuration; write one JSON object a line")
    return configurations


def check_configurations(
    configurations: Iterable[Mapping[str, Any]], space: Space
) -> list[dict[str, Value]]:
    """Return the configurations if they lie in the space.

    Raises:
        SpaceError: With the position, from 0, of the one that does not.
    """
    checked = []
    for number, params in enumerate(configurations):
        if not isinstance(params, Mapping):
            raise SpaceError(f"enqueue[{number}]: is not a mapping of hyperparameters to values")
        try:
            checked.append(space.check(params))
        except SpaceError as error:
            raise SpaceError(f"enqueue[{number}]: {error}") from None
    return checked


def _read_line(line: str, where: str, space: Space | None) -> dict[str, Value]:
    try:
        params = json.loads(line, object_pairs_hook=_no_duplicates)
    except SpaceError as error:
        raise SpaceError(f"{where}: {error}") from None
    except json.JSONDecodeError as error:
        raise SpaceError(f"{where}:{error.colno}: is not JSON: {error.msg}") from None
    except ValueError:  # Python reads no more than 4,300 digits
        raise SpaceError(f"{where}: holds a number of thousands of digits") from None
    except RecursionError:
        raise SpaceError(f"{where}: is nested too deeply") from None
    if not isinstance(params, dict):
        raise SpaceError(f'{where}: is not a JSON object such as {{"lr": 0.001}}')
    try:
        return params if space is None else space.check(params)
    except SpaceError as error:
        raise SpaceError(f"{where}: {error}") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in pairs:
        if name in params:
            raise SpaceError(f"{shown_key(name)}: is there twice")
        params[name] = value
    return params
