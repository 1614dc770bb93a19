"""Preprocessings read back from the description of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from cotune.data.dataset import Column
from cotune.data.preprocessing.preprocess import Preprocessing, Standardize
from cotune.data.preprocessing.raw_rows import RawRows
from cotune.data.preprocessing.table_preprocess import (
    CategoryFeatures,
    ColumnFeatures,
    NumberFeatures,
    TablePreprocessing,
)
from cotune.data.tables.column_kinds import check_form
from cotune.exceptions import ModelFileError

T = TypeVar("T")


def preprocessing_from_json(data: Any) -> Preprocessing:
    """Restore a preprocessing, bit for bit.

    Raises:
        ModelFileError: The data are not what its ``to_json`` writes.
    """
    if not isinstance(data, dict) or "kind" not in data:
        raise _damaged("a mapping with its kind expected")
    if data.get("kind") not in [*_READERS]:
        raise ModelFileError("preprocessing.kind: is unknown; a newer Cotune may read it")
    made = _READERS[data["kind"]](data)
    if made.to_json() != data:
        raise _damaged("has other keys than a model writes")
    return made


def _read_standardize(data: Any) -> Standardize:
    made = _convert(data, Standardize)
    shape, axis = made.input_shape, made.axis
    if axis is not None and not axis < len(shape) > 1:
        raise _damaged("the place of an axis expected", "axis")
    length = shape[axis or 0] if len(shape) == 1 or axis is not None else None
    _check_length(made.mean, length, "mean")
    _check_length(made.std, length, "std")
    return made


def _read_raw(data: Any) -> RawRows:
    made = _convert(data, RawRows)
    length = made.input_shape[0] if len(made.input_shape) == 1 else None
    for key, bounds in (("low", made.low), ("high", made.high)):
        _check_length(bounds, length, key)
        several = bounds if isinstance(bounds, tuple) else (bounds,)
        if made.dtype == "int64" and not all(isinstance(bound, int) for bound in several):
            raise _damaged("whole numbers expected", key)
    _check_columns(made.columns)
    if made.columns and made.input_shape != (len(made.columns),):
        raise _damaged("one for each value of a row expected", "columns")
    return made


def _read_table(data: Any) -> TablePreprocessing:
    columns = _convert(data.get("columns"), tuple[Column, ...], "columns")
    _check_columns(columns)
    several = _convert(data.get("parts"), list[Any], "parts")
    if len(several) != len(columns):
        raise _damaged("as many columns as parts expected")
    parts: list[ColumnFeatures] = []
    for i, (part, column) in enumerate(zip(several, columns, strict=True)):
        if column.kind == "category":
            features = _convert(part, CategoryFeatures, f"parts[{i}]")
            kept = features.kept
            if len(set(kept)) < len(kept) or max(kept, default=0) >= len(column.categories):
                raise _damaged("distinct categories expected", f"parts[{i}].kept")
            parts.append(features)
        else:
            parts.append(_convert(part, NumberFeatures, f"parts[{i}]"))
    made = TablePreprocessing(columns, tuple(parts))
    if made.features == 0:
        raise _damaged("no column has a feature", "parts")
    return made


_READERS: Final[dict[str, Callable[[Any], Preprocessing]]] = {
    "standardize": _read_standardize,
    "raw": _read_raw,
    "table": _read_table,
}


def _convert(data: Any, kind: type[T], key: str = "") -> T:
    """Make plain data what they should be; an error names the key in them, below ``key``."""
    try:
        return msgspec.convert(data, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter: a lone surrogate
        problem, _, place = str(error).replace("`", "").partition(" - at $")
        raise _damaged(problem, f"{key}{place}".strip(".")) from None


def _check_length(value: object, length: int | None, key: str) -> None:
    if (len(value) if isinstance(value, tuple) else None) != length:
        raise _damaged(f"{'a number' if length is None else f'{length} numbers'} expected", key)


def _check_columns(columns: tuple[Column, ...]) -> None:
    if len({column.name for column in columns}) < len(columns):
        raise _damaged("two have the same name", "columns")
    for i, column in enumerate(columns):
        texts = column.categories
        if len(set(texts)) < len(texts) or bool(texts) != (column.kind == "category"):
            raise _damaged("the distinct texts of its categories expected", f"columns[{i}]")
        try:
            check_form(column.form)
        except ValueError:
            raise _damaged("a known form expected", f"columns[{i}]") from None


def _damaged(problem: str, key: str = "") -> ModelFileError:
    """Return the error of a description that is not as a model writes it.

    Args:
        key: Of what is wrong; "" for the whole.
    """
    where = f"preprocessing.{key}" if key else "preprocessing"
    return ModelFileError(f"{where}: {problem}; export the model again")
