"""Base classes of what reads a kind of data file or folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cotune.data.dataset import Reading
from cotune.exceptions import UsageError

if TYPE_CHECKING:
    from cotune.data.tables.raw_table import RawTable, Texts

Array = NDArray[np.generic]


@dataclass
class Rows:
    """Rows that are no table.

    Attributes:
        inputs: ``[rows, ...]``.
        labels: ``[rows]``; None where new data have none.
        test: The data's own test set.
        classes: Class names, where labels may be indices into them.
        remarks: What was done to the rows, one line each.
        paths: ``[rows]``: the file of each row, where it has one of its own.
    """

    inputs: Any
    labels: Any
    test: Rows | None = None
    classes: Sequence[str] | None = None
    remarks: tuple[str, ...] = ()
    paths: Sequence[Path] = ()


class Reader:
    """A kind of data file or folder; subclass :class:`RowsReader` or :class:`TableReader`.

    Attributes:
        suffixes: Endings of its files, in lower case.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()

    def matches(self, path: Path) -> bool:
        """Tell whether a path is of this kind."""
        return path.suffix.lower() in self.suffixes and not path.is_dir()


class RowsReader(Reader, ABC):
    """A kind of data that has inputs and labels, and no columns with names."""

    @abstractmethod
    def read(self, path: Path, target: str | None, reading: Reading) -> Rows:
        """Read labelled rows, and the data's own test set where there is one.

        Args:
            target: What holds the labels, as the user names it.
            reading: How to read, where that differs from what would be inferred.

        Raises:
            DataError: The data are damaged, or it cannot be known what holds the labels.
            UsageError: There is a target, and this kind of data has none.
        """

    def read_test(self, path: Path, target: str | None, train: Rows, reading: Reading) -> Rows:
        """Read a test set of the kind of the training rows ``train``."""
        return self.read(path, target, reading)

    def read_new(
        self, path: Path, target: str | None, shape: tuple[int, ...], classes: Sequence[str]
    ) -> Rows:
        """Read rows to predict, with labels where they have some.

        Args:
            target: As for :meth:`read`.
            shape: Of a row, as the model takes it.
            classes: The model's.
        """
        return self.read(path, target, Reading())


class TableReader(Reader, ABC):
    """A kind of data that has columns with names."""

    @abstractmethod
    def read(self, path: Path, texts: Texts, words: Collection[str]) -> RawTable:
        """Read the columns of a table.

        Args:
            texts: Columns that are texts, even where they look like numbers.
            words: Words for a missing value that are known to be values; see
                :mod:`cotune.data.tables.missing_words`.

        Raises:
            DataError: The file cannot be read.
        """


def refuse_target(path: Path, target: str | None) -> None:
    """Raise ``UsageError`` where a target is given of data whose labels are known."""
    if target is not None:
        raise UsageError(f"target: {path} is no table, and its labels are known; leave it out")
