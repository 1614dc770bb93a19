"""Training, validation and test rows of a run, recognised by content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cotune.data.dataset import Dataset, TrainingData
from cotune.data.row_hashes import Digests, row_digests, rows_fingerprint

KnownRow = tuple[str, int]
"""A part, ``train``, ``validation`` or ``test``, and the digest of a row in it."""

_PRIORITY = ("test", "validation", "train")


def known_rows(dataset: Dataset, training: TrainingData) -> tuple[list[KnownRow], str | None]:
    """Return the rows of a run that is about to begin, those of one file in its order.

    Returns:
        The rows; and a fingerprint of the test set. Of a test set that is not in memory yet there
        is neither: it is not read before the end.
    """
    order = training.order
    assert order is not None
    digests = row_digests(dataset.inputs)[order].tolist()
    places = order if dataset.rows is None else dataset.rows[order]
    parts = ["train"] * training.n_train + ["validation"] * (len(order) - training.n_train)
    rows = list(zip(places.tolist(), parts, digests, strict=True))
    if dataset.test_rows is None:
        return [(part, digest) for _, part, digest in sorted(rows)], None
    test_digests, fingerprint = test_set_digests(dataset)
    sealed = dataset.test_rows
    # The places in a file of its own begin anew.
    begin = int(places.max()) + 1 if np.isin(sealed, places).any() else 0
    for place, digest in zip((sealed + begin).tolist(), test_digests.tolist(), strict=True):
        rows.append((place, "test", digest))
    return [(part, digest) for _, part, digest in sorted(rows)], fingerprint


def test_set_digests(dataset: Dataset) -> tuple[Digests, str]:
    """Return digests of the rows of a test set that is in memory, and its fingerprint."""
    inputs, labels = dataset.read_test()
    digests = row_digests(inputs)
    return digests, rows_fingerprint(digests, labels)


def parts_of(known: Sequence[KnownRow], digests: Digests) -> dict[str, NDArray[np.bool_]]:
    """Return masks of the rows in each part of a run's data; parts with none are left out.

    Where the rows are those of the run's file in its order, each is what it was. Elsewhere equal
    rows are interchangeable: as many as the test set had of them count as its own, then as
    many as the validation part had, and the others for training rows.

    Args:
        known: From :func:`known_rows`.
        digests: ``[rows]`` of the data at hand.
    """
    found = digests.tolist()
    if [digest for _, digest in known[: len(found)]] == found:
        parts = [part for part, _ in known[: len(found)]]
    else:
        left: defaultdict[int, list[str]] = defaultdict(list)
        for part, digest in sorted(known, key=lambda row: -_PRIORITY.index(row[0])):
            left[digest].append(part)
        parts = [_take(left[digest]) if digest in left else "" for digest in found]
    which = np.array(parts)
    return {part: which == part for part in reversed(_PRIORITY) if part in parts}


def _take(parts: list[str]) -> str:
    """Take the last part; it stays there if it is the only one."""
    return parts.pop() if len(parts) > 1 else parts[0]
