"""What the columns of a table are, and their cells as numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cotune.data.csv_file import MISSING
from cotune.data.dataset import Column
from cotune.data.raw_table import RawTable, is_text, listed, shorten
from cotune.exceptions import DataError

LONGEST_TEXT: Final = 200
"""Characters of a category or class; a longer text is none."""

UNKNOWN: Final = -1.0
"""The cell of a category that the table had not."""

_MOSTLY: Final = 0.75  # share of numbers that makes a column one of numbers with an error in it
_MOST_CATEGORIES: Final = 10_000
_MOST_DESCRIPTION: Final = 12 << 20  # bytes of model.json that columns may take
_SHOWN: Final = 5  # remarks in a message

_NUMBER: Final = re.compile(
    r"[+-]?((\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?|inf|infinity)", re.I | re.A
)
_GROUPED: Final = re.compile(
    r"[+-]?(\d+,\d+|\d{1,3}(\.\d{3})+(,\d+)?|\d{1,3}(,\d{3})+(\.\d+)?)", re.A
)  # a decimal comma, or what thousands are parted by
_BOOLEANS: Final = {"true": 1.0, "false": 0.0}


def understand(
    raw: RawTable, names: Sequence[str]
) -> tuple[tuple[Column, ...], NDArray[np.float64], list[str]]:
    """The columns that can be learned from, their cells ``[rows, columns]``, and remarks."""
    columns: list[Column] = []
    values: list[NDArray[np.float64]] = []
    remarks: list[str] = []
    for name in names:
        understood = _understand(raw, name)
        if isinstance(understood, str):
            remarks.append(f"{shorten(name)!r} is left out: {understood}")
        else:
            columns.append(understood[0])
            values.append(understood[1])
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
    return tuple(columns), cells, remarks


def _understand(raw: RawTable, name: str) -> tuple[Column, NDArray[np.float64]] | str:
    """What a column is and its cells; or why it is left out."""
    import pyarrow as pa

    kind = raw.columns[name].type
    if not is_text(kind) and not pa.types.is_dictionary(kind):
        values = read_numbers(raw, name)
        if np.isnan(values).all():
            return "it has no values"
        return Column(name, "boolean" if pa.types.is_boolean(kind) else "number"), values
    codes, texts = read_texts(raw, name)
    if not texts:
        return "it has no values"
    if name not in raw.categories:
        numbers = parse_numbers(raw, texts)
        if not np.isnan(numbers).any():
            return Column(name, "number"), _checked(raw, name, _looked_up(numbers, codes))
        if all(text.lower() in _BOOLEANS for text in texts):
            return Column(name, "boolean"), _booleans(raw, name)
        share = np.isfinite(numbers)[codes[codes >= 0]].mean()
        if share >= _MOSTLY:
            raise _no_number(raw, name, codes, texts, numbers)
    is_id = len(texts) == np.count_nonzero(codes >= 0)
    if is_id or len(texts) > _MOST_CATEGORIES:
        _check_not_grouped(raw, name, codes, texts)
    if is_id:
        return "its texts are all different, as ids are"
    if len(texts) > _MOST_CATEGORIES or max(map(len, texts)) > LONGEST_TEXT:
        return "its texts are too many or too long to be categories"
    return Column(name, "category", texts), _looked_up(np.arange(len(texts), dtype=float), codes)


def encode(raw: RawTable, columns: Sequence[Column]) -> NDArray[np.float64]:
    """The cells of known columns, ``[rows, columns]``."""
    cells = np.empty((len(raw), len(columns)))
    encoders = {"number": read_numbers, "boolean": _booleans}
    for place, column in enumerate(columns):
        if column.kind == "category":
            codes, texts = read_texts(raw, column.name)
            place_of = {text: place for place, text in enumerate(column.categories)}
            known = np.array([place_of.get(text, UNKNOWN) for text in texts], float)
            cells[:, place] = _looked_up(known, codes)
        else:
            cells[:, place] = encoders[column.kind](raw, column.name)
    return cells


def check_columns(
    raw: RawTable, expected: Iterable[str], unknown: bool = False, besides: str | None = None
) -> None:
    """Raise ``DataError`` where expected columns are missing or, with ``unknown``, others there."""
    expected = dict.fromkeys(expected)
    missing = [name for name in expected if name not in raw.columns]
    more = [name for name in raw.columns if name not in expected and name != besides]
    if missing or (unknown and more):
        differences = [
            f"{what}: {listed(names)}"
            for what, names in (("missing", missing), ("not there in training", more))
            if names
        ]
        raise DataError(
            f"{raw.where}: its columns differ from the training data's ({'; '.join(differences)}); "
            "give the same columns"
        )


def read_numbers(raw: RawTable, name: str) -> NDArray[np.float64]:
    """A column as numbers, NaN where a cell is missing; dates and times in seconds."""
    import pyarrow as pa

    column = raw.columns[name]
    kind = column.type
    if is_text(kind) or pa.types.is_dictionary(kind):
        codes, texts = read_texts(raw, name)
        numbers = parse_numbers(raw, texts)
        if np.isnan(numbers).any():
            raise _no_number(raw, name, codes, texts, numbers)
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
    """A column as 0 and 1, NaN where a cell is missing."""
    import pyarrow as pa

    if is_text(raw.columns[name].type) or pa.types.is_dictionary(raw.columns[name].type):
        codes, texts = read_texts(raw, name)
        known = np.array([_BOOLEANS.get(text.lower(), math.nan) for text in texts], float)
        values = _looked_up(known, codes)
        wrong = np.flatnonzero(np.isnan(values) & (codes >= 0))
        shown = shorten(texts[codes[wrong[0]]]) if len(wrong) else ""
    else:
        values = read_numbers(raw, name)
        wrong = np.flatnonzero(~np.isin(values, (0.0, 1.0)) & ~np.isnan(values))
        shown = f"{values[wrong[0]]:g}" if len(wrong) else ""
    if len(wrong):
        raise raw.error(
            wrong[0], name, f"{shown!r} is not true or false; mend the cell or leave it empty"
        )
    return values


def read_texts(raw: RawTable, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """A column as texts: for each row an index into the distinct ones, which are sorted, or -1.

    White space around a text does not count.
    """
    import pyarrow as pa

    column = raw.columns[name]
    if not pa.types.is_dictionary(column.type):
        # in this form Arrow has all it takes, whatever the texts came in
        column = column.cast(pa.large_string()).dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    written = [
        None if text is None or text.strip() in MISSING else text.strip()
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
    """``values[codes]``, NaN where the code is -1."""
    return np.append(values, math.nan)[codes]


def parse_numbers(raw: RawTable, texts: Sequence[str]) -> NDArray[np.float64]:
    """The numbers that texts are, NaN for those that are none."""
    numbers = np.full(len(texts), math.nan)
    for place, text in enumerate(texts):
        if _NUMBER.fullmatch(text) and (raw.decimal_comma or "," not in text):
            numbers[place] = float(text.replace(",", "."))
    return numbers


def _no_number(
    raw: RawTable,
    name: str,
    codes: NDArray[np.int64],
    texts: Sequence[str],
    numbers: NDArray[np.float64],
) -> DataError:
    row = int(np.flatnonzero(np.append(np.isnan(numbers), False)[codes])[0])
    return raw.error(
        row,
        name,
        f"{shorten(texts[codes[row]])!r} is not a number, as the column's other cells are; mend "
        "the cell or leave it empty",
    )


def _check_not_grouped(
    raw: RawTable, name: str, codes: NDArray[np.int64], texts: Sequence[str]
) -> None:
    """Raise ``DataError`` where most texts are numbers as people write them."""
    grouped = [_GROUPED.fullmatch(text) is not None for text in texts]
    numbers = [
        bool(_NUMBER.fullmatch(text)) or one for text, one in zip(texts, grouped, strict=True)
    ]
    if any(grouped) and np.mean(numbers) >= _MOSTLY:
        row = int(np.flatnonzero(np.append(grouped, False)[codes])[0])
        raise raw.error(
            row,
            name,
            f"{shorten(texts[codes[row]])!r} is not a number as they are read; write 1234.5, "
            "without thousands apart, or 1234,5 in a file with semicolons",
        )


def _checked(raw: RawTable, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values, of which none may be infinite."""
    rows = np.flatnonzero(np.isinf(values))
    if len(rows):
        raise raw.error(
            rows[0], name, f"{values[rows[0]]} is no finite number; mend the cell or leave it empty"
        )
    return values
