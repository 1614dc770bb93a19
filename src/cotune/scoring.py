"""Logits of many rows, and how sure one can be of a share of right ones."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_ROWS = 2048  # at a time


@torch.no_grad()
def compute_logits(model: nn.Module, inputs: NDArray[np.generic], device: str = "cpu") -> Tensor:
    """``float64 [rows, classes]``, on the CPU.

    Args:
        model: From rows as they are in the data to logits; it is left on the device.
        inputs: ``[rows, ...]``, perhaps more than fits the memory.
    """
    model = model.to(device)
    chunks = [
        # torch.tensor copies: a memory map may not be written to, of which from_numpy would warn.
        model(torch.tensor(_as_torch_can(inputs[i : i + _ROWS]), device=device)).double().cpu()
        for i in range(0, len(inputs), _ROWS)
    ]
    return torch.cat(chunks)


def _as_torch_can(rows: NDArray[np.generic]) -> NDArray[np.generic]:
    """Neither turned round, as ``rows[::-1]``, nor in another byte order."""
    return np.ascontiguousarray(rows, rows.dtype.newbyteorder("="))


def wilson_interval(hits: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927, eq. 4): keeps to 0-1, holds for shares near 1."""
    from scipy.stats import binomtest

    interval = binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
