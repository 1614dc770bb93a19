"""The named datasets: what ``cotune run NAME`` and ``cotune datasets`` know."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cotune.data.builtin import fashion_mnist
from cotune.data.builtin.download import cache_folder
from cotune.data.dataset import Dataset
from cotune.data.readers.arrays import from_arrays
from cotune.exceptions import DataError

__all__ = ["Entry", "cache_folder", "entries", "load"]

_SMALL_ROWS = 6_000


@dataclass(frozen=True)
class Entry:
    """A named dataset.

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


def load(name: str, *, progress: bool = True) -> Dataset:
    """The dataset of that name, downloaded on first use where it is not bundled.

    Args:
        name: One of :func:`entries`.
        progress: Show a download's progress on stderr.

    Raises:
        DataError: No dataset has that name, or its files are damaged.
        StorageError: It could not be downloaded.
    """
    if name not in _LOADERS:
        close = difflib.get_close_matches(name.lower(), _LOADERS, 1)
        hint = f"did you mean {close[0]}? Datasets" if close else "datasets"
        raise DataError(f"no dataset or file {name!r}; {hint}: {', '.join(_LOADERS)}")
    return _LOADERS[name](progress)


def entries() -> list[Entry]:
    """All named datasets and where each is found now; nothing is read or downloaded."""
    try:
        folder = fashion_mnist.find()
        megabytes = fashion_mnist.DOWNLOAD_BYTES / 1e6
        where = str(folder or f"not here yet; downloaded when used ({megabytes:.0f} MB)")
    except DataError as error:
        where = str(error)
    shape, classes = fashion_mnist.INPUT_SHAPE, len(fashion_mnist.CLASSES)
    rows, test_rows = fashion_mnist.ROWS, fashion_mnist.TEST_ROWS
    return [
        Entry(
            "fashion-mnist",
            "Zalando's grey pictures of clothes",
            rows,
            test_rows,
            classes,
            shape,
            where,
        ),
        Entry(
            "fashion-mnist-small",
            f"its first {_SMALL_ROWS:,} training images, all test images",
            _SMALL_ROWS,
            test_rows,
            classes,
            shape,
            where,
        ),
        Entry(
            "digits",
            "scikit-learn's handwritten digits; a fixed fifth is the test set",
            1437,
            360,
            10,
            (8, 8),
            "bundled",
        ),
    ]


def _fashion_mnist(progress: bool) -> Dataset:
    folder = fashion_mnist.find_or_download(progress=progress)
    images, labels = fashion_mnist.read_part(folder, "train")
    return Dataset(
        name="fashion-mnist",
        inputs=images,
        labels=labels,
        classes=fashion_mnist.CLASSES,
        open_test=lambda: fashion_mnist.read_part(folder, "t10k"),
        n_test=fashion_mnist.TEST_ROWS,
    )


def _fashion_mnist_small(progress: bool) -> Dataset:
    whole = _fashion_mnist(progress)
    return Dataset(
        name="fashion-mnist-small",
        inputs=whole.inputs[:_SMALL_ROWS].copy(),  # copied, so that the other images are freed
        labels=whole.labels[:_SMALL_ROWS].copy(),
        classes=whole.classes,
        open_test=whole.open_test,
        n_test=whole.n_test,
    )


def _digits(_: bool) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return from_arrays(
        digits.images.astype(np.float32),  # grey levels 0-16
        digits.target,
        classes=[str(digit) for digit in range(10)],
        name="digits",
    )


_LOADERS: dict[str, Callable[[bool], Dataset]] = {
    "fashion-mnist": _fashion_mnist,
    "fashion-mnist-small": _fashion_mnist_small,
    "digits": _digits,
}
