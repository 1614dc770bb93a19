"""Data that a device or the memory has no room for: mapped files, minibatches that come over."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cotune.data import load, memory, prepare
from cotune.data.memory import free_memory, new_array, take
from cotune.engine.engine import Engine
from cotune.engine.step import DeviceData
from cotune.exceptions import StorageError
from tests.support.parity import CPU, cnn, digits, go_on, same_bits, spec


def is_mapped(array: np.ndarray) -> bool:
    return isinstance(array.base, np.memmap)


class TestMappedArrays:
    def test_what_fits_is_in_memory(self):
        assert new_array((3, 4), np.float32).base is None
        assert free_memory() > 0

    def test_what_does_not_is_in_a_file_without_a_name(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        monkeypatch.setattr(memory, "free_memory", lambda: 2e6)
        tracemalloc.start()
        try:
            array = new_array((1000, 1000), np.float64)
            array[:] = 3.0
            assert tracemalloc.get_traced_memory()[1] < 1e6
        finally:
            tracemalloc.stop()
        assert is_mapped(array)
        assert array.sum() == 3e6
        assert list(tmp_path.iterdir()) == []
        deleted = f"{tmp_path}/"
        assert deleted in Path("/proc/self/maps").read_text()
        del array
        gc.collect()
        assert deleted not in Path("/proc/self/maps").read_text()

    def test_a_disk_without_room(self, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", "/dev/shm")
        with pytest.raises(
            StorageError, match=r"^/dev/shm: has no room for 1152921504\.6 GB of da"
        ):
            new_array((2**60,), np.uint8)

    @pytest.mark.parametrize("free", [0, 10**9])
    def test_take(self, monkeypatch, free):
        monkeypatch.setattr(memory, "free_memory", lambda: free)
        rows = np.random.default_rng(0).normal(size=(50_000, 50))
        places = np.random.default_rng(1).permutation(50_000)[:40_000]
        taken = take(rows, places)
        np.testing.assert_array_equal(taken, rows[places])
        assert taken.base is None or is_mapped(taken)

    def test_prepared_data_is_the_same(self, monkeypatch):
        here, _ = prepare(load("digits"), seed=3)
        digits = load("digits")
        monkeypatch.setattr(memory, "free_memory", lambda: 0)
        there, _ = prepare(digits, seed=3)
        assert is_mapped(there.inputs)
        assert here.inputs.base is None
        assert here.inputs.tobytes() == there.inputs.tobytes()


class TestStreaming:
    @pytest.mark.parametrize("make", [spec, cnn])
    def test_bits_are_the_same(self, make):
        data = replace(digits(200, 60, inked=-1), input_shape=(8, 8))
        specs = [make(number, shift=1, flip=True, dropout=0.3) for number in range(2)]
        results = []
        for most in (None, 0):
            engine = Engine(data, 7, max_lanes=len(specs))
            engine._data = DeviceData.load(data, CPU, most)
            assert engine._data.is_streamed == (most == 0)
            engine.add(specs)
            scores = []
            for _ in range(2):
                reports = engine.step()
                scores.append([(r.number, r.train_loss, r.scores) for r in reports])
                go_on(engine, reports)
            results.append((scores, [engine.weights(one.number) for one in specs]))
        (scores, weights), (streamed_scores, streamed_weights) = results
        assert scores == streamed_scores
        assert all(map(same_bits, weights, streamed_weights))

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_on_a_gpu(self):
        data, device = digits(200, 60), torch.device("cuda")
        losses = []
        for most in (None, 0):
            engine = Engine(data, 7, "cuda", max_lanes=2)
            engine._data = DeviceData.load(data, device, most)
            assert engine._data.inputs.is_cuda == (most is None)
            engine.add([spec(0), spec(1)])
            losses.append([report.scores["loss"] for report in engine.step()])
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
