"""Telling that memory ran out, and giving up what took it."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

import torch

# On a CPU, PyTorch and oneDNN, which convolves, have no class of their own for it; neither have
# cuBLAS, cuDNN and Apple's GPUs.
_MESSAGES: Final = (
    "can't allocate memory",
    "could not create a primitive",
    "out of memory",
    "STATUS_ALLOC_FAILED",
)


class Attempt:
    """``with Attempt() as attempt:`` a block that ends where memory runs out.

    Attributes:
        failed: Whether it did. By then all that the block alone held on to is free.
    """

    failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.failed = self.failed or is_out_of_memory(error)
        return is_out_of_memory(error)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether there was too little memory."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(known in str(error) for known in _MESSAGES)
    )
