from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from cotune.data import Standardize, check_learnable, from_arrays, load, prepare
from cotune.data.preprocessing.card import preprocessing_from_json
from cotune.exceptions import DataError, ModelFileError, UsageError

WINE = load_wine().data
SOME = np.arange(0, 178, 2)


def test_table_is_scaled_as_scikit_learn_does():
    standardize = Standardize.fit(WINE, SOME)
    theirs = StandardScaler().fit(WINE[SOME])
    np.testing.assert_allclose(standardize.mean, theirs.mean_, rtol=1e-12)
    np.testing.assert_allclose(standardize.std, theirs.scale_, rtol=1e-12)
    ours = standardize.apply(WINE)
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    np.testing.assert_array_equal(ours, theirs.transform(WINE).astype(np.float32))


def test_images_have_one_mean_and_deviation():
    images = load("digits").inputs
    rows = np.arange(100, 300)
    standardize = Standardize.fit(images, rows)
    assert standardize.input_shape == (8, 8)
    assert standardize.features == 64
    assert standardize.mean == pytest.approx(images[rows].mean(dtype=float), rel=1e-12)
    assert standardize.std == pytest.approx(images[rows].std(dtype=float), rel=1e-12)
    scaled = standardize.apply(images)
    assert scaled.shape == (len(images), 64)
    assert scaled[rows].mean() == pytest.approx(0, abs=1e-6)


def test_rows_outside_the_training_part_do_not_matter():
    changed = WINE.copy()
    changed[1::2] = 1e6
    assert Standardize.fit(changed, SOME) == Standardize.fit(WINE, SOME)


def test_rows_are_taken_in_order():
    standardize = Standardize.fit(WINE, SOME)
    rows = np.array([5, 3, 100, 3])
    np.testing.assert_array_equal(standardize.apply(WINE, rows), standardize.apply(WINE)[rows])
    assert standardize.apply(WINE[:0]).shape == (0, 13)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e5, 1e-300])
def test_constant_feature(value):
    table = WINE.copy()
    table[SOME, 4] = value
    with pytest.warns(UserWarning, match=r"^feature 4 \(counted from 0\) has a single value"):
        standardize = Standardize.fit(table, SOME)
    assert np.asarray(standardize.std)[4] == 1
    assert np.isfinite(standardize.apply(table)).all()
    np.testing.assert_allclose(standardize.apply(table)[SOME, 4], 0, atol=1e-9)


def test_many_constant_features_are_counted():
    message = r"^features 0, 1, 2, 3, 4 and 8 more \(counted from 0\) have a single value"
    with pytest.warns(UserWarning, match=message):
        Standardize.fit(np.ones((5, 13)), np.arange(5))


def test_constant_images():
    with pytest.warns(UserWarning, match="all pixels of all images have a single value"):
        standardize = Standardize.fit(np.full((3, 2, 2), 7, np.uint8), np.arange(3))
    assert (standardize.mean, standardize.std) == (7, 1)


def test_large_offset_and_small_spread_keep_their_precision():
    table = 1e9 + np.arange(100.0).reshape(-1, 1)
    scaled = Standardize.fit(table, np.arange(100)).apply(table)
    np.testing.assert_allclose(scaled, StandardScaler().fit_transform(table), rtol=1e-6)


@pytest.mark.parametrize("value", [1e200, np.nan, np.inf])
def test_values_without_a_mean(value):
    table = np.ones((4, 2))
    table[:, 0] = range(4)
    table[2, 1] = value
    with pytest.raises(DataError, match=r"^feature 1: values too large or not finite"):
        Standardize.fit(table, np.arange(4))


@pytest.mark.parametrize("value", [1e300, np.nan, -np.inf])
def test_apply_names_a_row_that_has_no_place(value):
    table = WINE.copy()
    table[77, 2] = value
    with pytest.raises(DataError, match=r"^row 77, feature 2 \(counted from 0\): not finite, or"):
        Standardize.fit(WINE, SOME).apply(table)


def test_no_rows():
    with pytest.raises(DataError, match="no rows"):
        Standardize.fit(WINE, np.array([], np.int64))


def test_memory_is_the_result_and_little_more():
    images = np.random.default_rng(0).integers(0, 256, (20_000, 28, 28), np.uint8)
    rows = np.arange(0, 20_000, 2)
    tracemalloc.start()
    try:
        scaled = Standardize.fit(images, rows).apply(images, rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert scaled.nbytes == 10_000 * 784 * 4
    assert peak < scaled.nbytes + 8 * 2**20


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((3, 12)), r"rows have shape \(12,\), the model was trained on \(13,\)"),
        (np.zeros(13), r"rows have shape \(\), the model"),
        (np.full((3, 13), object()), "the inputs are of type object"),
    ],
)
def test_apply_refuses(inputs, message):
    with pytest.raises(DataError, match=message):
        Standardize.fit(WINE, SOME).apply(inputs)


@pytest.mark.parametrize("inputs", [WINE, load("digits").inputs])
def test_json_gives_the_same_back(inputs):
    standardize = Standardize.fit(inputs, SOME)
    assert preprocessing_from_json(json.loads(json.dumps(standardize.to_json()))) == standardize


GOOD = {"kind": "standardize", "mean": [0.0, 1.0], "std": [1.0, 2.0], "input_shape": [2]}


@pytest.mark.parametrize(
    "change",
    [
        {"mean": None},
        {"mean": [0.0]},
        {"mean": 0.0},
        {"mean": [0.0, float("nan")]},
        {"mean": [0.0, "1"]},
        {"mean": [0.0, True]},
        {"std": [1.0, 0.0]},
        {"std": [1.0, -2.0]},
        {"std": [1.0, float("inf")]},
        {"std": [1.0, 10**400]},
        {"input_shape": []},
        {"input_shape": [0]},
        {"input_shape": [2.0]},
        {"input_shape": "2"},
        {"input_shape": [2, 1]},
        {"more": 1},
        {"kind": "scale"},
    ],
)
def test_json_refused(change):
    with pytest.raises(
        ModelFileError,
        match=r"^preprocessing.*; (export the model again|a newer Cotune may read it)$",
    ):
        preprocessing_from_json(GOOD | change)


def test_json_that_is_no_object():
    with pytest.raises(ModelFileError):
        preprocessing_from_json([GOOD])


class TestPrepare:
    def test_training_rows_come_first_in_the_datasets_order(self):
        # the row's number is in its first feature
        rows = np.stack((np.arange(200.0), np.arange(200.0) % 7), axis=1)
        dataset = from_arrays(rows, np.arange(200) % 4, test=(rows, np.arange(200) % 4))
        data, standardize = prepare(dataset, validation=0.25, seed=3)
        assert isinstance(standardize, Standardize)
        assert (len(data.inputs), data.n_train, data.n_classes) == (200, 150, 4)
        order = np.rint(
            data.inputs[:, 0] * np.asarray(standardize.std)[0] + np.asarray(standardize.mean)[0]
        ).astype(int)
        assert np.all(np.diff(order[:150]) > 0)
        assert np.all(np.diff(order[150:]) > 0)
        assert sorted(order) == list(range(200))
        np.testing.assert_array_equal(data.labels, dataset.labels[order])
        assert abs(np.bincount(data.labels[150:]) - 12.5).max() < 1
        assert standardize == Standardize.fit(dataset.inputs, order[:150])

    def test_the_seed_decides(self):
        digits = load("digits")
        first, again, other = (prepare(digits, seed=seed)[0].labels for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_every_class_is_in_both_parts_however_rare(self):
        labels = [0] * 50 + [1] * 2
        rows = np.arange(104.0).reshape(52, 2)
        data, _ = prepare(from_arrays(rows, labels, test=(rows, labels)), seed=0)
        assert set(data.labels[: data.n_train]) == set(data.labels[data.n_train :]) == {0, 1}

    def test_test_set_stays_sealed(self):
        def opened():
            raise AssertionError("the test set was opened")

        digits = replace(load("digits"), open_test=opened)
        check_learnable(digits)
        prepare(digits, seed=0)

    def test_refuses(self):
        rows = np.eye(3)
        dataset = from_arrays(rows, [1, 1, 1], test=(rows, [1, 1, 1]))
        with pytest.raises(DataError, match="all 3 rows are of class '1'"):
            prepare(dataset, seed=0)
        with pytest.raises(UsageError, match="between 0 and 1"):
            prepare(load("digits"), validation=1.0, seed=0)
