"""The multilayer perceptron: its architecture, and one network as a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from cotune.engine.networks.common import (
    BATCH_NORM_EPS,
    BATCH_NORM_MOMENTUM,
    Architecture,
    Network,
    norm_buffer_shapes,
    per_layer,
)
from cotune.records import Value


@dataclass(frozen=True)
class MLPArchitecture(Architecture):
    """Hidden layers, each linear, optional batch norm, ReLU, dropout; then a linear head.

    Attributes:
        n_inputs: Features of a row.
        widths: Neurons of each hidden layer.
        batch_norm: Each hidden layer is normalised before its ReLU.
        n_classes: Outputs.
    """

    n_inputs: int
    widths: tuple[int, ...]
    batch_norm: bool
    n_classes: int

    @classmethod
    def from_params(
        cls, params: Mapping[str, Value], n_inputs: int, n_classes: int
    ) -> MLPArchitecture:
        """Return the architecture for ``n_layers``, ``width`` (``width_0``..), ``batch_norm``."""
        layers = range(int(params["n_layers"]))
        widths = tuple(int(per_layer(params, "width", i)) for i in layers)
        return cls(n_inputs, widths, bool(params["batch_norm"]), n_classes)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
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
        return norm_buffer_shapes(self.widths) if self.batch_norm else {}

    def module(self, dropout: Sequence[float]) -> MLP:
        return MLP(self, dropout)


def dropout_rates(params: Mapping[str, Value]) -> list[float]:
    """Return the dropout rate after each hidden layer, 0-1."""
    return [float(per_layer(params, "dropout", i)) for i in range(int(params["n_layers"]))]


class MLP(Network):
    """One perceptron as an ordinary module.

    Args:
        architecture: All but the weights and rates.
        dropout: Rate after each hidden layer, 0-1.
    """

    def __init__(self, architecture: MLPArchitecture, dropout: Sequence[float]) -> None:
        super().__init__()
        self.architecture = architecture
        self.hidden = nn.ModuleList()
        self.norm = nn.ModuleList()
        self.dropout = nn.ModuleList(nn.Dropout(rate) for rate in dropout)
        fan_in = architecture.n_inputs
        for width in architecture.widths:
            self.hidden.append(nn.Linear(fan_in, width, bias=not architecture.batch_norm))
            if architecture.batch_norm:
                self.norm.append(
                    nn.BatchNorm1d(width, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
                )
            fan_in = width
        self.head = nn.Linear(fan_in, architecture.n_classes)

    def describe(self) -> dict[str, Any]:
        rates = [layer.p for layer in self.dropout]
        return {"family": "mlp", **asdict(self.architecture), "dropout": rates}

    def forward(self, rows: Tensor) -> Tensor:
        """``[batch, n_inputs]`` -> logits ``[batch, n_classes]``."""
        for i, layer in enumerate(self.hidden):
            rows = layer(rows)
            if self.architecture.batch_norm:
                rows = self.norm[i](rows)
            rows = self.dropout[i](F.relu(rows))
        logits: Tensor = self.head(rows)
        return logits
