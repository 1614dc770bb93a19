"""The device and the precision of the training. PyTorch is imported only to look for a GPU."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cotune.arguments import named
from cotune.exceptions import StorageError, UsageError
from cotune.text import shown

if TYPE_CHECKING:
    import torch

DEVICES: Final = ("auto", "cpu", "cuda", "mps")
PRECISIONS: Final = ("auto", "float32", "bfloat16")
_ABSENT: Final = {
    "cuda": "PyTorch finds no CUDA device here",
    "mps": "PyTorch finds no Apple GPU (MPS) here",
}


def read_device(device: str) -> str:
    """Read a device: ``cpu``, ``cuda`` or ``mps``; ``auto`` is a CUDA GPU where one works.

    Raises:
        UsageError: It is unknown, or was asked for by name and does not work.
    """
    if device not in DEVICES:
        raise UsageError(f"device: {shown(device)} is unknown; choose auto, cpu, cuda or mps")
    if device == "cpu":
        return "cpu"
    kind = "cuda" if device == "auto" else device
    reason = why_unusable(kind)
    if not reason:
        return kind
    if device != "auto":
        raise UsageError(f"device: {reason}; use --device cpu")
    if reason != _ABSENT[kind]:
        warnings.warn(f"device: {reason}; training on the CPU", stacklevel=2)
    return "cpu"


def why_unusable(kind: str) -> str:
    """Return why ``cuda`` or ``mps`` cannot be used here, or ""."""
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")  # that a driver is too old is a warning
        backend = torch.cuda if kind == "cuda" else torch.backends.mps
        is_there = backend.is_available()
    if is_there:
        return why_broken(kind)
    return ": ".join([_ABSENT[kind], *(first_line(one.message) for one in said[:1])])


def why_broken(kind: str) -> str:
    """Return why a computation fails on a device, or ""."""
    import torch

    try:
        (torch.ones(2, device=kind) + 1.0).sum().item()
    except (RuntimeError, AssertionError) as error:
        return f"{kind} does not work: {first_line(error)}"
    return ""


@contextmanager
def device_errors(device: torch.device) -> Iterator[None]:
    """Turn an error of a GPU into one line that says what to do; memory may still run out.

    Raises:
        StorageError: The block failed on a device that is not the CPU.
    """
    from cotune.engine.memory import is_out_of_memory

    try:
        yield
    except (RuntimeError, TypeError) as error:
        if device.type == "cpu" or is_out_of_memory(error):
            raise
        raise StorageError(
            f"device: {device.type} failed: {first_line(error)}; use --device cpu"
        ) from error


def first_line(error: object) -> str:
    """Return the first line of an error of PyTorch, which may have many."""
    return str(error).strip().partition("\n")[0]


def free_memory(device: torch.device) -> float:
    """Return how many bytes are free on a GPU; infinite for a CPU."""
    import torch

    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return math.inf


def widest_float(device: torch.device) -> torch.dtype:
    """Return the type for sums of many numbers: Apple's GPUs have none of 64 bits."""
    import torch

    return torch.float32 if device.type == "mps" else torch.float64


def read_precision(precision: str, device: str) -> str:
    """Read a precision; warn where the device has no products of 16 bits."""
    named(precision, PRECISIONS, "precision")
    if precision == "bfloat16" and not has_bfloat16(device):
        warnings.warn("precision: bfloat16 is slower than float32 here", stacklevel=2)
    return precision


def has_bfloat16(device: str) -> bool:
    """Return whether a device has products of 16 bits; those of ``mps`` were not tried."""
    import torch

    if device == "mps":
        return False
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def n_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
