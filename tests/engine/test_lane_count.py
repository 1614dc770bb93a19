from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cotune.data.dataset import TrainingData
from cotune.engine import lane_count as capacity
from cotune.engine import step as runner
from cotune.engine.lane_count import MOST_LANES, measure_lanes
from cotune.engine.memory import Attempt
from cotune.engine.step import DeviceData
from tests.support.parity import CPU, SINGLE


def load(rows: int = 500, features: int = 784, dtype: type = np.float32) -> DeviceData:
    generator = np.random.default_rng(0)
    inputs: NDArray[Any] = generator.standard_normal((rows, features)).astype(dtype)
    labels = generator.integers(0, 10, rows)
    return DeviceData.load(TrainingData(inputs, labels, rows - 1, 10, (features,)), CPU)


@pytest.mark.parametrize("features", [4, 784])
def test_it_is_quick_and_the_same_every_time(features):
    data = load(features=features)
    measured = []
    for _ in range(3):
        began = time.perf_counter()
        measured.append(measure_lanes(data))
        assert time.perf_counter() - began < 3.0
    # A neighbour at most: on a machine that does other work, a measurement can go astray.
    assert max(measured) <= 2 * min(measured)
    assert 4 <= measured[0] <= MOST_LANES["cpu"]


@pytest.mark.parametrize("rows", [3, 20])
def test_fewer_rows_than_a_minibatch(rows):
    assert 1 <= measure_lanes(load(rows, 4)) <= MOST_LANES["cpu"]


def test_double_precision():
    assert 1 <= measure_lanes(load(dtype=np.float64)) <= MOST_LANES["cpu"]


def test_images():
    data = replace(load(features=64), input_shape=(8, 8))
    assert 1 <= measure_lanes(data) <= MOST_LANES["cpu"]


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (lambda n: 1.0, 8),
        (lambda n: 1.0 / n, 16),
        (lambda n: float(n), 1),
        (lambda n: {16: 0.9}.get(n, 1.0), 8),  # not enough of a gain
        (lambda n: {4: 0.5, 2: 0.4, 1: 0.39}.get(n, 1.0), 2),
        (lambda n: float("inf") if n > 4 else 1.0, 4),
        (lambda n: float("inf") if n > 1 else 1.0, 1),
        (lambda n: float("inf"), 1),
    ],
    ids=["same", "falls", "rises", "falls a little", "falls at few", "4 fit", "1 fits", "0 fit"],
)
def test_what_pays_is_taken(monkeypatch, cost: Callable[[int], float], expected):
    monkeypatch.setattr(capacity, "_seconds_per_lane", lambda lanes, data: cost(lanes))
    assert measure_lanes(DeviceData.load(SINGLE, CPU)) == expected


def test_what_does_not_fit_is_not_taken(monkeypatch):
    make = runner.make_cohort

    def with_room_for_three(lanes, data):
        if len(lanes) > 3:
            raise MemoryError
        return make(lanes, data)

    monkeypatch.setattr(capacity, "make_cohort", with_room_for_three)
    assert measure_lanes(DeviceData.load(SINGLE, CPU)) in (1, 2)


def test_an_error_is_an_error(monkeypatch):
    monkeypatch.setattr(capacity, "make_cohort", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        measure_lanes(DeviceData.load(SINGLE, CPU))


class TestAttempt:
    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            torch.OutOfMemoryError("CUDA out of memory"),
            RuntimeError("could not create a primitive"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_ends_where_memory_runs_out(self, error):
        with Attempt() as attempt:
            raise error
        assert attempt.failed

    def test_pytorchs_own_error_on_the_cpu(self):
        with Attempt() as attempt:
            torch.empty(1 << 60)
        assert attempt.failed

    @pytest.mark.parametrize(
        "error", [RuntimeError("shapes cannot be multiplied"), ValueError("can't allocate memory")]
    )
    def test_lets_other_errors_pass(self, error):
        attempt = Attempt()
        with pytest.raises(type(error)), attempt:
            raise error
        assert not attempt.failed

    def test_all_may_be_well(self):
        with Attempt() as attempt:
            pass
        assert not attempt.failed
