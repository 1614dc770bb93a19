"""What is done to the inputs before a network sees them; it is saved with the model."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cotune.data.checks import check_learnable
from cotune.data.dataset import Column, Dataset, TrainingData
from cotune.data.memory import new_array
from cotune.data.splits import further_folds, stratified_split
from cotune.data.table_preprocess import TablePreprocessing
from cotune.exceptions import DataError, ModelFileError

_CHUNK = 2**18  # values converted at a time: 2 MiB of float64, about a core's cache


@dataclass(frozen=True)
class Standardize:
    """Subtract the mean and divide by the standard deviation of the training part.

    Images (rows of two dimensions or more) have one mean and deviation over all pixels; tables
    have one per feature.

    Attributes:
        mean: A number, or one per feature.
        std: Likewise; positive. It is 1 where the training part has a single value.
        input_shape: Shape of one row.
    """

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    input_shape: tuple[int, ...]

    @property
    def features(self) -> int:
        """Values in one row."""
        return math.prod(self.input_shape)

    @property
    def columns(self) -> tuple[Column, ...]:
        """None: the rows are no table's, whose columns have names and kinds."""
        return ()

    @classmethod
    def fit(cls, inputs: NDArray[np.generic], rows: NDArray[np.int64]) -> Self:
        """Measure mean and deviation on the given rows alone.

        Warns (``UserWarning``) of features that have a single value there.

        Raises:
            DataError: No rows, or values too large (or not finite) to take a mean of.
        """
        if len(rows) == 0:
            raise DataError("no rows to standardize by; give at least one")
        shape = tuple(inputs.shape[1:])
        over = 0 if len(shape) == 1 else None
        count = len(rows) * (1 if over == 0 else math.prod(shape))
        with np.errstate(over="ignore", invalid="ignore"):
            total, low, high = np.float64(0), np.float64(np.inf), np.float64(-np.inf)
            for chunk in _chunks(inputs, rows):
                total = total + chunk.sum(axis=over)
                low = np.minimum(low, chunk.min(axis=over))
                high = np.maximum(high, chunk.max(axis=over))
            mean = total / count
            squares = np.float64(0)
            for chunk in _chunks(inputs, rows):
                chunk -= mean
                squares = squares + np.square(chunk, out=chunk).sum(axis=over)
            std = np.sqrt(squares / count)
        usable = np.isfinite(mean) & np.isfinite(std)
        if not usable.all():
            where = "the pixels" if over is None else f"feature {np.flatnonzero(~usable)[0]}"
            raise DataError(
                f"{where}: values too large or not finite, so without a mean; rescale or drop them"
            )
        # a deviation that underflows to 0 is as good as none
        constant = np.atleast_1d((low == high) | (std == 0))
        if constant.any():
            _warn_of_constants(constant, images=over is None)
        std = np.where(constant, 1.0, std)
        if over is None:
            return cls(float(mean), float(std[0]), shape)
        return cls(tuple(np.atleast_1d(mean).tolist()), tuple(std.tolist()), shape)

    def apply(
        self,
        inputs: NDArray[np.generic],
        rows: NDArray[np.int64] | None = None,
        most: float | None = None,
    ) -> NDArray[np.float32]:
        """Standardized inputs, ``float32 [rows, features]``, contiguous.

        Args:
            inputs: ``[rows, *input_shape]``.
            rows: Take these rows in this order; without it, all.
            most: Bytes of the result in memory; see :func:`new_array`.

        Raises:
            DataError: The rows have another shape than the ones it was fitted on, hold no
                numbers, or hold one that is not finite once standardized.
        """
        if tuple(inputs.shape[1:]) != self.input_shape or inputs.ndim == 0:
            raise DataError(
                f"rows have shape {tuple(inputs.shape[1:])}, the model was trained on "
                f"{self.input_shape}; give rows of that shape"
            )
        if inputs.dtype.kind not in "buif":
            raise DataError(f"the inputs are of type {inputs.dtype}; give an array of numbers")
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        out = new_array(
            (len(inputs) if rows is None else len(rows), self.features), np.float32, most
        )
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
                    "large beside the training data; mend or drop the row"
                )
            start += len(chunk)
        return out

    def to_json(self) -> dict[str, Any]:
        """Lists and numbers; :meth:`from_json` gives the same object back, bit for bit."""
        return {
            "kind": "standardize",
            "mean": list(self.mean) if isinstance(self.mean, tuple) else self.mean,
            "std": list(self.std) if isinstance(self.std, tuple) else self.std,
            "input_shape": list(self.input_shape),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Raises ``ModelFileError`` where the data are not what :meth:`to_json` writes."""
        if not isinstance(data, Mapping) or set(data) != {"kind", "mean", "std", "input_shape"}:
            raise ModelFileError(
                "preprocessing: mean, std and input_shape expected; export the model again"
            )
        if data["kind"] != "standardize":
            raise ModelFileError("preprocessing.kind: is unknown; a newer Cotune may read it")
        shape = data["input_shape"]
        if (
            not isinstance(shape, list)
            or not shape
            or not all(type(size) is int and size > 0 for size in shape)
        ):
            raise ModelFileError(
                "preprocessing.input_shape: a list of positive whole numbers expected; "
                "export the model again"
            )
        length = shape[0] if len(shape) == 1 else None
        mean = _floats(data["mean"], length, "mean")
        std = _floats(data["std"], length, "std")
        if np.min(std) <= 0:
            raise ModelFileError(
                "preprocessing.std: a deviation is not positive; export the model again"
            )
        return cls(mean, std, tuple(shape))


Preprocessing = Standardize | TablePreprocessing
"""What is done to the rows: of a table with named columns, or of other arrays."""


def preprocessing_from_json(data: Mapping[str, Any]) -> Preprocessing:
    """Raises ``ModelFileError`` where the data are not what a ``to_json`` writes."""
    is_table = isinstance(data, Mapping) and data.get("kind") == "table"
    return TablePreprocessing.from_json(data) if is_table else Standardize.from_json(data)


def prepare(
    dataset: Dataset, *, validation: float = 0.2, seed: int, most: float | None = None
) -> tuple[TrainingData, Preprocessing]:
    """Split a dataset, preprocess it by its training part, and lay it out for engines.

    Args:
        dataset: What to tune on; its test set is not opened.
        validation: Share of the rows in the validation part, which is stratified by class.
        seed: Decides the split.
        most: Bytes of inputs in memory; more are in a file that is mapped into it.

    Returns:
        Rows with the training part first, each part in the dataset's order; and what was done to
        the inputs.

    Raises:
        DataError: The dataset cannot be learned from (see :func:`check_learnable`).
        UsageError: ``validation`` is not between 0 and 1.
    """
    check_learnable(dataset)
    train, held_out = stratified_split(
        dataset.labels, validation, seed, classes=dataset.classes, name=dataset.name
    )
    preprocessing: Preprocessing
    if dataset.columns:
        preprocessing = TablePreprocessing.fit(dataset.inputs, train, dataset.columns)
    else:
        preprocessing = Standardize.fit(dataset.inputs, train)
    order = np.concatenate((train, held_out))
    return TrainingData(
        inputs=preprocessing.apply(dataset.inputs, order, most),
        labels=dataset.labels[order],
        n_train=len(train),
        n_classes=len(dataset.classes),
        input_shape=preprocessing.input_shape,
        fold_of=further_folds(dataset.labels[train], len(held_out), seed),
        order=order,
    ), preprocessing


def _chunks(
    inputs: NDArray[np.generic], rows: NDArray[np.int64] | None
) -> Iterator[NDArray[np.float64]]:
    """The rows (all without ``rows``) as ``float64 [some, features]``, free to be overwritten."""
    features = math.prod(inputs.shape[1:])
    step = max(1, _CHUNK // features)
    for start in range(0, len(inputs) if rows is None else len(rows), step):
        chosen = slice(start, start + step) if rows is None else rows[start : start + step]
        some = inputs[chosen]
        yield some.reshape(len(some), features).astype(np.float64)


def _warn_of_constants(constant: NDArray[np.bool_], *, images: bool) -> None:
    if images:
        what = "all pixels of all images have"
    else:
        features = np.flatnonzero(constant)
        shown = ", ".join(str(feature) for feature in features[:5])
        if len(features) > 5:
            shown += f" and {len(features) - 5} more"
        what = (
            f"feature {shown} (counted from 0) has"
            if len(features) == 1
            else (f"features {shown} (counted from 0) have")
        )
    warnings.warn(
        f"{what} a single value in the training part, so nothing to learn from",
        UserWarning,
        stacklevel=3,
    )


def _floats(value: object, length: int | None, key: str) -> float | tuple[float, ...]:
    """A finite number, or ``length`` of them."""
    numbers = [value] if length is None else value
    if (
        not isinstance(numbers, list)
        or len(numbers) != (1 if length is None else length)
        or not all(
            type(number) in (int, float) and abs(number) <= sys.float_info.max for number in numbers
        )
    ):
        expected = "a finite number" if length is None else f"{length} finite numbers"
        raise ModelFileError(f"preprocessing.{key}: {expected} expected; export the model again")
    floats = tuple(float(number) for number in numbers)
    return floats[0] if length is None else floats
