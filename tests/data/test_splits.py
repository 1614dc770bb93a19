from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from cotune.data.splits import stratified_split
from cotune.exceptions import DataError, UsageError


def test_is_scikit_learns_split():
    labels = load_digits().target
    first, second = stratified_split(labels, 0.2, 7)
    theirs = train_test_split(np.arange(1797), test_size=0.2, random_state=7, stratify=labels)
    np.testing.assert_array_equal(first, np.sort(theirs[0]))
    np.testing.assert_array_equal(second, np.sort(theirs[1]))


def test_depends_on_the_seed_alone():
    labels = load_digits().target
    once, again, other = (stratified_split(labels, 0.2, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)


@settings(max_examples=80, deadline=None)
@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=12),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_class_is_in_both_parts(counts, fraction, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    first, second = stratified_split(labels, fraction, seed)
    assert sorted([*first, *second]) == list(range(len(labels)))
    for part in (first, second):
        assert set(labels[part]) == set(range(len(counts)))
        assert np.all(np.diff(part) > 0)
    if min(counts) * min(fraction, 1 - fraction) > 1:
        shares = np.bincount(labels[second]) / np.array(counts)
        assert np.all(np.abs(shares - fraction) * counts <= 2)


def test_a_class_of_one_row_is_named():
    labels = np.array([0, 0, 0, 1, 1, 1, 2])
    with pytest.raises(DataError, match=r"^zoo: too few rows of class 'yak' \(1\) to be in both"):
        stratified_split(labels, 0.3, 0, classes=("ape", "bee", "yak"), name="zoo")
    with pytest.raises(DataError, match=r"^labels: too few rows of class 2 \(1\)"):
        stratified_split(labels, 0.3, 0)


def test_many_rare_classes_are_counted():
    with pytest.raises(DataError, match=r"class 0 \(1\), 1 \(1\), .*, 4 \(1\) and 15 more to be"):
        stratified_split(np.arange(20), 0.3, 0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(UsageError, match="give one between 0 and 1"):
        stratified_split(np.array([0, 0, 1, 1]), fraction, 0)


def test_no_rows():
    with pytest.raises(DataError, match="no rows"):
        stratified_split(np.array([], np.int64), 0.2, 0)
