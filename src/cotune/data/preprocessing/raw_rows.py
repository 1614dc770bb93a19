"""Rows that networks get as they are: token ids as whole numbers, and what its owner scaled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from cotune.data.dataset import Column
from cotune.data.memory import new_array
from cotune.data.preprocessing.row_chunks import Finite, Shape, check_rows, chunks_of
from cotune.exceptions import DataError, UsageError

Dtype = Literal["int64", "float32"]

_Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Bounds = Finite | _Whole | tuple[Finite | _Whole, ...]


@dataclass(frozen=True)
class RawRows:
    """Unchanged values, converted to a type that networks take.

    Attributes:
        dtype: ``int64``, of whole numbers, or ``float32``.
        low, high: The least and the greatest value of the training split: of rows of one axis one
            a feature, of others one for all.
        input_shape: Shape of one row.
        columns: Of a table whose columns are all numbers.
    """

    dtype: Dtype
    low: Bounds
    high: Bounds
    input_shape: Shape
    columns: tuple[Column, ...] = ()

    @property
    def features(self) -> int:
        """Count the values in one row."""
        return math.prod(self.input_shape)

    @classmethod
    def fit(
        cls,
        inputs: NDArray[np.generic],
        rows: NDArray[np.int64],
        dtype: Dtype,
        columns: Sequence[Column] = (),
    ) -> Self:
        """Measure the range of the given rows.

        Raises:
            DataError: No rows, or whole numbers that no ``int64`` holds.
            UsageError: A column of a table holds categories, or has missing cells.
        """
        if len(rows) == 0:
            raise DataError("no rows to measure; give at least one")
        _check_columns(inputs, rows, columns)
        axis = 0 if inputs.ndim == 2 else None
        parts = [(some.min(axis), some.max(axis)) for some in chunks_of(inputs, rows)]
        low = np.min([least for least, _ in parts], axis=0)
        high = np.max([most for _, most in parts], axis=0)
        if dtype == "int64" and np.max(high) > np.iinfo(np.int64).max:
            raise DataError(
                f"the rows hold {np.max(high)}, for which int64 is too small; give less"
            )
        kind = np.int64 if dtype == "int64" else np.float64
        shape = tuple(inputs.shape[1:])
        return cls(dtype, _plain(low.astype(kind)), _plain(high.astype(kind)), shape, (*columns,))

    def apply(
        self,
        inputs: NDArray[np.generic],
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[Any]:
        """Return the rows, ``int64`` or ``float32 [rows, features]``, contiguous.

        Args:
            inputs: ``[rows, *input_shape]``.
            rows: Take these rows in this order; without it, all.

        Raises:
            DataError: The rows have another shape, hold no numbers, or one that the type has no
                place for: not finite, too large, or not whole.
        """
        check_rows(inputs, self.input_shape)
        count = len(inputs) if rows is None else len(rows)
        out = new_array((count, self.features), self.dtype)
        start = 0
        for some in chunks_of(inputs, rows):
            with np.errstate(over="ignore", invalid="ignore"):
                converted = some.astype(self.dtype)
                kept = np.isfinite(converted) if self.dtype == "float32" else converted == some
            if not kept.all():
                row, feature = np.argwhere(~kept)[0]
                problem = "not finite, or too large" if self.dtype == "float32" else "not whole"
                raise DataError(
                    f"row {start + row}, feature {feature} (counted from 0): "
                    f"{some[row, feature]} is {problem}; fix or drop the row"
                )
            out[start : start + len(some)] = converted
            start += len(some)
        return out

    def check_whole(self, rows: NDArray[np.generic], start: int = 0) -> None:
        """Make sure that rows hold whole numbers where the network gets such.

        Args:
            rows: ``[some, *input_shape]``.
            start: The place of the first, for the message.

        Raises:
            DataError: One does not.
        """
        if self.dtype == "int64" and rows.dtype.kind == "f":
            wrong = np.argwhere(~(np.asarray(rows) == np.rint(rows)))
            if len(wrong):
                raise DataError(
                    f"row {start + wrong[0][0]} (counted from 0): {rows[tuple(wrong[0])]} is not "
                    "whole, and the network looks up whole numbers; fix or drop the row"
                )

    def to_json(self) -> dict[str, Any]:
        """Return plain values; ``card.preprocessing_from_json`` restores the same."""
        return {
            "kind": "raw",
            "dtype": self.dtype,
            "low": list(self.low) if isinstance(self.low, tuple) else self.low,
            "high": list(self.high) if isinstance(self.high, tuple) else self.high,
            "input_shape": list(self.input_shape),
            "columns": [column.to_json() for column in self.columns],
        }


def _check_columns(
    inputs: NDArray[np.generic], rows: NDArray[np.int64], columns: Sequence[Column]
) -> None:
    for place, column in enumerate(columns):
        problem = ""
        if column.kind == "category":
            problem = "holds categories"
        elif np.isnan(np.asarray(inputs[rows, place], np.float64)).any():
            problem = "has missing cells"
        if problem:
            raise UsageError(
                f"inputs: column {column.name!r} {problem}, so it cannot be given raw; leave it "
                "out, or leave --inputs at auto"
            )


def _plain(values: NDArray[Any]) -> Bounds:
    bounds: Bounds = tuple(values.tolist()) if values.ndim else values.item()
    return bounds
