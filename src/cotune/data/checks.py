"""Checks that a dataset can be learned from, made before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cotune.data.dataset import Dataset
from cotune.exceptions import DataError
from cotune.text import listed

_MANY = 50  # whole numbers that are doubtful as classes, where they are
_MANY_SHARE = 0.1  # of the rows or more
_SOME = 10  # whole numbers that are none, where rare ones are
_RARE_SHARE = 0.2  # of them or more
_SHOWN = 5  # classes in a message


def check_learnable(dataset: Dataset) -> None:
    """Raise unless every class has a row to train on and another to validate on.

    Raises:
        DataError: No rows, one row, a single class, rows and labels that differ in number, or a
            class with fewer than two rows (its name is in the message).
    """
    name = dataset.name
    check_same_length(dataset.inputs, dataset.labels, name)
    if len(dataset) == 0:
        raise DataError(f"{name}: no rows; give data with at least two rows of each class")
    if len(dataset) == 1:
        raise DataError(f"{name}: only one row; give at least two rows of each class")
    present = np.unique(dataset.labels)
    if len(present) == 1:
        only = _class_name(int(present[0]), dataset.classes)
        raise DataError(
            f"{name}: all {len(dataset):,} rows are of class {only}; give rows of another class too"
        )
    check_class_counts(
        dataset.labels,
        dataset.classes,
        at_least=2,
        parts="the training and the validation part",
        name=name,
    )


def check_class_counts(
    labels: NDArray[np.int64],
    classes: Sequence[str] | None,
    *,
    at_least: int,
    parts: str,
    name: str,
) -> None:
    """Raise unless every class has the rows it takes to be in all ``parts``.

    Args:
        labels: ``[rows]`` class indices.
        classes: All of these are expected; without it, the labels that occur.
        at_least: Rows a class has to have.
        parts: What the message calls the parts.
        name: What the message begins with.

    Raises:
        DataError: There are no rows, or classes are too rare; the message names them.
    """
    if len(labels) == 0:
        raise DataError(f"{name}: no rows; give data with at least {at_least} rows of each class")
    counts = np.bincount(labels, minlength=len(classes or ()))
    rare = [
        int(label)
        for label in np.flatnonzero(counts < at_least)
        if classes is not None or counts[label]
    ]
    if not rare:
        return
    shown = listed([f"{_class_name(label, classes)} ({counts[label]})" for label in rare], _SHOWN)
    raise DataError(
        f"{name}: too few rows of class {shown} to be in {parts}; give at least {at_least} rows "
        "of each class, or leave the class out"
    )


def check_no_regression(labels: NDArray[np.int64], what: str, at_least: int) -> tuple[str, ...]:
    """Tell whole numbers that are measured or counted from those that name classes.

    Args:
        labels: ``[rows]`` as they were given, no indices.
        what: What messages begin with.
        at_least: Rows a class has to have.

    Returns:
        A remark where there are strangely many classes.

    Raises:
        DataError: There are many, and too many of them have too few rows.
    """
    counts = np.unique(labels, return_counts=True)[1]
    rare = counts < at_least
    found = f"{len(counts):,} different whole numbers in {len(labels):,} rows"
    doubtful = len(counts) > _MANY and len(counts) > len(labels) * _MANY_SHARE
    if rare.any() and (doubtful or (len(counts) > _SOME and rare.mean() > _RARE_SHARE)):
        raise DataError(
            f"{what}: {found} seem to be no classes (regression is not what Cotune does); name "
            "another column with --target, or put the numbers into a few classes; where they are "
            f"classes, give at least {at_least} rows of each"
        )
    return (f"{found} are each read as a class of its own",) if doubtful else ()


def check_same_length(inputs: NDArray[np.generic], labels: NDArray[np.generic], name: str) -> None:
    """Raise ``DataError`` unless there is one label a row."""
    if len(inputs) != len(labels):
        raise DataError(
            f"{name}: {len(inputs):,} rows but {len(labels):,} labels; give one label a row"
        )


def _class_name(label: int, classes: Sequence[str] | None) -> str:
    return repr(classes[label]) if classes is not None and label < len(classes) else str(label)
