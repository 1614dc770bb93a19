"""Base class of the named datasets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from cotune.data.dataset import Dataset


@dataclass(frozen=True)
class Entry:
    """A line of the catalog.

    Attributes:
        rows: Rows to tune on: training and validation parts together.
        test_rows: Rows in the sealed test set.
        classes: Number of classes.
        input_shape: Shape of one row.
        where: The folder it is read from, ``"bundled"``, that it will be downloaded and how
            many megabytes that is, or what is wrong with the folder.
    """

    name: str
    description: str
    rows: int
    test_rows: int
    classes: int
    input_shape: tuple[int, ...]
    where: str


class NamedDataset(ABC):
    """A dataset that ``cotune run NAME`` knows."""

    @abstractmethod
    def entry(self) -> Entry:
        """Describe the dataset, and where it is found now; nothing is read or downloaded."""

    @abstractmethod
    def load(self) -> Dataset:
        """Read the dataset, downloaded first where it is not here."""
