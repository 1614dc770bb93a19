"""A user's network as an architecture: the form in which lanes hold it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from cotune.engine.networks.common import OVERHEAD, Architecture, Tensors
from cotune.engine.networks.custom.module import CustomModule
from cotune.engine.networks.custom.structure import Structure, structure_of
from cotune.engine.networks.custom.whole_numbers import is_out_of_range, out_of_range
from cotune.exceptions import UsageError


class CustomArchitecture(Architecture):
    """One of a user's networks, which has its weights already.

    Args:
        live: The network, whose tensors are the lane's first ones.
    """

    def __init__(self, live: CustomModule) -> None:
        self.live = live
        self.n_inputs = math.prod(live.input_shape)
        self.n_classes = live.n_classes

    @cached_property
    def compared(self) -> Structure:
        """Structure that networks must share to be computed as one."""
        live = self.live
        found = structure_of(live.net)
        return replace(found, key=f"{live.layout}{live.gives_probabilities}{found.key}")

    @property
    def structure(self) -> str:
        return self.compared.key

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for name, value in self.live.trained().items()}

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for name, value in self.live.buffers_of_floats().items()}

    def module(self, dropout: Sequence[float]) -> CustomModule:
        """Return the network itself, which has rates of its own."""
        return self.live

    @property
    def work(self) -> int:
        return OVERHEAD + sum(value.numel() for value in self.live.parameters())

    def start(self, seed: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensors, Tensors]:
        """Return the network's own tensors; the user's code drew them."""
        self.live.to(device, dtype)
        return self.live.trained(), self.live.buffers_of_floats()

    def constants(self) -> Tensors:
        return self.live.constants()

    def check_trainable(self, rows: Tensor) -> None:
        """Make sure that it has parameters, takes all these rows, and gives logits in training.

        Args:
            rows: ``[some, features]``.

        Raises:
            UsageError: It does not.
        """
        if not self.live.trained():
            raise UsageError(
                "model: PyTorch finds no parameters in the network; keep layers as attributes or "
                "in nn.ModuleList"
            )
        with seeded(0):
            try:
                out = self.live.train()(rows)
            except Exception as error:
                if not rows.is_floating_point() and is_out_of_range(error):
                    raise UsageError(f"model: {out_of_range(self.live.net, rows)}") from error
                raise
        self.live.eval()
        if not isinstance(out, Tensor):
            kind = type(out).__name__
            raise UsageError(f"model: the network gives a {kind} while training, not a tensor")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's random numbers of the CPU within the block, and restore them after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
