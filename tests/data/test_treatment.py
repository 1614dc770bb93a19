"""What is done to rows of arrays: scaled per channel, by one scale, or given as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import cotune
from cotune.data.preprocessing.preprocess import Standardize
from cotune.exceptions import UsageError

VOCABULARY = 30
ROWS = 240


def tokens() -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids; the class is whether 7 is among them."""
    rng = np.random.default_rng(0)
    x = rng.integers(8, VOCABULARY, (ROWS, 6))
    y = np.arange(ROWS) % 2
    x[y == 1, rng.integers(0, 6, ROWS // 2)] = 7
    return x, y


class Lookup(nn.Module):
    def __init__(self, width: int, n_classes: int, places: int = VOCABULARY) -> None:
        super().__init__()
        self.embed = nn.Embedding(places, width)
        self.out = nn.Linear(width, n_classes)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.out(self.embed(rows).amax(1))
        return found


def build(trial, n_classes):
    return Lookup(trial.suggest_int("width", 8, 16), n_classes)


def build_short(trial, n_classes):
    return Lookup(trial.suggest_int("width", 8, 16), n_classes, places=12)


def sensors() -> tuple[np.ndarray, np.ndarray]:
    """Series of two channels; the small one tells the class."""
    rng = np.random.default_rng(0)
    y = np.arange(ROWS) % 2
    small = rng.normal(size=(ROWS, 16)) * 0.2 + y[:, None]
    large = 100_000 + rng.normal(0, 3_000, (ROWS, 1)) + rng.normal(0, 300, (ROWS, 16))
    return np.stack([small, large], 2).astype(np.float32), y


FEW = {"lr": 0.02, "optimizer": "adam", "epochs": 30, "batch_size": 32}


@pytest.fixture(scope="module")
def looked_up(tmp_path_factory):
    out = tmp_path_factory.mktemp("tokens") / "run"
    return cotune.run(tokens(), model=build, n_trials=2, workers="in-process", fixed=FEW, out=out)


def test_ids_reach_a_network_as_they_are(looked_up):
    assert looked_up.test_accuracy > 0.95
    remarks = looked_up._run.data_config().dataset.remarks
    assert any("reach the network as they are (int64)" in remark for remark in remarks)


def test_the_model_takes_ids(looked_up):
    x, y = tokens()
    model = cotune.load(looked_up.path, model=build)
    with torch.no_grad():
        predicted = model(torch.from_numpy(x)).argmax(1).numpy()
    assert (predicted == y).mean() > 0.95
    named = cotune.predict(looked_up.path, x.astype(np.int16), model=build)
    assert (named.astype(int) == predicted).all()
    scored = cotune.evaluate(looked_up.path, (x, y), model=build)
    assert scored.accuracy == pytest.approx((predicted == y).mean())


def test_ids_are_exported(looked_up, tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    x, _ = tokens()
    done = cotune.export(looked_up.path, "onnx", tmp_path / "net.onnx", model=build)
    session = onnxruntime.InferenceSession(str(done.path))
    given = session.get_inputs()[0]
    assert "int64" in given.type
    outputs = session.run(None, {given.name: x[:5]})
    with torch.no_grad():
        expected = cotune.load(looked_up.path, model=build)(torch.from_numpy(x[:5])).numpy()
    np.testing.assert_allclose(outputs[0], expected, atol=1e-4)


def test_a_table_of_ids_too_small(tmp_path: Path):
    with pytest.raises(UsageError, match=r"whole numbers from \d+ to 29.*places for 0 to 11"):
        cotune.run(
            tokens(), model=build_short, n_trials=1, workers="in-process", out=tmp_path / "run"
        )


def test_whole_numbers_are_scaled_for_the_built_in_network(tmp_path: Path):
    x, y = tokens()
    asked: dict[str, Any] = {"n_trials": 1, "workers": "in-process", "fixed": {"epochs": 2}}
    result = cotune.run((x, y), out=tmp_path / "a", **asked)
    assert isinstance(result.model.preprocessing, Standardize)
    raw = cotune.run((x, y), inputs="raw", out=tmp_path / "b", **asked).model.preprocessing
    assert raw.to_json()["kind"] == "raw"
    np.testing.assert_array_equal(raw.apply(x), x.astype(np.float32))


@pytest.mark.parametrize("axis", ["last", "first"])
def test_each_channel_has_its_own_scale(tmp_path: Path, axis: str):
    x, y = sensors()
    x = x if axis == "last" else np.ascontiguousarray(x.transpose(0, 2, 1))
    result = cotune.run(
        (x, y), out=tmp_path / "run", n_trials=1, workers="in-process", fixed={"epochs": 10}
    )
    assert (result.test_accuracy or 0) > 0.95
    remarks = result._run.data_config().dataset.remarks
    assert any(f"the {axis} axis is read as channels" in remark for remark in remarks)
    done = result.model.preprocessing
    channels = done.apply(x).reshape(x.shape).std((0, 1) if axis == "last" else (0, 2))
    np.testing.assert_allclose(channels, 1.0, atol=0.1)
    predicted = cotune.predict(result.path, x)  # the module and its saved form agree
    assert (predicted.astype(int) == y).mean() > 0.95


def test_the_axis_can_be_said():
    x, _ = sensors()
    rows = np.arange(len(x))
    from cotune.data.preprocessing.channels import find_channels

    assert find_channels(x, "first") == 0
    assert find_channels(x, "none") is None
    assert len(Standardize.fit(x, rows, 0).mean) == 16  # type: ignore[arg-type]
    assert isinstance(Standardize.fit(x, rows).mean, float)


def test_the_dry_run_says_what_is_done(dry_run):
    x, y = sensors()
    np.savez("s.npz", x=x, y=y)
    assert "scaled each of the 2 channels, the last axis, by its mean" in dry_run("s.npz")
    assert "scaled each of the 16 channels, the first" in dry_run("s.npz", "--channels", "first")
    assert "scaled all values of a row by one mean" in dry_run("s.npz", "--channels", "none")
    assert "scaled nothing: rows reach the network" in dry_run("s.npz", "--inputs", "raw")
    assert "all values of a row by one mean" in dry_run("digits")
    with pytest.raises(UsageError, match="inputs: 'row' is unknown; choose one of auto, raw"):
        dry_run("s.npz", "--inputs", "row")


def test_images_keep_one_scale():
    from cotune.data.preprocessing.channels import find_channels

    rng = np.random.default_rng(0)
    assert find_channels(rng.integers(0, 256, (50, 8, 8, 3), np.uint8)) is None
    assert find_channels(rng.random((50, 28, 28)).astype(np.float32)) is None
    assert find_channels(rng.random((50, 32, 32, 3)).astype(np.float32)) == 2
    assert find_channels(rng.random((50, 3, 32, 32)).astype(np.float32)) == 0
