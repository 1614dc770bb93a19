"""What a trial would come to with the time of the final model."""

from __future__ import annotations

import math
from typing import Final

from cotune.metrics import METRICS

# Errors fall as a power of the rows that a network was trained on (Hestness et al. 2017), and the
# power itself falls: on Fashion-MNIST from 0.4 after 30,000 rows to 0.1 after 300,000, for
# convolutional networks and perceptrons alike. This is its coefficient of one by the root.
_ROOT_OF_ROWS: Final = 125.0
_FEWEST_ROWS: Final = 18_000  # before, curves are steeper than this law


def forecast_error(metric: str, value: float, rows: float, final_rows: float) -> float:
    """Return about the error of a trial's configuration after the final model's training.

    Args:
        metric: One of :data:`cotune.metrics.METRICS`.
        value: The trial's.
        rows: That the trial was trained on, those of all epochs.
        final_rows: For which the final training has time.

    Returns:
        What is missing to a perfect score, or the loss.
    """
    error = value if METRICS[metric].direction == "minimize" else 1.0 - value
    ratio = final_rows / rows
    rows = max(rows, _FEWEST_ROWS)
    return error * math.exp(_ROOT_OF_ROWS * (1.0 / math.sqrt(rows * ratio) - 1.0 / math.sqrt(rows)))
