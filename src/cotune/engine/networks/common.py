"""Shared by the networks of all families: interfaces, constants, initial tensors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from cotune.records import Value

Tensors = dict[str, Tensor]

BATCH_NORM_MOMENTUM: Final = 0.1
BATCH_NORM_EPS: Final = 1e-5
OVERHEAD: Final = 20_000  # multiplications a row that take as long as a step's small operations

CUSTOM: Final = "own"
"""Family of the users' own networks, as configurations and model files name it."""


class Network(nn.Module):
    """One network as an ordinary module: rows ``[batch, features]`` to logits."""

    def describe(self) -> dict[str, Any]:
        """Return ``family``, and entries from which :meth:`Family.read` makes the network again."""
        raise NotImplementedError

    def tensors(self) -> Tensors:
        """Return the tensors that a model file holds, by name."""
        return dict(self.state_dict())

    def load_tensors(self, tensors: Tensors) -> None:
        """Take over the tensors of a model file.

        Raises:
            RuntimeError, ValueError: They are of another network.
        """
        self.load_state_dict(tensors)


class Architecture(ABC):
    """A network without its weights and dropout rates.

    Attributes:
        n_inputs: Values of a row.
        n_classes: Outputs.
    """

    n_inputs: int
    n_classes: int

    @abstractmethod
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter by name, in the order of the layers."""

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each buffer of floats by name."""
        return {}

    @abstractmethod
    def module(self, dropout: Sequence[float]) -> Network:
        """Return a network; its parameters have the names of :meth:`parameter_shapes`.

        Args:
            dropout: Rates, 0-1, as the family orders them.
        """

    @property
    def work(self) -> int:
        """Multiplications a row and the overhead of a step, to compare networks by."""
        return OVERHEAD + sum(math.prod(size) for size in self.parameter_shapes().values())

    @property
    def structure(self) -> str:
        """A key: lanes of one cohort have the same, where their family needs that."""
        return ""

    def start(self, seed: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensors, Tensors]:
        """Return fresh parameters and buffers, which depend on the seed alone."""
        generator = torch.Generator().manual_seed(seed)
        drawn = init_parameters(self.parameter_shapes(), generator)
        fresh = init_buffers(self.buffer_shapes())
        return (
            {name: value.to(device, dtype) for name, value in drawn.items()},
            {name: value.to(device, dtype) for name, value in fresh.items()},
        )

    def constants(self) -> Tensors:
        """Return tensors beside parameters and buffers that a checkpoint keeps."""
        return {}


def per_layer(params: Mapping[str, Value], name: str, layer: int, default: Value = 0.0) -> Value:
    """Return a layer's value: ``name_3`` where the space has it, else ``name`` of all layers."""
    return params.get(f"{name}_{layer}", params.get(name, default))


def init_parameters(shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator) -> Tensors:
    """Return fresh parameters, drawn as those of ``nn.Linear``, ``nn.Conv2d`` and batch norms.

    Weights, and the biases that follow them, are uniform in +-1/sqrt(fan_in) (He et al. 2015 with
    a = sqrt(5)).

    Args:
        shapes: By name, in the order of the layers.
    """
    parameters: Tensors = {}
    bound = 0.0
    for name, size in shapes.items():
        if name.startswith("norm."):
            parameters[name] = torch.full(size, 1.0 if name.endswith("weight") else 0.0)
            continue
        if name.endswith("weight"):
            bound = math.prod(size[1:]) ** -0.5
        parameters[name] = torch.empty(size).uniform_(-bound, bound, generator=generator)
    return parameters


def init_buffers(shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    """Return running mean 0 and variance 1 for the batch norms."""
    return {
        name: torch.full(size, 1.0 if name.endswith("var") else 0.0)
        for name, size in shapes.items()
    }


def norm_buffer_shapes(widths: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the running statistics of batch norms of these widths."""
    return {
        f"norm.{i}.{name}": (width,)
        for i, width in enumerate(widths)
        for name in ("running_mean", "running_var")
    }
