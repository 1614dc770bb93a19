"""Decoding of what is read back from the files of a run: plain data becomes typed records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cotune.exceptions import StorageError
from cotune.runs.files import describe_error

T = TypeVar("T")

_KEY = re.compile(r"at `\$\.?(.*)`$")


def decode(data: Any, kind: type[T], path: Path, key: str = "") -> T:
    """Make a record of plain data; keys that the record does not have are left out.

    Args:
        kind: A dataclass.
        path: The file that the data are from.
        key: Where in the file they are.

    Raises:
        StorageError: They are not what the record holds; the message names the file and the key.
    """
    try:
        return msgspec.convert(data, kind, str_keys=True)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter: a lone surrogate
        found = _KEY.search(str(error))
        inner = found[1].replace("[", ".").replace("]", "") if found else ""
        keys = ".".join(part for part in (key, inner) if part)
        raise damaged(path, keys) from error


def damaged(path: Path, key: str = "") -> StorageError:
    """Return the error of a file that does not hold what a run writes there."""
    where = f" ({key})" if key else ""
    return StorageError(f"{path}: is damaged, or not what a run writes there{where}")


def read_json(path: Path) -> Any:
    """Read a JSON file; NaN and the infinities count as numbers.

    Raises:
        StorageError: It cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"{path}: cannot be read: {describe_error(error)}") from error
