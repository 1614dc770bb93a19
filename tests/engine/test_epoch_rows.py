"""An epoch of a part of the rows."""

from __future__ import annotations

import pytest
import torch

from cotune.engine.lane import key_of
from cotune.engine.step import (
    DeviceData,
    make_cohort,
    steps_per_epoch,
    train_epoch,
)
from cotune.space.hyperparameters import epochs_per_pass
from tests.support.parity import CPU, DOUBLE, RUN_SEED, spec, start_lanes


@pytest.mark.parametrize(
    ("epoch_rows", "epochs", "steps"), [(0, 1, 51), (10**6, 1, 51), (272, 3, 17), (100, 8, 6)]
)
def test_epochs_of_a_pass(epoch_rows, epochs, steps):
    key = key_of(spec(0, epoch_rows=epoch_rows))
    data = DeviceData.load(DOUBLE, CPU)
    assert epochs_per_pass(key.epoch_rows, data.n_train) == epochs
    assert steps_per_epoch(key, data) == (16, steps)


def test_the_epochs_of_a_pass_are_one_pass():
    """Three epochs of a third of the rows end where one of all rows does."""
    ends = []
    for epoch_rows, epochs in ((0, 1), (272, 3)):
        lanes, data = start_lanes([spec(0, epoch_rows=epoch_rows)], DOUBLE)
        cohort = make_cohort(lanes, data)
        for _ in range(epochs):
            assert train_epoch(cohort, data, RUN_SEED) is not None
        ends.append(lanes[0].state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][name], rtol=0.0, atol=0.0)
