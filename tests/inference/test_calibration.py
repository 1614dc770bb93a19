"""Temperatures and calibration errors, on logits whose true temperature is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cotune.inference.calibration import calibrate, fit_temperature, reliability


def drawn(temperature: float, rows: int, seed: int = 0, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Logits, and labels drawn by their probabilities at that temperature."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3.0 * torch.randn(rows, classes, generator=generator)
    labels = (logits / temperature).softmax(-1).multinomial(1, generator=generator)[:, 0]
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found(temperature):
    assert fit_temperature(*drawn(temperature, 20_000)) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("temperature", [0.5, 2.5])
def test_one_that_helps_is_used(temperature):
    logits, labels = drawn(temperature, 2_000)
    found = calibrate(logits, labels, trainings=3)
    assert found.temperature == found.fitted == pytest.approx(temperature, rel=0.15)
    assert (found.rows, found.trainings, found.reason) == (2_000, 3, "")
    assert found.held_out is not None
    before, after = found.held_out
    assert after.loss < before.loss
    assert before.loss - after.loss == pytest.approx(found.gain)
    assert after.error < 0.5 * before.error


def test_one_that_does_not_help_is_not_used():
    """Of probabilities that are right, about one temperature in forty is used by chance."""
    found = [calibrate(*drawn(1.0, 500, seed)) for seed in range(40)]
    unused = [one for one in found if one.temperature == 1.0]
    assert len(unused) >= 36
    assert {one.reason for one in unused} == {"does not lower their log loss beyond noise"}


def test_few_mistakes_tell_nothing():
    logits = 5.0 * torch.eye(2)[torch.arange(200) % 2]
    labels = torch.arange(200) % 2
    labels[:9] = 1 - labels[:9]
    found = calibrate(logits, labels)
    assert (found.temperature, found.fitted) == (1.0, None)
    assert found.reason == "9 mistakes in 200 held-out rows are too few to fit one"
    labels[9] = 1 - labels[9]
    assert calibrate(logits, labels).fitted is not None


def test_the_error_is_the_mean_distance_within_bins():
    logits, labels = drawn(2.0, 1_000)
    found = reliability(logits, labels)
    shares = logits.double().softmax(-1).numpy()
    sure, right = shares.max(1), shares.argmax(1) == labels.numpy()
    parts = np.array_split(np.argsort(sure, kind="stable"), 15)
    wanted = sum(abs(sure[rows].mean() - right[rows].mean()) * len(rows) for rows in parts) / 1_000
    assert found.error == pytest.approx(wanted)
    assert [rows for _, _, rows in found.bins] == [len(rows) for rows in parts]
    assert sum(rows for _, _, rows in found.bins) == found.rows == 1_000


@pytest.mark.parametrize(("rows", "bins"), [(1, 1), (30, 1), (114, 4), (10_000, 15)])
def test_few_rows_have_few_bins(rows, bins):
    assert len(reliability(*drawn(1.0, rows)).bins) == bins


def test_the_error_of_right_probabilities_is_chance():
    found = [reliability(*drawn(1.0, 1_500, seed)) for seed in range(30)]
    error, chance = (np.mean([getattr(one, name) for one in found]) for name in ("error", "chance"))
    assert error == pytest.approx(chance, rel=0.1)
