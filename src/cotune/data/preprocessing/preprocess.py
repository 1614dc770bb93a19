"""Preprocessing of arrays, which is saved with the model; splitting and preparing datasets."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from cotune.data.checks import check_learnable
from cotune.data.dataset import Column, Dataset, TrainingData
from cotune.data.memory import new_array
from cotune.data.preprocessing.channels import find_channels
from cotune.data.preprocessing.raw_rows import RawRows
from cotune.data.preprocessing.row_chunks import Finite, Positive, Shape, check_rows, chunks_of
from cotune.data.preprocessing.table_preprocess import TablePreprocessing
from cotune.data.preprocessing.treatment import Treatment, rows_to_try
from cotune.data.splits import further_folds, stratified_split
from cotune.exceptions import DataError
from cotune.text import listed

_SCALED_BY = 1024  # rows by which those are scaled that a network is tried with
_AUTO = Treatment()


@dataclass(frozen=True)
class Standardize:
    """Standardization by mean and standard deviation of the training split.

    Images (rows of two dimensions or more) have one mean and deviation over all pixels, or one
    for each channel; tables have one per feature.

    Attributes:
        mean: A number, or one per feature or channel.
        std: As ``mean``; positive. It is 1 where the training split has a single value.
        input_shape: Shape of one row.
        axis: Of the channels in a row; None where there are none.
    """

    mean: Finite | tuple[Finite, ...]
    std: Positive | tuple[Positive, ...]
    input_shape: Shape
    axis: Annotated[int, Meta(ge=0)] | None = None

    @property
    def features(self) -> int:
        """Count the values in one row."""
        return math.prod(self.input_shape)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return none: the rows are no table's, whose columns have names and types."""
        return ()

    @classmethod
    def fit(
        cls, inputs: NDArray[np.generic], rows: NDArray[np.int64], axis: int | None = None
    ) -> Self:
        """Measure mean and deviation on the given rows alone.

        Warns (``UserWarning``) of features that have a single value there.

        Args:
            inputs: ``[rows, ...]``.
            axis: Of the channels in a row of two dimensions or more.

        Raises:
            DataError: No rows, or values too large (or not finite) to take a mean of.
        """
        if len(rows) == 0:
            raise DataError("no rows to standardize by; give at least one")
        shape = tuple(inputs.shape[1:])
        over = 0 if len(shape) == 1 or axis is not None else None
        count = len(rows) * (1 if len(shape) == 1 else math.prod(shape))
        if axis is not None:
            count //= shape[axis]
        with np.errstate(over="ignore", invalid="ignore"):
            total, low, high = np.float64(0), np.float64(np.inf), np.float64(-np.inf)
            for chunk in _chunks(inputs, rows):
                total = total + chunk.sum(axis=over)
                low = np.minimum(low, chunk.min(axis=over))
                high = np.maximum(high, chunk.max(axis=over))
            if axis is not None:
                total = _of_channels(total, shape, axis).sum(1)
                low = _of_channels(low, shape, axis).min(1)
                high = _of_channels(high, shape, axis).max(1)
            mean = total / count
            center = mean if axis is None else _to_features(mean, shape, axis)
            squares = np.float64(0)
            for chunk in _chunks(inputs, rows):
                chunk -= center
                squares = squares + np.square(chunk, out=chunk).sum(axis=over)
            if axis is not None:
                squares = _of_channels(squares, shape, axis).sum(1)
            std = np.sqrt(squares / count)
        usable = np.isfinite(mean) & np.isfinite(std)
        if not usable.all():
            what = "feature" if axis is None else "channel"
            where = "the pixels" if over is None else f"{what} {np.flatnonzero(~usable)[0]}"
            raise DataError(
                f"{where}: values too large or not finite, so without a mean; rescale or drop them"
            )
        # a deviation that underflows to 0 is as good as none
        constant = np.atleast_1d((low == high) | (std == 0))
        if constant.any():
            what = "feature" if axis is None else "channel"
            _warn_of_constants(constant, "" if over is None else what)
        std = np.where(constant, 1.0, std)
        if over is None:
            return cls(float(mean), float(std[0]), shape)
        return cls(tuple(np.atleast_1d(mean).tolist()), tuple(std.tolist()), shape, axis)

    def scales(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and deviation of each value of a row, ``[features]``, or one for all."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        if self.axis is None:
            return mean, std
        return tuple(_to_features(one, self.input_shape, self.axis) for one in (mean, std))  # type: ignore[return-value]

    def apply(
        self,
        inputs: NDArray[np.generic],
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Return standardized inputs, ``float32 [rows, features]``, contiguous.

        Args:
            inputs: ``[rows, *input_shape]``.
            rows: Take these rows in this order; without it, all.

        Raises:
            DataError: The rows have another shape than the ones it was fitted on, hold no
                numbers, or hold one that is not finite once standardized.
        """
        check_rows(inputs, self.input_shape)
        mean, std = self.scales()
        out = new_array((len(inputs) if rows is None else len(rows), self.features), np.float32)
        start = 0
        for chunk in _chunks(inputs, rows):
            chunk -= mean
            scaled = out[start : start + len(chunk)]
            with np.errstate(over="ignore", invalid="ignore"):
                np.divide(chunk, std, out=scaled, casting="same_kind")
            if inputs.dtype.kind == "f" and not np.isfinite(scaled).all():
                row, feature = np.argwhere(~np.isfinite(scaled))[0]
                raise DataError(
                    f"row {start + row}, feature {feature} (counted from 0): not finite, or too "
                    "large beside the training data; fix or drop the row"
                )
            start += len(chunk)
        return out

    def to_json(self) -> dict[str, Any]:
        """Return lists and numbers; ``card.preprocessing_from_json`` restores the same."""
        return {
            "kind": "standardize",
            "mean": list(self.mean) if isinstance(self.mean, tuple) else self.mean,
            "std": list(self.std) if isinstance(self.std, tuple) else self.std,
            "input_shape": list(self.input_shape),
            **({} if self.axis is None else {"axis": self.axis}),
        }


Preprocessing = Standardize | TablePreprocessing | RawRows
"""Preprocessing of a table with named columns, of other arrays, or none."""


def fit_preprocessing(
    dataset: Dataset, rows: NDArray[np.int64], treatment: Treatment
) -> Preprocessing:
    """Fit the preprocessing on the given rows alone.

    Warns (``UserWarning``) of features that have a single value there.

    Raises:
        DataError: Values are too large, or there is nothing to learn from.
        UsageError: A table's columns cannot be given raw.
    """
    if treatment.dtype is not None:
        return RawRows.fit(dataset.inputs, rows, treatment.dtype, dataset.columns)
    if dataset.columns:
        return TablePreprocessing.fit(dataset.inputs, rows, dataset.columns)
    axis = find_channels(dataset.inputs, treatment.channels)
    return Standardize.fit(dataset.inputs, rows, axis)


def is_series(dataset: Dataset, treatment: Treatment) -> bool:
    """Tell whether rows of two axes have channels, and so are no images to be augmented."""
    if dataset.columns or len(dataset.input_shape) != 2:
        return False
    return find_channels(dataset.inputs, treatment.channels) is not None


def prepare(
    dataset: Dataset,
    *,
    validation: float = 0.2,
    seed: int,
    treatment: Treatment = _AUTO,
) -> tuple[TrainingData, Preprocessing]:
    """Split a dataset, preprocess it by its training split, and lay it out for engines.

    Args:
        dataset: What to tune on; its test set is not opened.
        validation: Share of the rows in the validation split, which is stratified by class.
        seed: Decides the split.
        treatment: What is to be done to the rows; by default they are standardized.

    Returns:
        Rows with the training split first, each part in the dataset's order; and what was done to
        the inputs.

    Raises:
        DataError: The dataset cannot be learned from (see :func:`check_learnable`).
        UsageError: ``validation`` is not between 0 and 1, or a table's columns cannot be given raw.
    """
    check_learnable(dataset)
    train, held_out = stratified_split(
        dataset.labels, validation, seed, classes=dataset.classes, name=dataset.name
    )
    preprocessing = fit_preprocessing(dataset, train, treatment)
    order = np.concatenate((train, held_out))
    return TrainingData(
        inputs=preprocessing.apply(dataset.inputs, order),
        labels=dataset.labels[order],
        n_train=len(train),
        n_classes=len(dataset.classes),
        input_shape=preprocessing.input_shape,
        fold_of=further_folds(dataset.labels[train], len(held_out), seed),
        order=order,
    ), preprocessing


def sample_rows(
    dataset: Dataset, validation: float, seed: int, treatment: Treatment
) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Preprocess a few rows to try a network with; return them and the shape of one.

    Those of arrays are scaled by a part of the rows; nothing is trained on them.

    Args:
        validation, seed, treatment: As for :func:`prepare`.

    Returns:
        ``[some, features]``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they come where it is prepared
        if dataset.columns:
            train, _ = stratified_split(
                dataset.labels, validation, seed, classes=dataset.classes, name=dataset.name
            )
        else:
            train = np.linspace(0, len(dataset) - 1, min(len(dataset), _SCALED_BY)).astype(np.int64)
        preprocessing = fit_preprocessing(dataset, train, treatment)
    rows = preprocessing.apply(dataset.inputs, rows_to_try(dataset, treatment))
    return rows, preprocessing.input_shape


def _of_channels(
    values: NDArray[np.float64] | np.float64, shape: tuple[int, ...], axis: int
) -> NDArray[np.float64]:
    """Reshape ``[features]`` to ``[channels, the others]``."""
    return np.moveaxis(np.asarray(values).reshape(shape), axis, 0).reshape(shape[axis], -1)


def _to_features(
    values: NDArray[np.float64] | np.float64, shape: tuple[int, ...], axis: int
) -> NDArray[np.float64]:
    """Repeat ``[channels]`` to ``[features]``."""
    wide = np.asarray(values).reshape([-1 if place == axis else 1 for place in range(len(shape))])
    return np.broadcast_to(wide, shape).reshape(-1)


def _chunks(
    inputs: NDArray[np.generic], rows: NDArray[np.int64] | None
) -> Iterator[NDArray[np.float64]]:
    """Yield rows (all without ``rows``) as ``float64 [some, features]``, free to be overwritten."""
    for some in chunks_of(inputs, rows):
        yield some.astype(np.float64)


def _warn_of_constants(constant: NDArray[np.bool_], of: str) -> None:
    """Warn of features or channels; ``of`` is "" where there is one scale for all pixels."""
    if not of:
        what = "all pixels of all images have"
    else:
        features = np.flatnonzero(constant)
        shown = listed([str(feature) for feature in features], 5)
        what = (
            f"{of} {shown} (counted from 0) has"
            if len(features) == 1
            else f"{of}s {shown} (counted from 0) have"
        )
    warnings.warn(
        f"{what} a single value in the training part, so nothing to learn from",
        UserWarning,
        stacklevel=3,
    )
