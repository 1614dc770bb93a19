"""Training, validation and test rows of a run, recognised by content."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cotune.data.dataset import Dataset, TrainingData

Digests = NDArray[np.uint64]

KnownRow = tuple[str, int]
"""A split, ``train``, ``validation`` or ``test``, and the digest of a row in it."""

_PRIORITY = ("test", "validation", "train")
_CHUNK = 2**20  # values looked at at a time
_BYTES = 8


def splits_of_rows(dataset: Dataset, training: TrainingData) -> list[tuple[int, str]]:
    """Return the split that each row of a file is in: ``train``, ``validation`` or ``test``.

    Args:
        dataset: Nothing is known of one without ``rows``.
        training: The same, prepared.

    Returns:
        Places in the file, ascending, with their splits; a test set that has a file of its own is
        left out.
    """
    if dataset.rows is None:
        return []
    rows, is_apart = _placed(dataset, training)
    if dataset.test_rows is not None and not is_apart:
        rows += [(place, "test") for place in dataset.test_rows.tolist()]
    return sorted(rows)


def known_rows(dataset: Dataset, training: TrainingData) -> tuple[list[KnownRow], str | None]:
    """Return the rows of a run that is about to begin, those of one file in its order.

    Returns:
        The rows; and a fingerprint of the test set. Of a test set that is not in memory yet there
        is neither: it is not read before the end.
    """
    placed, is_apart = _placed(dataset, training)
    digests = row_digests(dataset.inputs)[training.order].tolist()
    rows = [(*one, digest) for one, digest in zip(placed, digests, strict=True)]
    fingerprint = None
    if dataset.test_rows is not None:
        test_digests, fingerprint = test_set_digests(dataset)
        # The places in a file of its own begin anew.
        begin = max(placed)[0] + 1 if is_apart else 0
        places = (dataset.test_rows + begin).tolist()
        rows += [(p, "test", d) for p, d in zip(places, test_digests.tolist(), strict=True)]
    return [(split, digest) for _, split, digest in sorted(rows)], fingerprint


def _placed(dataset: Dataset, training: TrainingData) -> tuple[list[tuple[int, str]], bool]:
    """Return place and split of the training's rows, and whether the test set has its own file."""
    order = training.order
    assert order is not None
    places = order if dataset.rows is None else dataset.rows[order]
    splits = ["train"] * training.n_train + ["validation"] * (len(order) - training.n_train)
    is_apart = dataset.test_rows is not None and bool(np.isin(dataset.test_rows, places).any())
    return list(zip(places.tolist(), splits, strict=True)), is_apart


def test_set_digests(dataset: Dataset) -> tuple[Digests, str]:
    """Return digests of the rows of a test set that is in memory, and its fingerprint."""
    inputs, labels = dataset.read_test()
    digests = row_digests(inputs)
    return digests, rows_fingerprint(digests, labels)


def splits_of(known: Sequence[KnownRow], digests: Digests) -> dict[str, NDArray[np.bool_]]:
    """Return masks of the rows in each split of a run's data; splits with none are left out.

    Where the rows are those of the run's file in its order, each is what it was. Elsewhere equal
    rows are interchangeable: as many as the test set had of them count as its own, then as
    many as the validation split had, and the others for training rows.

    Args:
        known: From :func:`known_rows`.
        digests: ``[rows]`` of the data at hand.
    """
    found = digests.tolist()
    if [digest for _, digest in known[: len(found)]] == found:
        splits = [split for split, _ in known[: len(found)]]
    else:
        left: defaultdict[int, list[str]] = defaultdict(list)
        for split, digest in sorted(known, key=lambda row: -_PRIORITY.index(row[0])):
            left[digest].append(split)
        splits = [_take(left[digest]) if digest in left else "" for digest in found]
    which = np.array(splits)
    return {split: which == split for split in reversed(_PRIORITY) if split in splits}


def _take(splits: list[str]) -> str:
    """Take the last; it stays there if it is the only one."""
    return splits.pop() if len(splits) > 1 else splits[0]


def row_digests(inputs: NDArray[np.generic]) -> Digests:
    """Return BLAKE2b digests of the rows' values, ``[rows]``.

    They are the same whatever type and shape the values come in: whole numbers of 0-255 are taken
    as bytes, a row with any other as ``float64``, where 0 and -0 are the same and so is every NaN.

    Args:
        inputs: ``[rows, ...]`` of numbers.
    """
    features = math.prod(inputs.shape[1:])
    step = max(1, _CHUNK // max(1, features))
    digests = bytearray()
    for start in range(0, len(inputs), step):
        some = np.ascontiguousarray(inputs[start : start + step]).reshape(-1, features)
        for row in _comparable(some):
            digests += hashlib.blake2b(row.data, digest_size=_BYTES).digest()
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def _comparable(rows: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    if rows.dtype == np.uint8:
        return list(rows)
    values = rows.astype(np.float64) + 0.0
    values[np.isnan(values)] = np.nan
    with np.errstate(invalid="ignore"):
        pixels = values.astype(np.uint8)
    fit = (pixels == values).all(1)
    return [small if fits else row for fits, small, row in zip(fit, pixels, values, strict=True)]


def rows_fingerprint(digests: Digests, labels: NDArray[np.int64]) -> str:
    """Hash labelled rows with SHA-256, whatever order they come in."""
    order = np.lexsort((labels, digests))
    digest = hashlib.sha256(digests[order].astype("<u8").tobytes())
    digest.update(labels[order].astype("<i8").tobytes())
    return digest.hexdigest()
