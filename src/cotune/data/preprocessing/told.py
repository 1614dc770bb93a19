"""Preprocessing described in words."""

from __future__ import annotations

import numpy as np

from cotune.data.dataset import Dataset
from cotune.data.preprocessing.preprocess import Preprocessing, Standardize
from cotune.data.preprocessing.raw_rows import RawRows
from cotune.data.preprocessing.treatment import Treatment


def remarks_of(
    dataset: Dataset, asked: Treatment, done: Preprocessing, is_custom: bool
) -> tuple[str, ...]:
    """Return remarks on what was assumed, one line each.

    Args:
        asked: What the user asked for.
        done: What is done to the rows.
        is_custom: The network is the user's own.
    """
    rows = f"rows of {_shape(dataset.input_shape)}"
    if isinstance(done, RawRows) and asked.inputs == "auto":
        return (
            f"{rows}: whole numbers, which reach the network as they are ({done.dtype}); "
            "--inputs standardize scales them",
        )
    if isinstance(done, Standardize) and done.axis is not None and asked.channels == "auto":
        name, other = _axes(done)
        told = (
            f"{rows}: the {name} axis is read as channels, each scaled by itself; "
            f"--channels {other}|none overrides this"
        )
        if done.axis == 0 and len(done.input_shape) == 3:
            told += "; the built-in CNN takes the last axis for channels all the same"
        return (told,)
    is_whole = dataset.inputs.dtype.kind in "iu" and not dataset.columns
    if is_custom and is_whole and dataset.inputs.dtype != np.uint8 and asked.inputs == "auto":
        return (
            f"{rows}: whole numbers, standardized as the network takes none; --inputs raw gives "
            "them unscaled",
        )
    return ()


def describe(done: Preprocessing) -> str:
    """Describe the preprocessing in a few words."""
    if isinstance(done, RawRows):
        return f"nothing: rows reach the network as they are, {done.dtype}"
    if not isinstance(done, Standardize):
        return "numbers by their median and quartiles, a feature each category"
    by = "mean and standard deviation of the training part"
    if len(done.input_shape) == 1:
        return f"each feature by its {by}"
    if done.axis is None:
        return f"all values of a row by one {by}"
    return f"each of the {len(done.mean)} channels, the {_axes(done)[0]} axis, by its {by}"  # type: ignore[arg-type]


def _axes(done: Standardize) -> tuple[str, str]:
    """Return the axis of the channels, and the other one that it could have been."""
    return ("first", "last") if done.axis == 0 else ("last", "first")


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
