"""Rows of a file are ordered by what they hold, so that its order and format do not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_digits, load_wine

from cotune.data import from_arrays
from cotune.data.readers.arrays import canonical_order

WINE = load_wine()
DIGITS = load_digits()
IMAGES = DIGITS.images.astype(np.uint8)
SHUFFLED = np.random.default_rng(0).permutation(len(IMAGES))


@given(
    rows=arrays(np.float64, (6, 3), elements=st.sampled_from([0.0, 1.0, 2.5, np.nan])),
    order=st.permutations(range(6)),
    labels=st.lists(st.sampled_from(["a", "b", "c\0"]), min_size=6, max_size=6),
)
def test_the_same_rows_in_any_order(rows, order, labels):
    first = canonical_order(rows, np.array(labels))
    again = canonical_order(rows[order], np.array(labels)[order])
    np.testing.assert_array_equal(rows[first], rows[order][again])
    assert [labels[i] for i in first] == [labels[order[i]] for i in again]
    assert sorted(first) == list(range(6))


def test_equal_rows_stay_in_their_order():
    np.testing.assert_array_equal(canonical_order(np.ones((5, 2)), np.zeros(5)), range(5))


def test_whole_numbers_and_texts_are_the_same_labels():
    expected = canonical_order(IMAGES, DIGITS.target)
    np.testing.assert_array_equal(canonical_order(IMAGES, DIGITS.target.astype(str)), expected)
    np.testing.assert_array_equal(canonical_order(IMAGES, DIGITS.target.astype(np.uint8)), expected)
    flipped = canonical_order(IMAGES[:, ::-1], DIGITS.target)  # not contiguous
    assert not np.array_equal(flipped, expected)


def test_types_and_signs_of_zero_do_not_matter():
    table = np.array([[0.0, 3.0], [1.0, 2.0], [5.0, 5.0], [7.0, 0.0]])
    labels = np.zeros(4)
    expected = canonical_order(table, labels)
    negative = np.where(table == 0, -0.0, table)
    nan = np.where(table == 5, np.nan, table)
    for same in (negative, table.astype(np.float32), table.astype(np.int64)):
        np.testing.assert_array_equal(canonical_order(same, labels), expected)
    other_bits = np.where(table == 5, -np.float64("nan"), table)
    np.testing.assert_array_equal(canonical_order(nan, labels), canonical_order(other_bits, labels))


def test_the_same_rows_are_sealed_whatever_their_order():
    one = from_arrays(IMAGES, DIGITS.target, by_content=True)
    two = from_arrays(IMAGES[SHUFFLED], DIGITS.target[SHUFFLED].astype(str), by_content=True)
    assert one.fingerprint == two.fingerprint
    for here, there in zip(one.read_test(), two.read_test(), strict=True):
        np.testing.assert_array_equal(here, there)
    for data, images in ((one, IMAGES), (two, IMAGES[SHUFFLED])):
        assert data.rows is not None
        assert data.test_rows is not None
        np.testing.assert_array_equal(images[data.rows], data.inputs)
        np.testing.assert_array_equal(images[data.test_rows], data.read_test()[0])
        assert sorted([*data.rows, *data.test_rows]) == list(range(len(IMAGES)))


def test_a_test_set_of_its_own_keeps_its_order():
    test = (WINE.data[100:], WINE.target[100:])
    data = from_arrays(WINE.data, WINE.target, test=test, by_content=True)
    assert data.rows is not None
    np.testing.assert_array_equal(WINE.data[data.rows], data.inputs)
    np.testing.assert_array_equal(data.test_rows, range(78))
    np.testing.assert_array_equal(data.read_test()[0], WINE.data[100:])


def test_arrays_in_memory_keep_their_order():
    data = from_arrays(WINE.data, WINE.target, test=(WINE.data, WINE.target))
    assert data.rows is None
    assert data.test_rows is None
    np.testing.assert_array_equal(data.inputs, WINE.data)


@pytest.mark.parametrize("count", [0, 1])
def test_few_rows(count):
    np.testing.assert_array_equal(
        canonical_order(np.ones((count, 2)), np.zeros(count, int)), range(count)
    )
