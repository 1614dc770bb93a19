"""Calibration of probabilities: how far they can be believed, and a temperature that mends them.

A temperature divides all logits (Guo et al. 2017): probabilities become flatter or steeper, and
the order of the classes stays.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cotune.diagnostics import Calibration, Reliability
from cotune.standard_error import SURE

_MOST_BINS: Final = 15
_BIN_ROWS: Final = 25  # at least
_BOUNDS: Final = (0.1, 10.0)  # of a temperature
_PARTS: Final = 5  # each is scaled by what was fitted on the others
_FEWEST_ROWS: Final = 50


def reliability(logits: Tensor, labels: Tensor) -> Reliability:
    """Compare the probabilities of predicted classes with how often these are right.

    Args:
        logits: ``[rows, classes]``, at least one row.
        labels: ``[rows]`` class indices.
    """
    logits = logits.double()
    sureness, predicted = logits.softmax(-1).max(1)
    order = sureness.argsort(stable=True)
    right = (predicted == labels).double()[order]
    sureness = sureness[order]
    rows = len(labels)
    n_bins = min(max(1, rows // _BIN_ROWS), _MOST_BINS)
    bins, error, chance = [], 0.0, 0.0
    parts = zip(sureness.tensor_split(n_bins), right.tensor_split(n_bins), strict=True)
    for sure, hits in parts:
        bins.append((float(sure.mean()), float(hits.mean()), len(sure)))
        error += float((sure - hits).sum().abs()) / rows
        # E|X| of a normal X is sd * sqrt(2 / pi); the hits of a bin are about normal.
        chance += math.sqrt(2 / math.pi * float((sure * (1 - sure)).sum())) / rows
    return Reliability(rows, float(F.cross_entropy(logits, labels)), error, chance, bins)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature with the smallest log loss, within 0.1 and 10.

    Of rows that are all classified right, none would be low enough, although they do not tell how
    wrong a sure prediction can be. So one mistake more is counted, as by the rule of succession.

    Args:
        logits: ``[rows, classes]``.
        labels: ``[rows]`` class indices.
    """
    from scipy.optimize import minimize_scalar

    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return float(_losses(logits / math.exp(log_temperature), labels).mean())

    low, high = map(math.log, _BOUNDS)
    return math.exp(float(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each row, with its share of one mistake more, ``[rows]``.

    Mistaken is the class that comes next to the true one.
    """
    logs = logits.log_softmax(-1)
    others = logs.scatter(1, labels[:, None], -math.inf).max(1).values
    return -logs.gather(1, labels[:, None])[:, 0] - others / len(labels)


def calibrate(logits: Tensor, labels: Tensor, trainings: int = 1) -> Calibration:
    """Fit a temperature, and use it if it lowers the log loss of other rows beyond noise.

    Args:
        logits: ``[rows, classes]`` of rows that the networks were not trained on.
        labels: ``[rows]`` class indices.
        trainings: How many networks the logits are of.
    """
    logits, rows = logits.double(), len(labels)
    if rows < _FEWEST_ROWS:
        reason = f"{rows} held-out rows are too few to fit one"
        return Calibration(rows=rows, trainings=trainings, reason=reason)
    scaled = torch.empty_like(logits)
    part_of = np.random.default_rng(0).permutation(rows) % _PARTS
    for part in range(_PARTS):
        held_out = torch.from_numpy(part_of == part)
        scaled[held_out] = logits[held_out] / fit_temperature(logits[~held_out], labels[~held_out])
    gains = _losses(logits, labels) - _losses(scaled, labels)
    gain, gain_error = float(gains.mean()), float(gains.std()) / math.sqrt(rows)
    fitted, helps = fit_temperature(logits, labels), gain > SURE * gain_error
    return Calibration(
        temperature=fitted if helps else 1.0,
        fitted=fitted,
        rows=rows,
        trainings=trainings,
        gain=gain,
        gain_error=gain_error,
        reason="" if helps else "does not lower their log loss beyond noise",
        held_out=(reliability(logits, labels), reliability(scaled, labels)),
    )
