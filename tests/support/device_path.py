"""What a GPU would refuse or wait for, found on a CPU.

``meta`` stands for the GPU: its tensors have shapes and no values, so nothing can be read from
them. What PyTorch lets pass on ``meta`` and not on a GPU, or what a GPU makes the host wait for,
is noted here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
# They have to know values before they know the shape of their result, or a number.
_WAITING = (
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique_consecutive",
)


class OnDevice(TorchDispatchMode):
    """Notes operations on ``meta`` by what is wrong with them on a GPU.

    Attributes:
        mixed: Operations on tensors of two devices; scalars of the CPU may go with any.
        waits: Operations for which the host waits, but copies.
        copies: Copies to or from the device: the host waits for those that block.
        in_graph: No copy from the host can be recorded in a CUDA graph.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mixed: list[str] = []
        self.waits: list[str] = []
        self.copies: list[str] = []
        self.in_graph: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        there = [one for one in tensors if one.is_meta]
        if name in ("copy_", "_to_copy") and tensors:
            source, blocks = tensors[-1].device, not kwargs.get("non_blocking")
            target = torch.device(kwargs.get("device") or source)
            if name == "copy_":
                target, blocks = tensors[0].device, len(args) < 3 or not args[2]
            if source.type != target.type:
                self.in_graph.append(str(func))
                if blocks or target.type != "meta":
                    self.copies.append(str(func))
        elif there:
            if name in _WAITING or (name == "index" and self._by_mask(args[1])):
                self.waits.append(str(func))
            is_fused = name.startswith("_fused_")  # its steps and rates have to be there too
            if any(not one.is_meta and (one.ndim or is_fused) for one in tensors):
                self.mixed.append(str(func))
            if is_fused:
                return None  # PyTorch has not all of them for meta
        return func(*args, **kwargs)

    @staticmethod
    def _by_mask(indices: Sequence[Tensor | None]) -> bool:
        return any(one is not None and one.dtype == torch.bool for one in indices)


class _NewTensors(TorchFunctionMode):
    """Notes tensors that are made of Python's numbers on the device: a copy that blocks."""

    def __init__(self, noted: OnDevice) -> None:
        super().__init__()
        self._noted = noted

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor, Tensor.new_tensor) and result.is_meta:
            self._noted.copies.append(func.__name__)
        return result


@contextmanager
def on_device() -> Iterator[OnDevice]:
    """Note what is wrong within the block."""
    noted = OnDevice()
    with _NewTensors(noted), noted:
        yield noted
