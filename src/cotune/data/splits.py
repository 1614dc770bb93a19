"""Stratified splits: every class is in both parts, in about its share of the whole."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cotune.data.checks import check_class_counts
from cotune.exceptions import DataError, UsageError

Rows = NDArray[np.int64]

_MOST_FOLDS = 8


def stratified_split(
    labels: NDArray[np.int64],
    fraction: float,
    seed: int,
    *,
    classes: Sequence[str] | None = None,
    name: str = "labels",
) -> tuple[Rows, Rows]:
    """Split rows in two with scikit-learn's ``train_test_split``, stratified by class.

    Where that would leave a rare class out of one part, one of its rows is moved there.

    Args:
        labels: ``[rows]`` class indices.
        fraction: Share of the rows in the second part, between 0 and 1. That part has at least
            one row of every class.
        seed: The same labels, fraction and seed give the same split.
        classes: Class names for error messages; the indices are shown without them.
        name: What the messages begin with.

    Returns:
        Row indices of the first and of the second part, each ascending.

    Raises:
        UsageError: ``fraction`` is not between 0 and 1.
        DataError: A class has one row, so that it cannot be in both parts; or there are no rows.
    """
    from sklearn.model_selection import train_test_split

    if not 0 < fraction < 1:
        raise UsageError(
            f"the share of rows to split off is {fraction:g}; give one between 0 and 1"
        )
    check_class_counts(labels, classes, at_least=2, parts="both parts of a split", name=name)
    present = np.unique(labels)
    second_size = max(math.ceil(fraction * len(labels) - 1e-9), len(present))
    second_size = min(second_size, len(labels) - len(present))
    try:
        first, second = train_test_split(
            np.arange(len(labels)), test_size=second_size, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise DataError(f"{name}: the rows cannot be split by class: {error}") from error
    first, second = np.sort(first), np.sort(second)
    for label in np.setdiff1d(present, labels[second]):
        first, second = _move_one(first, second, labels, label)
    for label in np.setdiff1d(present, labels[first]):
        second, first = _move_one(second, first, labels, label)
    return first, second


def further_folds(labels: NDArray[np.int64], held_out: int, seed: int) -> NDArray[np.int64]:
    """Divide the training split into folds about as large as the validation split.

    With one fold held out in place of the validation split, and that trained on, a configuration is
    judged by rows that it was not chosen by.

    Args:
        labels: ``[rows]`` of the training split.
        held_out: Rows of the validation split.
        seed: As for :func:`stratified_split`.

    Returns:
        ``[rows]``: the number of a row's fold, from 1; there are two to eight, stratified by class
        as far as the rows of a class suffice.
    """
    from sklearn.model_selection import StratifiedKFold

    most = int(np.bincount(labels).max())  # scikit-learn wants one class with so many rows
    count = min(max(round(len(labels) / held_out), 2), _MOST_FOLDS, most)
    folds = np.ones(len(labels), np.int64)
    if count < 2:
        return folds
    with warnings.catch_warnings():
        # A class with fewer rows than folds: it is missing from some validation splits.
        warnings.simplefilter("ignore", UserWarning)
        splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
        for number, (_, rows) in enumerate(splitter.split(labels, labels), start=1):
            folds[rows] = number
    return folds


def _move_one(
    source: Rows, target: Rows, labels: NDArray[np.int64], label: np.int64
) -> tuple[Rows, Rows]:
    """Move the last row of the class from one part to the other."""
    row = source[labels[source] == label][-1]
    return source[source != row], np.sort(np.append(target, row))
