"""Preprocessing of tables, which is saved with the model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Self

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from cotune.data.dataset import Column
from cotune.data.memory import new_array
from cotune.data.preprocessing.row_chunks import Finite, NotNegative, check_rows, chunks_of
from cotune.exceptions import DataError
from cotune.text import listed

BOUND: Final = 3.0
"""Numbers end up between minus this and this."""

FAR: Final = 1e3
"""Scaled numbers beyond this are as good as it; their squares are then finite."""

_MOST_KEPT: Final = 254
_SHOWN: Final = 5  # columns named in a warning


@dataclass(frozen=True)
class NumberFeatures:
    """Features of a column of numbers or booleans.

    Attributes:
        center: The median of the training split, which also stands for a missing cell.
        scale: What differences to it are multiplied by; 0 where there is a single value, and so
            no feature.
        missing: Whether another feature tells if the cell is missing.
    """

    center: Finite
    scale: NotNegative
    missing: bool

    @property
    def is_used(self) -> bool:
        """Tell whether the column has a feature."""
        return self.scale > 0 or self.missing


@dataclass(frozen=True)
class CategoryFeatures:
    """Features of a column of categories: one is 1 and the others are 0.

    Attributes:
        kept: Categories with a feature of their own.
        other: Whether the other categories together have one, those that were not known too;
            without it, all features are then 0.
        missing: Whether a missing cell has one; without it, all features are then 0.
    """

    kept: tuple[Annotated[int, Meta(ge=0)], ...]
    other: bool
    missing: bool

    @property
    def is_used(self) -> bool:
        """Tell whether the column has a feature."""
        return bool(self.kept) or self.other


ColumnFeatures = NumberFeatures | CategoryFeatures


@dataclass(frozen=True)
class TablePreprocessing:
    """Numbers scaled and bounded smoothly, and a feature for each category.

    A number x becomes z / sqrt(1 + (z / 3)^2) with z = (x - median) / (interquartile range), or
    half the whole range where the former is 0: it is nearly linear where most values are, and
    keeps those far away within -3 and 3 (Holzmueller, Grinsztajn and Steinwart 2024, "Better by
    Default", section 3). A missing one becomes 0, the median, and another feature tells so.

    A category is one feature that is 1 among others that are 0. Times the weights of the first
    layer that picks one row of them, so that the network learns an embedding of each category.
    Categories seen once, and those beyond the 254 most frequent, share a feature.

    The features are first the numbers, in the order of the columns, then those that tell of
    missing numbers, then those of the categories. Columns that are constant have none.

    Attributes:
        columns: As they are in the table.
        parts: The features of each.
    """

    columns: tuple[Column, ...]
    parts: tuple[ColumnFeatures, ...]

    @property
    def features(self) -> int:
        """Count the values in one row of what :meth:`apply` returns."""
        numbers = self.numbers()
        slots = sum(count for _, _, count in self.slots())
        return (
            sum(part.scale > 0 for _, part in numbers)
            + sum(part.missing for _, part in numbers)
            + slots
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one row as networks see it."""
        return (self.features,)

    def numbers(self) -> list[tuple[int, NumberFeatures]]:
        """Return the columns of numbers and booleans, by their places."""
        return [
            (place, part)
            for place, part in enumerate(self.parts)
            if isinstance(part, NumberFeatures)
        ]

    def slots(self) -> list[tuple[int, NDArray[np.int64], int]]:
        """Return the columns of categories: place, feature of each category, number of features.

        The features are counted from 0 in each column, and -1 is none. Two entries follow those of
        the categories: that of a missing cell, and that of a category that is not known.
        """
        return [
            (place, *_slots(part, len(self.columns[place].categories)))
            for place, part in enumerate(self.parts)
            if isinstance(part, CategoryFeatures)
        ]

    @classmethod
    def fit(
        cls,
        inputs: NDArray[np.generic],
        rows: NDArray[np.int64],
        columns: Sequence[Column],
    ) -> Self:
        """Measure the columns on the given rows alone.

        Warns (``UserWarning``) of columns that have a single value there.

        Args:
            inputs: ``float64 [rows, columns]``.

        Raises:
            DataError: No rows, values that are too large, or no column with two values.
        """
        if len(rows) == 0:
            raise DataError("no rows to measure the columns by; give at least one")
        parts: list[ColumnFeatures] = []
        constant = []
        for place, column in enumerate(columns):
            cells = np.asarray(inputs[rows, place], np.float64)
            part: ColumnFeatures
            if column.kind == "category":
                part = _fit_categories(cells, len(column.categories))
            else:
                part = _fit_numbers(cells, column.name)
            if not part.is_used:
                constant.append(column.name)
            parts.append(part)
        fitted = cls(tuple(columns), tuple(parts))
        if fitted.features == 0:
            raise DataError(
                "no column has two values in the training part, so there is nothing to learn "
                "from; give other columns"
            )
        if constant:
            _warn_of_constants(constant)
        return fitted

    def apply(
        self,
        inputs: NDArray[np.generic],
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Return the features, ``float32 [rows, features]``, contiguous.

        Args:
            inputs: ``float64 [rows, columns]``, NaN where a cell is missing, -1 where a category
                is not known.
            rows: Take these rows in this order; without it, all.

        Raises:
            DataError: Another number of columns, another type, or an infinite cell.
        """
        check_rows(inputs, (len(self.columns),))
        numbers, slots = self.numbers(), self.slots()
        count = len(inputs) if rows is None else len(rows)
        out = new_array((count, self.features), np.float32)
        out.fill(0.0)
        start = 0
        for chunk in chunks_of(inputs, rows):
            cells = chunk.astype(np.float64, copy=False)
            if np.isinf(cells).any():
                row, place = np.argwhere(np.isinf(cells))[0]
                raise DataError(
                    f"row {start + row} (counted from 0), column {self.columns[place].name!r}: "
                    "infinite; fix or drop the row"
                )
            some = out[start : start + len(cells)]
            feature = 0
            for place, part in numbers:
                if part.scale > 0:
                    some[:, feature] = _bounded(cells[:, place], part)
                    feature += 1
            for place, part in numbers:
                if part.missing:
                    some[:, feature] = np.isnan(cells[:, place])
                    feature += 1
            for place, slot_of, count in slots:
                slot = slot_of[_codes(cells[:, place], len(slot_of) - 2)]
                has_one = np.flatnonzero(slot >= 0)
                some[has_one, feature + slot[has_one]] = 1.0
                feature += count
            start += len(cells)
        return out

    def to_json(self) -> dict[str, Any]:
        """Return plain values; ``card.preprocessing_from_json`` restores the same."""
        return {
            "kind": "table",
            "columns": [column.to_json() for column in self.columns],
            "parts": [
                {**asdict(part), "kept": list(part.kept)}
                if isinstance(part, CategoryFeatures)
                else asdict(part)
                for part in self.parts
            ],
        }


def _fit_numbers(cells: NDArray[np.float64], name: str) -> NumberFeatures:
    missing = np.isnan(cells)
    known = cells[~missing]
    if len(known) == 0:
        return NumberFeatures(0.0, 0.0, missing=False)
    with np.errstate(over="ignore", invalid="ignore"):
        low, first, median, third, high = np.quantile(known, [0.0, 0.25, 0.5, 0.75, 1.0])
        spread = third - first if third > first else (high - low) / 2
    if not np.isfinite([low, high, median, spread]).all():
        raise DataError(
            f"column {name!r}: values too large or not finite to be scaled; rescale or drop them"
        )
    with np.errstate(divide="ignore", over="ignore"):
        scale = np.float64(1.0) / spread
    # a spread that is nearly 0 is as good as none
    usable = spread > 0 and np.isfinite(scale)
    return NumberFeatures(float(median), float(scale) if usable else 0.0, bool(missing.any()))


def _fit_categories(cells: NDArray[np.float64], n_categories: int) -> CategoryFeatures:
    missing = np.isnan(cells)
    counts = np.bincount(cells[~missing].astype(np.int64), minlength=n_categories)
    frequent = np.argsort(-counts, kind="stable")[:_MOST_KEPT]
    kept = sorted(int(code) for code in frequent if counts[code] > 1)
    other = bool(counts.sum() > counts[kept].sum())
    if len(kept) + other + bool(missing.any()) < 2:
        return CategoryFeatures((), other=False, missing=False)
    return CategoryFeatures(tuple(kept), other, bool(missing.any()))


def _slots(part: CategoryFeatures, n_categories: int) -> tuple[NDArray[np.int64], int]:
    """Return the feature of each category, of a missing cell and of an unknown one, -1 for none.

    And how many features there are.
    """
    count = len(part.kept)
    slot_of = np.full(n_categories + 2, -1)
    if part.other:
        slot_of[:] = count
        count += 1
    slot_of[list(part.kept)] = range(len(part.kept))
    slot_of[n_categories] = count if part.missing else -1
    return slot_of, count + part.missing


def _bounded(cells: NDArray[np.float64], part: NumberFeatures) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        scaled = (cells - part.center) * part.scale
    scaled = np.where(np.isnan(cells), 0.0, np.clip(scaled, -FAR, FAR))
    result: NDArray[np.float64] = scaled / np.sqrt(1.0 + np.square(scaled / BOUND))
    return result


def _codes(cells: NDArray[np.float64], n_categories: int) -> NDArray[np.int64]:
    """Return indices of categories, ``n_categories`` where missing, one more where unknown."""
    known = (cells >= 0) & (cells < n_categories)
    others = np.where(np.isnan(cells), n_categories, n_categories + 1)
    return np.where(known, cells, others).astype(np.int64)


def _warn_of_constants(names: Sequence[str]) -> None:
    shown = listed([repr(name) for name in names], _SHOWN)
    what = f"column {shown} has" if len(names) == 1 else f"columns {shown} have"
    warnings.warn(
        f"{what} a single value in the training part, so nothing to learn from: left out",
        UserWarning,
        stacklevel=3,
    )
