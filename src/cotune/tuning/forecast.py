"""What trials of different lengths would come to with the time of the final model."""

from __future__ import annotations

import math
from typing import Final

from cotune.metrics import METRICS

# The error of a network falls as a power of the time that it is trained for (Hestness et al. 2017).
# Measured between trials of 12 to 24 s and final models of 120 s, on Fashion-MNIST: 0.10 to 0.15
# for averaged perceptrons, 0.25 to 0.5 for convolutional networks whose rate falls to zero.
_AVERAGED: Final = 0.1
_ANNEALED: Final = 0.25
_LEAST: Final = 1e-6


def forecast_error(
    metric: str, value: float, seconds: float, final_seconds: float, is_annealed: bool
) -> float:
    """Return about the error of a trial's configuration after the final model's training.

    Args:
        metric: One of :data:`cotune.metrics.METRICS`.
        value: The trial's.
        seconds: What the trial took.
        final_seconds: What the final training has.
        is_annealed: Whether the trial's rate fell to zero.

    Returns:
        What is missing to a perfect score, or the loss.
    """
    error = value if METRICS[metric].direction == "minimize" else 1.0 - value
    power = _ANNEALED if is_annealed else _AVERAGED
    return error * math.pow(max(seconds, _LEAST) / max(final_seconds, _LEAST), power)
