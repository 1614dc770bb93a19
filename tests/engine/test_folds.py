"""Rows held out in place of the validation part."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotune.data import load, prepare
from cotune.data.dataset import TrainingData
from cotune.data.splits import further_folds
from cotune.engine.engine import Engine
from tests.support.parity import RUN_SEED, SINGLE, go_on, same_bits, spec


def folded() -> TrainingData:
    """The digits, their training part divided in four."""
    folds = further_folds(SINGLE.labels[: SINGLE.n_train], 102, seed=3)
    return replace(SINGLE, fold_of=folds)


def rearranged(data: TrainingData, fold: int) -> TrainingData:
    """With that fold as the validation part."""
    assert data.fold_of is not None
    held_out = np.flatnonzero(data.fold_of == fold)
    kept = np.flatnonzero(data.fold_of != fold)
    kept = np.concatenate((kept, np.arange(data.n_train, len(data.labels))))
    order = np.concatenate((kept, held_out))
    return replace(
        data, inputs=data.inputs[order], labels=data.labels[order], n_train=len(kept), fold_of=None
    )


@pytest.mark.parametrize("fold", [1, 4])
def test_a_fold_is_trained_and_scored_as_if_it_were_the_split(fold):
    data = folded()
    own, plain = Engine(data, RUN_SEED, max_lanes=1), Engine(rearranged(data, fold), RUN_SEED)
    own.add([replace(spec(0), fold=fold)])
    plain.add([spec(0)])
    for _ in range(2):
        ours, theirs = own.step(), plain.step()
        assert ours[0].scores == theirs[0].scores
        assert same_bits(own.weights(0), plain.weights(0))
        go_on(own, ours)
        go_on(plain, theirs)


def test_lanes_of_different_folds_are_not_trained_together():
    engine = Engine(folded(), RUN_SEED, max_lanes=4)
    engine.add([replace(spec(i), fold=i % 2) for i in range(4)])
    assert [{r.number for r in engine.step()} for _ in range(2)] == [{0, 2}, {1, 3}]


def test_data_without_folds_says_so():
    engine = Engine(SINGLE, RUN_SEED, max_lanes=1)
    engine.add([replace(spec(0), fold=1)])
    with pytest.raises(ValueError, match="not divided into folds"):
        engine.step()


def test_prepare_makes_folds_as_large_as_the_validation_part():
    data, _ = prepare(load("digits"), seed=0)
    assert data.fold_of is not None
    assert data.n_folds == 5
    counts = np.bincount(data.fold_of)[1:]
    assert np.all(np.abs(counts - (len(data.labels) - data.n_train)) <= 2)
    for fold in range(1, 5):
        classes = np.bincount(data.labels[: data.n_train][data.fold_of == fold])
        assert classes.max() - classes.min() <= 3


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    held_out=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_every_row_is_in_one_fold(labels, held_out, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folds = further_folds(np.array(labels), held_out, seed)
    assert len(folds) == len(labels)
    assert set(folds.tolist()) == set(range(1, folds.max() + 1))
    assert folds.max() <= 8
