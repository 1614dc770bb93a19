"""The multilayer perceptron: what a lane of it consists of, and its plain module twin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from cotune.engine.networks.common import (
    BATCH_NORM_EPS,
    BATCH_NORM_MOMENTUM,
    OVERHEAD,
    norm_buffer_shapes,
    per_layer,
)
from cotune.records import Value


@dataclass(frozen=True)
class MLPShape:
    """What decides the shapes of the tensors: linear layer, optional batch norm, ReLU, dropout.

    Attributes:
        n_inputs: Features of a row.
        widths: Neurons of each hidden layer.
        batch_norm: Whether each hidden layer is normalised before its ReLU.
        n_classes: Outputs.
    """

    n_inputs: int
    widths: tuple[int, ...]
    batch_norm: bool
    n_classes: int

    @classmethod
    def from_params(cls, params: Mapping[str, Value], n_inputs: int, n_classes: int) -> MLPShape:
        """The shape that ``n_layers``, ``width`` (or ``width_0``..) and ``batch_norm`` ask for."""
        layers = range(int(params["n_layers"]))
        widths = tuple(int(per_layer(params, "width", i)) for i in layers)
        return cls(n_inputs, widths, bool(params["batch_norm"]), n_classes)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter of one network, in the order of the layers."""
        shapes: dict[str, tuple[int, ...]] = {}
        fan_in = self.n_inputs
        for i, width in enumerate(self.widths):
            shapes[f"hidden.{i}.weight"] = (width, fan_in)
            if self.batch_norm:
                shapes[f"norm.{i}.weight"] = (width,)
            # With batch norm the layer's own bias would be subtracted again.
            shapes[f"norm.{i}.bias" if self.batch_norm else f"hidden.{i}.bias"] = (width,)
            fan_in = width
        shapes["head.weight"] = (self.n_classes, fan_in)
        shapes["head.bias"] = (self.n_classes,)
        return shapes

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each batch norm's running statistics."""
        return norm_buffer_shapes(self.widths) if self.batch_norm else {}

    @property
    def work(self) -> int:
        """Multiplications a row, and what a step costs besides: to compare networks by."""
        return OVERHEAD + sum(math.prod(size) for size in self.parameter_shapes().values())

    def module(self, dropout: Sequence[float]) -> MLP:
        """The module twin."""
        return MLP(self, dropout)


class MLP(nn.Module):
    """One perceptron as an ordinary module; a lane's parameters are its ``state_dict``.

    Args:
        shape: The tensors' shapes.
        dropout: Rate after each hidden layer, 0-1.
    """

    def __init__(self, shape: MLPShape, dropout: Sequence[float]) -> None:
        super().__init__()
        self.shape = shape
        self.hidden = nn.ModuleList()
        self.norm = nn.ModuleList()
        self.dropout = nn.ModuleList(nn.Dropout(rate) for rate in dropout)
        fan_in = shape.n_inputs
        for width in shape.widths:
            self.hidden.append(nn.Linear(fan_in, width, bias=not shape.batch_norm))
            if shape.batch_norm:
                self.norm.append(
                    nn.BatchNorm1d(width, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
                )
            fan_in = width
        self.head = nn.Linear(fan_in, shape.n_classes)

    def forward(self, rows: Tensor) -> Tensor:
        """``[batch, n_inputs]`` -> logits ``[batch, n_classes]``."""
        for i, layer in enumerate(self.hidden):
            rows = layer(rows)
            if self.shape.batch_norm:
                rows = self.norm[i](rows)
            rows = self.dropout[i](F.relu(rows))
        logits: Tensor = self.head(rows)
        return logits
