"""Types of a table's columns are inferred, and their cells read as numbers."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cotune.data.dataset import Column, ColumnNote
from cotune.data.tables.column_kinds import (
    BOOLEANS,
    TOO_MANY,
    TextKind,
    category_kind,
    is_missing_number,
    read_text_kind,
    values_of,
)
from cotune.data.tables.counters import find_counter
from cotune.data.tables.raw_table import RawTable, is_text
from cotune.data.tables.written_numbers import NumberForm
from cotune.exceptions import DataError
from cotune.text import listed, shorten

UNKNOWN: Final = -1.0
"""The cell of a category that the table had not."""

_MOST_DESCRIPTION: Final = 12 << 20  # bytes of model.json that columns may take
_SHOWN: Final = 5  # remarks in a message


@dataclass(frozen=True)
class Understood:
    """The columns of a table that can be learned from.

    Attributes:
        columns: Their names and kinds.
        cells: ``float64 [rows, columns]``.
        notes: The type of every column, those that are left out too.
        remarks: What is left out or may be otherwise, for people.
    """

    columns: tuple[Column, ...]
    cells: NDArray[np.float64]
    notes: tuple[ColumnNote, ...]
    remarks: list[str]


def understand(
    raw: RawTable,
    names: Sequence[str],
    kinds: Mapping[str, str] | None = None,
    counters: bool = False,
) -> Understood:
    """Infer the types of columns, and read their cells.

    Args:
        names: The columns to read.
        kinds: What their owner says that some are; see
            :data:`~cotune.data.dataset.COLUMN_KINDS`.
        counters: Keep columns that count or name the rows.

    Raises:
        DataError: A cell is not of the kind of its column, dates are ambiguous, or nothing is left
            to learn from.
    """
    kinds = kinds or {}
    columns: list[Column] = []
    values: list[NDArray[np.float64]] = []
    notes: list[ColumnNote] = []
    remarks: list[str] = []
    for place, name in enumerate(names):
        found = _understand(raw, name, kinds.get(name), None if counters else place == 0)
        notes.append(ColumnNote(name, found.column.kind if found.column else "-", found.why))
        if found.remark:
            remarks.append(found.remark)
        if found.column is not None and found.cells is not None:
            columns.append(found.column)
            values.append(found.cells)
    if not columns:
        why = f" ({'; '.join(remarks[:_SHOWN])})" if remarks else ""
        raise DataError(
            f"{raw.where}: has no column to learn from beside the labels{why}; add one of numbers "
            "or categories"
        )
    length = sum(
        250 + 6 * len(column.name) + sum(10 + 6 * len(text) for text in column.categories)
        for column in columns
    )
    if length > _MOST_DESCRIPTION:
        raise DataError(
            f"{raw.where}: {len(columns):,} columns with their texts are more than a model can "
            "keep; leave some out"
        )
    cells = np.empty((len(raw), len(columns)))
    for place, column_values in enumerate(values):
        cells[:, place] = column_values
    return Understood(tuple(columns), cells, tuple(notes), remarks)


@dataclass(frozen=True)
class _Found:
    column: Column | None
    cells: NDArray[np.float64] | None
    why: str
    remark: str = ""


def _understand(raw: RawTable, name: str, wanted: str | None, is_first: bool | None) -> _Found:
    """Infer a column's type and read its cells; or say why it is left out.

    Args:
        wanted: What its owner says.
        is_first: Whether it is the first column; None where counters are kept.
    """
    import pyarrow as pa

    if wanted == "skip":
        return _left_out(name, "as was asked for", "")
    kind = raw.columns[name].type
    is_texts = is_text(kind) or pa.types.is_dictionary(kind)
    if is_texts or wanted == "category":
        found = _of_texts(raw, name, wanted)
    else:
        if wanted in ("date", "day-first", "month-first") and not pa.types.is_temporal(kind):
            raise DataError(f"{raw.where}: column {shorten(name)!r} holds numbers, not dates")
        cells = read_numbers(raw, name)
        if np.isnan(cells).all():
            return _left_out(name, "it has no values", "")
        if pa.types.is_boolean(kind):
            return _Found(Column(name, "boolean"), cells, "")
        if pa.types.is_temporal(kind):
            form = "time" if pa.types.is_time(kind) else "date|year-first"
            if pa.types.is_duration(kind):
                form = ""
            return _Found(Column(name, "number", form=form), cells, "date or time, in seconds")
        found = _Found(Column(name, "number"), cells, "")
    if is_first is None or wanted is not None or found.column is None or found.cells is None:
        return found
    if found.column.kind != "number" or found.column.form.startswith(("date", "time")):
        return found
    counter = find_counter(name, found.cells, is_first)
    if counter is None:
        return found
    certain, why = counter
    if certain:
        return _left_out(name, why, "number")
    return replace(
        found, remark=f"{shorten(name)!r}: {why}; --column {_said(name)}=skip leaves it out"
    )


def _of_texts(raw: RawTable, name: str, wanted: str | None) -> _Found:
    codes, texts = read_texts(raw, name)
    if not texts:
        return _left_out(name, "it has no values", "")
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    if name in raw.categories and wanted is None:
        found = category_kind(texts, counts)
    else:
        found = read_text_kind(texts, counts, decimal_comma=raw.decimal_comma, wanted=wanted)
    if found.kind == "skip" and found.is_date:
        raise DataError(
            f"{raw.where}: column {shorten(name)!r}: {found.why}; say which with --column "
            f"{_said(name)}=day-first or {_said(name)}=month-first"
        )
    if found.kind == "skip":
        return _left_out(name, found.why, "" if found.why == TOO_MANY else "category")
    if found.wrong is not None:
        raise _wrong_cell(raw, name, codes, texts, found)
    remark = ""
    if found.doubt:
        other = "category" if found.kind == "number" else "skip"
        remark = f"{shorten(name)!r}: {found.doubt}; --column {_said(name)}={other} overrides this"
    if found.kind == "category":
        cells = _looked_up(np.arange(len(texts), dtype=float), codes)
        return _Found(Column(name, "category", texts), cells, found.why, remark)
    assert found.numbers is not None
    if found.kind == "boolean":
        return _Found(Column(name, "boolean"), _booleans(raw, name), found.why, remark)
    cells = _checked(raw, name, _looked_up(found.numbers, codes))
    return _Found(Column(name, "number", form=found.form), cells, found.why, remark)


def _left_out(name: str, why: str, keep: str) -> _Found:
    how = f"; --column {_said(name)}={keep} keeps it" if keep else ""
    return _Found(None, None, why, f"{shorten(name)!r} is left out: {why}{how}")


def _said(name: str) -> str:
    """Quote a column's name for a shell."""
    return shlex.quote(shorten(name))


def encode(raw: RawTable, columns: Sequence[Column]) -> NDArray[np.float64]:
    """Return the cells of known columns, ``[rows, columns]``."""
    cells = np.empty((len(raw), len(columns)))
    for place, column in enumerate(columns):
        if column.kind == "category":
            codes, texts = read_texts(raw, column.name)
            place_of = {text: place for place, text in enumerate(column.categories)}
            known = np.array([place_of.get(text, UNKNOWN) for text in texts], float)
            cells[:, place] = _looked_up(known, codes)
        elif column.kind == "boolean":
            cells[:, place] = _booleans(raw, column.name)
        else:
            cells[:, place] = read_numbers(raw, column.name, column.form)
    return cells


def check_columns(
    raw: RawTable,
    expected: Iterable[str],
    known: Iterable[str] | None = None,
    besides: str | None = None,
) -> None:
    """Raise ``DataError`` where expected columns are missing, or others there than the known ones.

    Args:
        known: All columns that may be there; None for any.
        besides: A column that is no difference.
    """
    expected = dict.fromkeys(expected)
    missing = [name for name in expected if name not in raw.columns]
    allowed = {*expected, *(known or ()), besides}
    more = [name for name in raw.columns if name not in allowed]
    if missing or (known is not None and more):
        differences = [
            f"{what}: {listed(names)}"
            for what, names in (("missing", missing), ("not there in training", more))
            if names
        ]
        raise DataError(
            f"{raw.where}: its columns differ from the training data's ({'; '.join(differences)}); "
            "give the same columns"
        )


def read_numbers(raw: RawTable, name: str, form: str = "") -> NDArray[np.float64]:
    """Read a column as numbers, NaN where a cell is missing; dates and times in seconds.

    Args:
        form: How they are written where they are texts; see :class:`~cotune.data.dataset.Column`.
    """
    import pyarrow as pa

    column = raw.columns[name]
    kind = column.type
    if is_text(kind) or pa.types.is_dictionary(kind):
        codes, texts = read_texts(raw, name)
        form = form or str(NumberForm(decimal="," if raw.decimal_comma else "."))
        numbers = values_of(form, texts)
        missing = [is_missing_number(text) for text in texts]
        wrong = np.flatnonzero(np.isnan(numbers) & ~np.array(missing, bool))
        if len(wrong):
            is_date = form.startswith("date")
            kind = TextKind("number", "", wrong=int(wrong[0]), is_date=is_date)
            raise _wrong_cell(raw, name, codes, texts, kind)
        return _checked(raw, name, _looked_up(numbers, codes))
    per_second = 1.0
    if pa.types.is_temporal(kind):
        units = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
        days = {pa.date32(): 1 / 86_400, pa.date64(): 1e3}
        per_second = days.get(kind) or units[kind.unit]
        column = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    values = column.cast(pa.float64(), safe=False).to_numpy() / per_second
    return _checked(raw, name, values)


def _booleans(raw: RawTable, name: str) -> NDArray[np.float64]:
    """Read a column as 0 and 1, NaN where a cell is missing."""
    import pyarrow as pa

    if is_text(raw.columns[name].type) or pa.types.is_dictionary(raw.columns[name].type):
        codes, texts = read_texts(raw, name)
        known = np.array([BOOLEANS.get(text.lower(), math.nan) for text in texts], float)
        values = _looked_up(known, codes)
        wrong = np.flatnonzero(np.isnan(values) & (codes >= 0))
        shown = shorten(texts[codes[wrong[0]]]) if len(wrong) else ""
    else:
        values = read_numbers(raw, name)
        wrong = np.flatnonzero(~np.isin(values, (0.0, 1.0)) & ~np.isnan(values))
        shown = f"{values[wrong[0]]:g}" if len(wrong) else ""
    if len(wrong):
        raise raw.error(
            wrong[0], name, f"{shown!r} is not true or false; fix the cell or leave it empty"
        )
    return values


def read_texts(raw: RawTable, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Read a column as texts: each row's index into the sorted distinct ones, or -1.

    White space around a text does not count.
    """
    import pyarrow as pa

    column = raw.columns[name]
    if pa.types.is_floating(column.type):  # whole numbers that some cells are missing among
        values = column.to_numpy()
        if (np.isnan(values) | (values == np.rint(values))).all():
            column = column.cast(pa.int64(), safe=False)
    if not pa.types.is_dictionary(column.type):
        # in this form Arrow has all it takes, whatever the texts came in
        column = column.cast(pa.large_string()).dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    written = [
        None if text is None or not text.strip() else text.strip()
        for text in column.dictionary.cast(pa.large_string()).to_pylist()
    ]
    occurs = np.zeros(len(written) + 1, bool)
    occurs[codes] = True
    texts = sorted(
        {text for text, it_does in zip(written, occurs, strict=False) if it_does and text}
    )
    place_of: dict[str | None, int] = {text: place for place, text in enumerate(texts)}
    places = np.array([place_of.get(text, -1) for text in written] + [-1])
    return places[codes], tuple(texts)


def _looked_up(values: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ``values[codes]``, NaN where the code is -1."""
    return np.append(values, math.nan)[codes]


def parse_numbers(raw: RawTable, texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the plain numbers that texts are, NaN for those that are none."""
    form = NumberForm(decimal="," if raw.decimal_comma else ".")
    return np.array([form.parse(text) for text in texts], float)


def _wrong_cell(
    raw: RawTable,
    name: str,
    codes: NDArray[np.int64],
    texts: Sequence[str],
    found: TextKind,
) -> DataError:
    row = int(np.flatnonzero(codes == found.wrong)[0])
    what = "date" if found.is_date else "number"
    return raw.error(
        row,
        name,
        f"{shorten(texts[codes[row]])!r} is not a {what}, as the column's other cells are; fix "
        "the cell or leave it empty",
    )


def _checked(raw: RawTable, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values, of which none may be infinite."""
    rows = np.flatnonzero(np.isinf(values))
    if len(rows):
        raise raw.error(
            rows[0], name, f"{values[rows[0]]} is no finite number; fix the cell or leave it empty"
        )
    return values
