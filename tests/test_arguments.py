from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cotune import arguments
from cotune.data import Dataset
from cotune.data.reading import read_dataset
from cotune.engine.device import DEVICES, n_cores, read_device, why_broken
from cotune.exceptions import DataError, SpaceError, UsageError
from cotune.space.given import read_space
from cotune.space.presets import load_space

NAMES = ("tpe", "random", "grid")


class TestNamed:
    def test_names_and_objects_pass(self):
        marker = object()
        assert arguments.named("grid", NAMES, "sampler") == "grid"
        assert arguments.named(marker, NAMES, "sampler") is marker

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("tpee", "sampler: 'tpee' is unknown; did you mean tpe?"),
            ("Random", "sampler: 'Random' is unknown; did you mean random?"),
            ("bayes", "sampler: 'bayes' is unknown; choose one of tpe, random, grid"),
            ("", "sampler: '' is unknown; choose one of tpe, random, grid"),
        ],
    )
    def test_others(self, value, message):
        with pytest.raises(UsageError) as caught:
            arguments.named(value, NAMES, "sampler")
        assert str(caught.value) == message

    def test_a_gpu_is_no_misspelt_cpu(self):
        with pytest.raises(UsageError, match=r"'gpu' is unknown; choose one of auto, cpu, cuda"):
            arguments.named("gpu", DEVICES, "device")


class TestNumbers:
    @pytest.mark.parametrize("value", [1, 10**30, np.int64(7), np.uint8(7)])
    def test_positive(self, value):
        assert arguments.positive(value, "n_trials") == value
        assert type(arguments.positive(value, "n_trials")) is int

    def test_none_is_no_limit(self):
        assert arguments.positive(None, "n_trials") is None

    @pytest.mark.parametrize("value", [0, -1, 1.0, "1", True, float("nan"), [1]])
    def test_not_positive(self, value):
        with pytest.raises(UsageError, match=r"^n_trials: .* is not a whole number above 0$"):
            arguments.positive(value, "n_trials")

    def test_a_number_too_long_to_print(self):
        with pytest.raises(UsageError, match=r"^n_trials: a number of thousands of digits is not"):
            arguments.positive(-(10**5000), "n_trials")

    @pytest.mark.parametrize("value", [0, 2**32 - 1, np.int64(5)])
    def test_seed(self, value):
        assert arguments.read_seed(value) == value

    @pytest.mark.parametrize("value", [-1, 2**32, 0.0, "0", None, False])
    def test_no_seed(self, value):
        with pytest.raises(UsageError, match=r"is not a whole number from 0 to 4294967295$"):
            arguments.read_seed(value)

    def test_timeout(self):
        assert arguments.read_timeout(None, None) == 300.0
        assert arguments.read_timeout(None, 5) is None
        assert arguments.read_timeout("2m", 5) == 120.0

    @given(st.none() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
    def test_anything_else(self, value):
        for read in (
            lambda: arguments.positive(value, "workers"),
            lambda: arguments.read_seed(value),
            lambda: arguments.read_timeout(value, None),
            lambda: read_device(value),
        ):
            try:
                read()
            except UsageError as error:
                message = str(error)
                assert "\n" not in message


class TestDevice:
    def test_cpu_is_always_there(self):
        assert read_device("cpu") == "cpu"

    def test_auto_is_what_there_is(self):
        there = "cuda" if torch.cuda.is_available() else "cpu"
        assert read_device("auto") == there

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    def test_cuda_asked_for_and_absent(self):
        with pytest.raises(UsageError) as caught:
            read_device("cuda")
        message = "device: PyTorch finds no CUDA device here; use --device cpu"
        assert str(caught.value) == message

    @pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an Apple GPU")
    def test_an_apple_gpu_asked_for_and_absent(self):
        with pytest.raises(UsageError) as caught:
            read_device("mps")
        message = "device: PyTorch finds no Apple GPU (MPS) here; use --device cpu"
        assert str(caught.value) == message

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    def test_a_gpu_that_does_not_work(self, monkeypatch):
        """PyTorch is made to say that there is one; using it then fails for real."""
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        line = r"^device: cuda does not work: [^\n]+; "
        with pytest.raises(UsageError, match=f"{line}use --device cpu$"):
            read_device("cuda")
        with pytest.warns(UserWarning, match=f"{line}training on the CPU$"):
            assert read_device("auto") == "cpu"

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    def test_a_driver_that_is_too_old(self, monkeypatch):
        """PyTorch then warns, and finds no device."""

        def warned() -> bool:
            warnings.warn("CUDA initialization: the driver is too old.\nUpdate it.", stacklevel=2)
            return False

        monkeypatch.setattr("torch.cuda.is_available", warned)
        line = (
            "^device: PyTorch finds no CUDA device here: CUDA initialization: the driver is too old"
        )
        with pytest.raises(UsageError, match=rf"{line}\.; use --device cpu$"):
            read_device("cuda")
        with pytest.warns(UserWarning, match=rf"{line}\.; training on the CPU$"):
            assert read_device("auto") == "cpu"

    def test_a_device_is_tried_out(self):
        assert why_broken("cpu") == ""
        assert why_broken("meta").startswith("meta does not work: ")

    def test_unknown(self):
        with pytest.raises(
            UsageError, match=r"^device: 'tpu' is unknown; choose auto, cpu, cuda or mps"
        ):
            read_device("tpu")


class TestSpace:
    def test_forms(self, tmp_path):
        data = {"lr": {"type": "float", "low": 0.1, "high": 0.2}}
        path = tmp_path / "space.yaml"
        path.write_text("lr: {type: float, low: 0.1, high: 0.2}")
        space = read_space(data)
        assert space.to_dict() == data
        assert read_space(space) is space
        assert read_space(path).to_dict() == data
        assert read_space(str(path)).to_dict() == data
        assert read_space("mlp").to_dict() == load_space("mlp").to_dict()

    def test_no_space(self):
        with pytest.raises(SpaceError, match=r"did you mean mlp"):
            read_space("mpl")


class TestData:
    def test_forms(self):
        digits = read_dataset("digits")
        assert isinstance(digits, Dataset)
        assert read_dataset(digits) is digits
        rows = np.arange(40, dtype=np.float32).reshape(20, 2)
        pair = read_dataset((rows, np.arange(20) % 2))
        assert pair.input_shape == (2,)

    @pytest.mark.parametrize("data", [None, 5, (1, 2, 3), {"inputs": 1}])
    def test_none_of_them(self, data):
        with pytest.raises(UsageError, match=r"^data: give the name of a dataset, a path, a Data"):
            read_dataset(data)

    def test_unknown_name(self):
        with pytest.raises(DataError, match=r"did you mean digits"):
            read_dataset("digit")


def test_cores():
    assert n_cores() >= 1


def test_nothing_waits_for_pytorch():
    # Errors in plain arguments are said at once: PyTorch takes seconds to import.
    modules = "cotune.cli.main, cotune.arguments, cotune.study.study"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
