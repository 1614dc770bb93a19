"""Logits of many rows, and the confidence interval of an accuracy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cotune.data.preprocessing.raw_rows import RawRows
from cotune.data.readers.missing import fill_missing
from cotune.engine.device import device_errors
from cotune.engine.memory import Attempt
from cotune.engine.networks.custom.whole_numbers import is_out_of_range
from cotune.exceptions import DataError, StorageError

_ROWS = 2048  # at a time


@torch.no_grad()
def compute_logits(model: nn.Module, inputs: NDArray[np.generic], device: str = "cpu") -> Tensor:
    """Return logits, ``float64 [rows, classes]``, on the CPU.

    Args:
        model: From rows as they are in the data to logits; it is left on the device.
        inputs: ``[rows, ...]``, perhaps more than fits the memory. In rows of features, NaN is a
            missing value.

    Raises:
        DataError: The network takes whole numbers, and a row holds other numbers or one that it
            cannot look up; the row is named.
        StorageError: The device failed, or has no memory for a single row.
    """
    preprocessing = getattr(model, "preprocessing", None)

    def logits(start: int, stop: int) -> Tensor:
        # torch.tensor copies: a memory map may not be written to, of which from_numpy would warn.
        some = inputs[start:stop]
        if isinstance(preprocessing, RawRows):
            preprocessing.check_whole(some, start)
        elif preprocessing is not None:
            some = fill_missing(preprocessing, some)
        rows = torch.tensor(_as_torch_can(some), device=device)
        out: Tensor = model(rows)
        return out.cpu().double()

    chunks: list[Tensor] = []
    start, rows = 0, _ROWS
    with device_errors(torch.device(device)):
        model = model.to(device)
        while start < len(inputs):
            with Attempt() as attempt:
                try:
                    chunks.append(logits(start, start + rows))
                except IndexError as error:
                    if not is_out_of_range(error):
                        raise
                    raise DataError(_out_of_range(logits, inputs, start)) from error
                start += rows
            if attempt.failed and rows == 1:
                raise StorageError(f"device: {device} has too little memory for one row")
            rows = max(1, rows // 2) if attempt.failed else rows
    return torch.cat(chunks)


def _out_of_range(
    logits: Callable[[int, int], Tensor], inputs: NDArray[np.generic], start: int
) -> str:
    """Describe the first row that a network cannot look up."""
    for row in range(start, len(inputs)):
        try:
            logits(row, row + 1)
        except IndexError:
            start = row
            break
    low, high = inputs[start].min(), inputs[start].max()
    return (
        f"row {start} (counted from 0): holds whole numbers from {low} to {high}, of which the "
        "network cannot look up one; give it rows with the numbers of its training, or make a "
        "network with more places"
    )


def _as_torch_can(rows: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return rows that PyTorch takes: without negative strides, in native byte order."""
    return np.ascontiguousarray(rows, rows.dtype.newbyteorder("="))


def wilson_interval(hits: int, rows: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927, eq. 4), which also holds near 0 and 1."""
    from scipy.stats import binomtest

    interval = binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
