"""Raw or standardized rows: the user's choice, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from cotune.data.dataset import Dataset

_CHUNK: Final = 2**20  # values looked at at a time
_LARGEST: Final = 2**53  # above, not every whole number is a float64
_EXTREMES: Final = 64  # features of which the rows with the least and greatest values are tried


@dataclass(frozen=True)
class Treatment:
    """The user's choice of preprocessing.

    Attributes:
        inputs: As asked for, ``auto``, ``raw`` or ``standardize``; or as decided for a network:
            ``standardize``, or its type, ``int64`` or ``float32``, where nothing is done.
        channels: ``first``, ``last``, ``none`` or ``auto``: which axis of an array's rows has
            entries that are scaled each by itself.
    """

    inputs: str = "auto"
    channels: str = "auto"

    @property
    def dtype(self) -> Literal["int64", "float32"] | None:
        """Return the type that rows are given raw in; None where they are scaled."""
        if self.inputs == "int64":
            return "int64"
        return "float32" if self.inputs in ("raw", "float32") else None


def treatments_for_custom(dataset: Dataset, asked: Treatment) -> list[Treatment]:
    """Return possible treatments of the rows for a user's own network, the likeliest first.

    The network decides: it gets the first that it takes. Whole numbers are given as they are,
    and scaled only where it takes no whole numbers. Pixels, columns of tables and floats are
    scaled, and given as whole numbers, if they are such, where it takes nothing else, as an
    ``nn.Embedding`` does.
    """
    if asked.inputs == "standardize":
        return [asked]
    other = "float32" if asked.inputs == "raw" else "standardize"
    if not _are_whole(dataset):
        return [replace(asked, inputs=other)]
    is_typed = dataset.inputs.dtype.kind in "bui" and not _are_pixels(dataset)
    kinds = ("int64", other) if is_typed else (other, "int64")
    return [replace(asked, inputs=kind) for kind in kinds]


def rows_to_try(dataset: Dataset, treatment: Treatment) -> NDArray[np.int64]:
    """Return the places of a few rows to try a network with; of whole numbers, the extremes too."""
    places = list(range(min(4, len(dataset))))
    if treatment.dtype == "int64":
        rows = dataset.inputs.reshape(len(dataset), -1)
        if rows.shape[1] > _EXTREMES:
            places += [int(found(rows)) // rows.shape[1] for found in (np.argmax, np.argmin)]
        else:
            places += [*rows.argmax(0).tolist(), *rows.argmin(0).tolist()]
    return np.array(list(dict.fromkeys(places)), np.int64)


def _are_pixels(dataset: Dataset) -> bool:
    return dataset.inputs.dtype == np.uint8 and dataset.has_images


def _are_whole(dataset: Dataset) -> bool:
    """Tell whether all values are whole numbers, of whatever type, that an ``int64`` holds."""
    inputs: NDArray[Any] = dataset.inputs
    if inputs.dtype.kind in "bui":
        return True
    if not all(column.kind == "number" for column in dataset.columns):
        return False
    step = max(1, _CHUNK // math.prod(inputs.shape[1:]))
    chunks = (inputs[start : start + step] for start in range(0, len(inputs), step))
    return all(bool(((np.abs(some) < _LARGEST) & (some == np.rint(some))).all()) for some in chunks)


INPUTS: Final = ("auto", "raw", "standardize")


CHANNELS: Final = ("auto", "first", "last", "none")
