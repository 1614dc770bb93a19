"""A labelled dataset as it was read, and the form of it that engines train on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from cotune.exceptions import DataError


@dataclass(frozen=True)
class Column:
    """A column of a table, as it was read.

    Attributes:
        kind: ``category`` where its values are texts.
        categories: Those texts; a cell holds an index into them.
        form: How numbers are written where they are texts: ``number|THOUSANDS|DECIMAL|UNIT``,
            ``date|ORDER`` or ``time``; "" for plain numbers.
    """

    name: str
    kind: Literal["number", "boolean", "category"]
    categories: tuple[str, ...] = ()
    form: str = field(default="", repr=False)  # the fingerprint of older runs had none

    def to_json(self) -> dict[str, Any]:
        """Return texts and lists, as models keep them; without a form where there is none."""
        described = {"name": self.name, "kind": self.kind, "categories": list(self.categories)}
        return {**described, "form": self.form} if self.form else described


@dataclass(frozen=True)
class ColumnNote:
    """The inferred type of a table's column, for people.

    Attributes:
        kind: ``number``, ``boolean``, ``category``, or ``-`` for a column that is left out.
        why: What made it so, or why it is left out; "" where that goes without saying.
    """

    name: str
    kind: str
    why: str


@dataclass(frozen=True)
class Reading:
    """The owner's word on how data are read, where it differs from what is inferred.

    Attributes:
        columns: The kind of a table's column, one of :data:`COLUMN_KINDS`, by its name.
        skip_damaged: Leave out images that cannot be decoded.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    skip_damaged: bool = False


COLUMN_KINDS: Final = ("number", "category", "date", "day-first", "month-first", "skip")
"""Kinds of a column that its owner can name: ``day-first`` and ``month-first`` are dates in that
order; ``skip`` leaves the column out."""


@dataclass(frozen=True)
class Source:
    """The place a dataset was read from, so that it can be read again.

    Attributes:
        path: A file or folder, absolute.
        target: The column of a table that holds the labels.
        test: The file or folder of the test set; None where a part of the rows is sealed.
        columns, skip_damaged: As in :class:`Reading`.
    """

    path: str
    target: str | None = None
    test: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    skip_damaged: bool = False

    @classmethod
    def of(cls, path: Any, target: Any, test: Any, reading: Reading) -> Self:
        """Describe data that were read from a path, with a test set from another or None."""
        return cls(
            os.path.abspath(path),
            None if target is None else str(target),
            None if test is None else os.path.abspath(test),
            dict(reading.columns),
            reading.skip_damaged,
        )

    @property
    def reading(self) -> Reading:
        """Return how its owner says it is read."""
        return Reading(self.columns, self.skip_damaged)


@dataclass(frozen=True)
class Dataset:
    """Labelled rows to tune on, and a sealed test set.

    Attributes:
        name: What the user calls it.
        inputs: ``[rows, ...]`` as read, for images ``uint8 [rows, height, width]``.
        labels: ``int64 [rows]``, an index into ``classes``.
        classes: Class names.
        open_test: Reads the sealed test set, ``(inputs, labels)``. Nothing but the final model's
            one evaluation calls it. None where there is no test set.
        n_test: Rows in the test set.
        columns: Of a table: ``inputs`` is then ``float64 [rows, columns]``, booleans are 0 and 1,
            categories indices, or -1 for one that is not known, and NaN is a missing cell.
        rows, test_rows: ``int64``: the place in the file or array, from 0, of each row here and in
            the test set; None for named datasets. Where the test set has a file of its own, its
            places are there. The images of a folder are counted in the order of their paths.
        remarks: What reading did to the data, for people: one line each.
        source: Where it was read from; None where it was made of objects in memory.
        test_origin: Where the test set is from, for people.
        column_notes: The type of each column of a table, those that are left out too.
    """

    name: str
    inputs: NDArray[np.generic]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    open_test: Callable[[], tuple[NDArray[np.generic], NDArray[np.int64]]] | None
    n_test: int
    columns: tuple[Column, ...] = ()
    rows: NDArray[np.int64] | None = None
    test_rows: NDArray[np.int64] | None = None
    remarks: tuple[str, ...] = ()
    source: Source | None = None
    test_origin: str = "the data's own"
    column_notes: tuple[ColumnNote, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one row."""
        return tuple(self.inputs.shape[1:])

    @property
    def has_images(self) -> bool:
        """Tell whether a row is an image: height, width and perhaps channels."""
        return len(self.input_shape) in (2, 3)

    @property
    def has_features(self) -> bool:
        """Tell whether a row is a list of features, as of a table, and so has columns."""
        return len(self.input_shape) == 1

    @property
    def can_be_drawn(self) -> bool:
        """Tell whether a row is an image that can be shown: grey, or of three colours."""
        return self.has_images and self.input_shape[2:] in ((), (3,))

    def read_test(self) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        """Read the sealed test set.

        Raises:
            DataError: There is none.
        """
        if self.open_test is None:
            raise DataError(f"{self.name}: has no test set")
        return self.open_test()

    @cached_property
    def fingerprint(self) -> str:
        """Hash inputs, labels and class names with SHA-256; the test set is not read."""
        digest = hashlib.sha256()
        for array in (self.inputs, self.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        digest.update("\0".join(self.classes).encode())
        if self.columns:
            digest.update(repr(self.columns).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class TrainingData:
    """Preprocessed rows for engines, the training split first, then the validation split.

    Attributes:
        inputs: ``float32 [rows, features]``, contiguous; ``int64`` where a network of the user's
            gets whole numbers.
        labels: ``int64 [rows]``.
        n_train: Rows of the training split; the rest is the validation split.
        n_classes: Number of classes.
        input_shape: Shape of one row before it was flattened.
        fold_of: ``int64 [n_train]``: for each row of the training split the number, from 1, of the
            fold that it is held out in; fold 0 holds out the validation split.
        order: ``int64 [rows]``: the dataset's row of each row here; engines do without it.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    n_train: int
    n_classes: int
    input_shape: tuple[int, ...]
    fold_of: NDArray[np.int64] | None = None
    order: NDArray[np.int64] | None = None

    @property
    def n_folds(self) -> int:
        """Count the ways to divide the rows into those trained on and those held out."""
        return 1 if self.fold_of is None else 1 + int(self.fold_of.max())
