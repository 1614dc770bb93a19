"""The precision that is faster on a device, found by measuring in a fraction of a second."""

from __future__ import annotations

import math
import time
from typing import Final

import torch

from cotune.engine.families import family_of
from cotune.engine.lane import start
from cotune.records import TrialSpec, Value

_PAYS: Final = 0.9  # bfloat16 is taken if a step then costs less than this
_STEPS: Final = 3
_ROWS: Final = 64
_MOST_SECONDS: Final = 0.5
_IMAGE: Final = (28, 28, 1)
_CLASSES: Final = 10
_NETWORK: Final[dict[str, Value]] = {
    "model": "cnn",
    "n_blocks": 2,
    "filters": 32,
    "kernel_size": 3,
    "dense_width": 0,
    "batch_norm": True,
    "optimizer": "adamw",
    "lr": 1e-3,
    "batch_size": _ROWS,
    "epochs": 1,
}


def faster_precision(device: str) -> str:
    """Return ``bfloat16`` where it is faster by a tenth for convolutions, else ``float32``.

    Args:
        device: ``cpu`` or ``cuda``.
    """
    if device == "cpu" and not (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    ):
        return "float32"
    seconds = {"float32": math.inf, "bfloat16": math.inf}
    began = time.perf_counter()
    for _ in range(_STEPS):
        for precision in seconds:
            seconds[precision] = min(seconds[precision], _seconds(device, precision))
        if time.perf_counter() > began + _MOST_SECONDS:
            break
    return "bfloat16" if seconds["bfloat16"] < _PAYS * seconds["float32"] else "float32"


def _seconds(device: str, precision: str) -> float:
    """Return what the second step of a small convolutional network takes."""
    place = torch.device(device)
    lane = start(TrialSpec(0, _NETWORK, 0), _IMAGE, _CLASSES, place)
    cohort = family_of(_NETWORK).cohort([lane], _ROWS, precision == "bfloat16")
    rows = torch.randn(_ROWS, math.prod(_IMAGE), generator=torch.Generator().manual_seed(0))
    rows, labels = rows.to(place), torch.zeros(_ROWS, dtype=torch.int64, device=place)
    for _ in range(2):
        began = time.perf_counter()
        losses, _hits = cohort.step(rows, labels, [1.0])
        losses.sum().item()  # waits for the device
    return time.perf_counter() - began
