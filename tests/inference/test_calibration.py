"""Temperatures and calibration errors, on logits whose true temperature is known."""

from __future__ import annotations

import math

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
    # It is of one mistake more.
    assert before.loss - after.loss == pytest.approx(found.gain, abs=0.02)
    assert after.error < 0.5 * before.error


def test_one_that_does_not_help_is_not_used():
    """Of probabilities that are right, about one temperature in forty is used by chance."""
    found = [calibrate(*drawn(1.0, 500, seed)) for seed in range(40)]
    unused = [one for one in found if one.temperature == 1.0]
    assert len(unused) >= 36
    assert {one.reason for one in unused} == {"does not lower their log loss beyond noise"}


@pytest.mark.parametrize("sureness", [0.7, 0.9, 0.99, 0.999, 0.999999])
def test_without_a_mistake_it_gets_no_surer_than_the_rows_tell(sureness):
    """200 right rows tell of about one mistake in 200, and of nothing rarer."""
    labels = torch.arange(200) % 2
    logits = math.log(sureness / (1 - sureness)) * torch.eye(2)[labels]
    found = calibrate(logits, labels)
    assert found.fitted is not None
    scaled = float((logits / found.fitted).softmax(-1).max())
    assert scaled == pytest.approx(200 / 201, abs=1e-3)
    assert (found.temperature < 1.0) == (sureness < 200 / 201)


def test_few_rows_tell_nothing():
    found = calibrate(*drawn(4.0, 49))
    assert (found.temperature, found.fitted) == (1.0, None)
    assert found.reason == "49 held-out rows are too few to fit one"
    assert calibrate(*drawn(4.0, 50)).fitted is not None


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
