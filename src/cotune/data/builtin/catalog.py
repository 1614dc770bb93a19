"""The named datasets: what ``cotune run NAME`` and ``cotune datasets`` know."""

from __future__ import annotations

import difflib

from cotune.data.builtin.digits import Digits
from cotune.data.builtin.fashion_mnist import FashionMnist, FashionMnistSmall
from cotune.data.builtin.named import Entry, NamedDataset
from cotune.data.dataset import Dataset
from cotune.exceptions import DataError

DATASETS: dict[str, NamedDataset] = {
    "fashion-mnist": FashionMnist(),
    "fashion-mnist-small": FashionMnistSmall(),
    "digits": Digits(),
}
"""All of them, by name. To add one, add it here."""


def load(name: str) -> Dataset:
    """Load one of :data:`DATASETS`, downloaded on first use where it is not bundled.

    Raises:
        DataError: No dataset has that name, or its files are damaged.
        StorageError: It could not be downloaded.
    """
    if name not in DATASETS:
        close = difflib.get_close_matches(name.lower(), DATASETS, 1)
        hint = f"did you mean {close[0]}? Datasets" if close else "datasets"
        raise DataError(f"no dataset or file {name!r}; {hint}: {', '.join(DATASETS)}")
    return DATASETS[name].load()


def entries() -> list[Entry]:
    """Return all named datasets and where each is found now; nothing is read or downloaded."""
    return [dataset.entry() for dataset in DATASETS.values()]
