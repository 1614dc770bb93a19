"""What all network families share: names, constants, and how a network begins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from cotune.records import Value

Tensors = dict[str, Tensor]

BATCH_NORM_MOMENTUM: Final = 0.1
BATCH_NORM_EPS: Final = 1e-5
OVERHEAD: Final = 20_000  # multiplications a row that take as long as a step's small operations


def per_layer(params: Mapping[str, Value], name: str, layer: int) -> Value:
    """The value for one layer: ``name_3`` where the space has it, else ``name`` for all layers."""
    return params.get(f"{name}_{layer}", params.get(name, 0.0))


def init_parameters(shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator) -> Tensors:
    """Fresh parameters, distributed as those of ``nn.Linear``, ``nn.Conv2d`` and batch norms.

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
    """Running mean 0 and variance 1 of the batch norms."""
    return {
        name: torch.full(size, 1.0 if name.endswith("var") else 0.0)
        for name, size in shapes.items()
    }


def norm_buffer_shapes(widths: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Shape of the running statistics of batch norms of these widths."""
    return {
        f"norm.{i}.{name}": (width,)
        for i, width in enumerate(widths)
        for name in ("running_mean", "running_var")
    }
