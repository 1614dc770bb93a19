"""Comparing lanes with each other and with the reference trainer.

Tolerances are on the norm of a tensor: ``|a - b| <= tolerance |b|``. Lanes compute a product's sums
in another order than a network alone, so the last bits may differ.

In float64 they stay the last bits. In float32 they can grow for reasons that say nothing of the
engine: where a gradient is zero but for rounding (a pixel that is the same in the whole minibatch,
under batch norm), Adam and RMSprop make a full step of the rounding error. The float32 tests
therefore use the pixels that vary everywhere, and small networks, where no ReLU sits within
rounding of its kink.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from cotune.data.dataset import TrainingData
from cotune.engine.engine import Engine
from cotune.engine.lane import Lane, start
from cotune.engine.step import DeviceData
from cotune.records import EpochReport, TrialSpec, Value, Verdict
from tests.support.reference import train_reference

FLOAT32_TOLERANCE = 1e-5
FLOAT64_TOLERANCE = 1e-10
RUN_SEED = 11
EPOCHS = 2  # of 25 minibatches
RATES = {"adam": 2e-3, "adamw": 2e-3, "sgd": 0.03, "rmsprop": 3e-4, "muon": 2e-3}
# Newton-Schulz iterations amplify rounding some hundred times, so Muon is compared in float64.
IN_FLOAT32 = ("adam", "adamw", "sgd", "rmsprop")
CPU = torch.device("cpu")

Weights = dict[str, NDArray[Any]]


def digits(
    n_train: int, n_validation: int, dtype: type = np.float32, inked: float = 0.0
) -> TrainingData:
    """Rows of the digits; the pixels that more than a share ``inked`` of the images have ink in."""
    bunch = load_digits()
    pixels = bunch.data[:, (bunch.data > 0).mean(0) > inked]
    rows = np.random.default_rng(0).permutation(len(pixels))[: n_train + n_validation]
    scaled = (pixels - pixels.mean(0)) / pixels.std(0).clip(min=1e-9)
    return TrainingData(
        np.ascontiguousarray(scaled[rows].astype(dtype)),
        bunch.target[rows].astype(np.int64),
        n_train,
        10,
        (pixels.shape[1],),
    )


# 25 whole minibatches and a half one that has to be left out.
SINGLE = digits(16 * 25 + 8, 300, inked=0.6)
DOUBLE = digits(32 * 25 + 16, 300, dtype=np.float64)


def spec(number: int, **params: Value) -> TrialSpec:
    """A small perceptron, or whatever the parameters say."""
    small: dict[str, Value] = {
        "optimizer": "adamw",
        "n_layers": 2,
        "width": 12,
        "batch_norm": True,
        "batch_size": 16,
        "dropout": 0.0,
        "weight_decay": 1e-2,
        "momentum": 0.9,
        "epochs": 1000,
    }
    merged = small | params
    merged.setdefault("lr", RATES[str(merged["optimizer"])])
    return TrialSpec(number, merged, seed=number + 5)


def cnn(number: int, **params: Value) -> TrialSpec:
    """A small convolutional network, or whatever the parameters say."""
    small: dict[str, Value] = {
        "model": "cnn",
        "n_blocks": 2,
        "filters": 4,
        "kernel_size": 3,
        "dense_width": 0,
    }
    return spec(number, **small | params)


def start_lanes(specs: Sequence[TrialSpec], data: TrainingData) -> tuple[list[Lane], DeviceData]:
    """Fresh lanes, and what they are trained on."""
    on_device = DeviceData.load(data, CPU)
    dtype = on_device.inputs.dtype
    return [start(s, data.input_shape, data.n_classes, CPU, dtype) for s in specs], on_device


def go_on(engine: Engine, reports: Sequence[EpochReport]) -> None:
    engine.apply([Verdict(report.number, stop=False) for report in reports if not report.error])


def train(
    specs: Sequence[TrialSpec], data: TrainingData, epochs: int = EPOCHS
) -> tuple[dict[int, Weights], dict[int, list[EpochReport]], dict[int, Weights]]:
    """All as one cohort: weights at the start, reports and weights at the end, by trial."""
    engine = Engine(data, RUN_SEED, max_lanes=len(specs))
    engine.add(specs)
    at_start = {s.number: engine.weights(s.number) for s in specs}
    reports: dict[int, list[EpochReport]] = {s.number: [] for s in specs}
    for epoch in range(epochs):
        came = engine.step()
        assert len(came) == len(specs), "not one cohort"
        for report in came:
            assert report.lanes == len(specs)
            reports[report.number].append(report)
        if epoch < epochs - 1:
            go_on(engine, came)
    return at_start, reports, {s.number: engine.weights(s.number) for s in specs}


def distance(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """The largest relative difference of any tensor, by its norm."""
    assert ours.keys() == theirs.keys()
    worst = 0.0
    for name in ours:
        a, b = np.asarray(ours[name]), np.asarray(theirs[name])
        assert a.shape == b.shape, name
        if not np.array_equal(a, b):
            worst = max(worst, float(np.linalg.norm(a - b) / np.linalg.norm(b)))
    return worst


def same_bits(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return ours.keys() == theirs.keys() and all(
        np.asarray(ours[name]).tobytes() == np.asarray(theirs[name]).tobytes() for name in ours
    )


def check_against_reference(
    specs: Sequence[TrialSpec], data: TrainingData, tolerance: float
) -> None:
    at_start, reports, ours = train(specs, data)
    dtype = torch.from_numpy(data.inputs).dtype
    for s in specs:
        n = s.number
        reference = train_reference(
            s.params, at_start[n], data, RUN_SEED, EPOCHS, part=s.part, dtype=dtype
        )
        assert distance(at_start[n], ours[n]) > 1e-3 or s.params["lr"] == 0.0
        assert distance(ours[n], reference[-1].weights) <= tolerance, f"trial {n}"
        for report, epoch in zip(reports[n], reference, strict=True):
            assert report.train_loss == pytest.approx(epoch.train_loss, rel=10 * tolerance)
            # In 32 bits, a row whose classes tie may be counted either way.
            either_way = 1e-12 if tolerance < 1e-6 else 1.5 / data.n_train
            assert report.train_accuracy == pytest.approx(epoch.train_accuracy, abs=either_way)
            # beside them an AUC, where classes are uneven
            scores = {name: report.scores[name] for name in epoch.scores}
            assert scores == pytest.approx(epoch.scores, rel=10 * tolerance)


def train_beside_a_diverging_lane(
    optimizer: str, batch_norm: bool
) -> tuple[Engine, dict[int, EpochReport]]:
    """Train six lanes for an epoch, the third with an absurd rate; return engine and reports.

    The others have the bits and reports that they have beside a third one that does not diverge.
    """
    specs = [
        spec(
            i,
            optimizer=optimizer,
            batch_norm=batch_norm,
            dropout=0.1 * (i % 3),
            width=12 + i,
            n_layers=2 + i % 2,
        )
        for i in range(6)
    ]
    wild = replace(specs[2], params={**specs[2].params, "lr": 1e30})
    results = []
    for third in (specs[2], wild):
        engine = Engine(SINGLE, RUN_SEED, max_lanes=6)
        engine.add([*specs[:2], third, *specs[3:]])
        results.append((engine, {r.number: r for r in engine.step()}))
    (calm, calm_reports), (engine, reports) = results
    assert calm_reports[2].error is None
    assert reports[2].error
    for n in (0, 1, 3, 4, 5):
        assert same_bits(engine.weights(n), calm.weights(n)), n
        assert replace(reports[n], seconds=0.0) == replace(calm_reports[n], seconds=0.0)
    return engine, reports
