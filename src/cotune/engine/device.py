"""The device and the precision of the training. PyTorch is imported only to look for a GPU."""

from __future__ import annotations

import os
import warnings
from typing import Final

from cotune.arguments import named
from cotune.exceptions import UsageError
from cotune.text import shown

DEVICES: Final = ("auto", "cpu", "cuda")


PRECISIONS: Final = ("auto", "float32", "bfloat16")


def read_device(device: str) -> str:
    """Read a device, ``cpu`` or ``cuda``; ``auto`` is a GPU when there is one."""
    if device not in DEVICES:
        raise UsageError(f"device: {shown(device)} is unknown; choose auto, cpu or cuda")
    if device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise UsageError("device: PyTorch finds no CUDA device here; use --device cpu")
    return "cpu"


def read_precision(precision: str, device: str) -> str:
    """Read a precision; warn where the device has no products of 16 bits."""
    named(precision, PRECISIONS, "precision")
    if precision == "bfloat16" and not has_bfloat16(device):
        warnings.warn("precision: bfloat16 is slower than float32 here", stacklevel=2)
    return precision


def has_bfloat16(device: str) -> bool:
    """Return whether ``cpu`` or ``cuda`` has products of 16 bits."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def n_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
