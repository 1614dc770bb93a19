"""Rows and images in the body of an HTTP request, read as `cotune predict` reads them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any, Final

import numpy as np

from cotune.data.readers.objects import to_array
from cotune.exceptions import DataError, writing
from cotune.inference.predict import NewRows, Predictor, read_rows
from cotune.text import listed, one_line, shorten

_PICTURES: Final = ("png", "jpeg", "webp", "gif", "bmp", "tiff")
_FILES: Final = {
    "text/csv": "rows.csv",
    "text/tab-separated-values": "rows.tsv",
    "application/x-npy": "rows.npy",
    **{f"image/{name}": f"image.{name}" for name in _PICTURES},
}
"""What a body of each type is called in messages. Formats that unpack to far more than was sent
are not among them."""

_TYPES: Final = {
    **{Path(name).suffix: kind for kind, name in _FILES.items()},
    ".jpg": "image/jpeg",
    ".tif": "image/tiff",
    ".json": "application/json",
}
"""Media types by a file's ending: few clients know that of a CSV file."""

_KNOWN: Final = (
    "send application/json, text/csv, image/png, image/jpeg, application/x-npy, or one of these as "
    "a file of multipart/form-data"
)
_FORM: Final = "multipart/form-data"
_JSON: Final = "application/json"
_MOST_CELLS: Final = 10_000_000  # of rows in JSON that leave most columns out


class UnknownType(DataError):
    """A body is of a media type that is not read."""


class TooManyRows(DataError):
    """A body holds more rows than are predicted at a time."""


def read_body(model: Predictor, content: bytes, headers: Message, most: int) -> NewRows:
    """Read the rows that a request asks about.

    Args:
        headers: Its own, with the Content-Type.
        most: Rows that it may have.

    Raises:
        UnknownType, TooManyRows: See there.
        DataError: They cannot be read, or are not of the model's columns or shape.
    """
    parts = [(headers.get_content_type(), content)]
    if parts[0][0] == _FORM:
        parts = _parts(content, headers)
    for kind, _ in parts:
        if kind != _JSON and kind not in _FILES:
            raise UnknownType(f"{shorten(kind)}: is not read; {_KNOWN}")
    _check_count(len(parts), most)
    if len(parts) == 1 and parts[0][0] == _JSON:
        data = _from_json(parts[0][1], _columns(model), most)
        rows = read_rows(model, data)
    else:
        rows = _read_files(model, parts)
    _check_count(len(rows.inputs), most)
    return rows


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise TooManyRows(f"{count:,} rows are more than the {most:,} of a request; send fewer")


def _columns(model: Predictor) -> list[str]:
    return [column.name for column in model.preprocessing.columns]


def _read_files(model: Predictor, parts: Sequence[tuple[str, bytes]]) -> NewRows:
    """Read a file, or several images, by the readers of files."""
    names = [_FILES.get(kind, "rows.json") for kind, _ in parts]
    if len(parts) > 1:
        if not all(kind.startswith("image/") for kind, _ in parts):
            raise DataError("several files that are not all images; send one, or images")
        names = [f"image-{i:06}{Path(name).suffix}" for i, name in enumerate(names)]
    with tempfile.TemporaryDirectory(prefix="cotune-") as folder:
        with writing(Path(folder)):
            for name, (_, content) in zip(names, parts, strict=True):
                Path(folder, name).write_bytes(content)
        try:
            return read_rows(model, Path(folder, names[0]) if len(parts) == 1 else Path(folder))
        except DataError as error:
            told = str(error).replace(f"{folder}/", "").replace(folder, "images")
            raise DataError(told) from error


def _parts(content: bytes, headers: Message) -> list[tuple[str, bytes]]:
    """Return the media type and the content of each file in a form (RFC 7578)."""
    boundary = headers.get_boundary("").encode("latin-1", "replace")
    pieces = (b"\r\n" + content).split(b"\r\n--" + boundary) if boundary else []
    found = []
    for piece in pieces[1:-1]:
        head, _, body = piece.partition(b"\r\n\r\n")
        part = BytesHeaderParser().parsebytes(head.lstrip())
        if name := part.get_filename():
            kind = part.get_content_type()
            found.append((_TYPES.get(Path(name).suffix.lower(), kind), body))
    if not found:
        raise DataError("the form has no file in it; add one as curl -F file=@FILE does")
    return found


# JSON


def _from_json(content: bytes, columns: Sequence[str], most: int) -> Any:
    """Return a table of rows that have names, or an array.

    Args:
        columns: The model's; none where its rows have no names.
    """
    try:
        rows = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the body is not JSON: {one_line(error)}") from error
    rows = [rows] if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not rows:
        raise DataError("the body is no list of rows; give at least one")
    _check_count(len(rows), most)
    kinds = {type(row) for row in rows}
    if kinds == {list} and not columns:
        return to_array(rows, "the rows")
    if kinds == {list}:
        for i, row in enumerate(rows):
            if len(row) != len(columns):
                raise DataError(
                    f"row {i} (counted from 0): {len(row):,} cells, the model was trained on "
                    f"{len(columns):,} columns: {listed(columns)}"
                )
        return _table([dict(zip(columns, row, strict=True)) for row in rows], columns)
    if kinds != {dict}:
        raise DataError("the rows are not all objects, or all lists; give rows of one kind")
    names = [name for name in columns or rows[0] if any(name in row for row in rows)]
    if not names:
        raise DataError(f"the rows have none of the columns {listed(columns)}")
    return _table(rows, names)


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON; null is a missing value")


def _table(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Any:
    """Return named cells as an Arrow table."""
    import pyarrow as pa

    if len(rows) * len(names) > _MOST_CELLS:
        raise TooManyRows(f"{len(rows) * len(names):,} cells are too many; send fewer rows")
    try:
        return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in names})
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise DataError(f"the rows cannot be read: {one_line(error)}") from error


def _column(name: str, cells: list[Any]) -> Any:
    """Return a column: booleans, numbers, or texts, where some of its cells are texts."""
    import pyarrow as pa

    kinds = {type(cell) for cell in cells if cell is not None}
    if odd := kinds - {bool, int, float, str}:
        row = next(i for i, cell in enumerate(cells) if type(cell) in odd)
        raise DataError(
            f"row {row} (counted from 0): {shorten(name)!r} is a list or an object; give a number, "
            "a text, true, false or null"
        )
    if kinds <= {bool}:
        return pa.array(cells, pa.bool_())
    if str not in kinds:
        return pa.array(np.array(cells, np.float64), from_pandas=True)
    return pa.array([cell if cell is None else _text(cell) for cell in cells], pa.string())


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell)
