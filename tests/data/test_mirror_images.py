from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cotune.data import from_arrays
from cotune.data.mirror_images import may_be_mirrored


def test_digits_may_not():
    bunch = load_digits()
    assert not may_be_mirrored(from_arrays(bunch.images, bunch.target, test=False), None)


@pytest.mark.parametrize("axis", [0, 2])
def test_stripes_may(axis):
    """Rows or columns of light, with colours first or last; their place says nothing."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2
    images = rng.normal(size=(300, 8, 8, 3)) * 0.1
    for image, label in zip(images, labels, strict=True):
        place = slice(2, 6)
        image[(place, slice(None)) if label else (slice(None), place)] += 1
    if axis == 0:
        images = images.transpose(0, 3, 1, 2)
    dataset = from_arrays(np.ascontiguousarray(images), labels, test=False)
    assert may_be_mirrored(dataset, axis)
