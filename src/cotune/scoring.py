"""Probabilities of many rows, and how sure one can be of a share of right ones."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

_ROWS = 2048  # at a time


@torch.no_grad()
def probabilities(
    model: nn.Module, inputs: NDArray[np.generic], device: str = "cpu"
) -> NDArray[np.float64]:
    """``[rows, classes]``, each row's sum 1.

    Args:
        model: From rows as they are in the data to logits; it is left on the device.
        inputs: ``[rows, ...]``, perhaps more than fits the memory.
    """
    model = model.to(device)
    chunks = [
        # torch.tensor copies: a memory map may not be written to, of which from_numpy would warn.
        model(torch.tensor(inputs[i : i + _ROWS], device=device)).double().softmax(-1).cpu()
        for i in range(0, len(inputs), _ROWS)
    ]
    return torch.cat(chunks).numpy()


def wilson_interval(hits: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927, eq. 4): keeps to 0-1, holds for shares near 1."""
    from scipy.stats import binomtest

    interval = binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
