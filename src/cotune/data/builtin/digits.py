"""scikit-learn's handwritten digits."""

from __future__ import annotations

import numpy as np

from cotune.data.builtin.named import Entry, NamedDataset
from cotune.data.dataset import Dataset
from cotune.data.readers.arrays import from_arrays


class Digits(NamedDataset):
    """8 x 8 grey images."""

    def entry(self) -> Entry:
        what = "scikit-learn's handwritten digits; a fixed fifth is the test set"
        return Entry("digits", what, 1437, 360, 10, (8, 8), "bundled")

    def load(self) -> Dataset:
        from sklearn.datasets import load_digits

        digits = load_digits()
        return from_arrays(
            digits.images.astype(np.float32),  # grey levels 0-16
            digits.target,
            classes=[str(digit) for digit in range(10)],
            name="digits",
        )
