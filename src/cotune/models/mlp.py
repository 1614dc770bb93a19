"""The multilayer perceptron: many of them as stacked parameters, and its plain module twin.

Stacked functions work on ``lanes`` networks of one shape at once; every parameter has a leading
lane dimension. Lanes share the rows they are given, so the first layer is one matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cotune.results import Value

Tensors = dict[str, Tensor]

_BATCH_NORM_MOMENTUM = 0.1
_BATCH_NORM_EPS = 1e-5


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


def per_layer(params: Mapping[str, Value], name: str, layer: int) -> Value:
    """The value for one layer: ``name_3`` where the space has it, else ``name`` for all layers."""
    return params.get(f"{name}_{layer}", params.get(name, 0.0))


def dropout_rates(params: Mapping[str, Value]) -> list[float]:
    """Dropout after each hidden layer, 0-1."""
    layers = range(int(params["n_layers"]))
    return [float(per_layer(params, "dropout", i)) for i in layers]


def init_parameters(shape: MLPShape, generator: torch.Generator) -> Tensors:
    """Fresh parameters of one network, distributed as those of ``nn.Linear`` and ``BatchNorm1d``.

    Weights and biases are uniform in +-1/sqrt(fan_in) (He et al. 2015 with a = sqrt(5)).
    """
    parameters: Tensors = {}
    bound = 0.0
    for name, size in shape.parameter_shapes().items():
        if name.startswith("norm."):
            parameters[name] = torch.full(size, 1.0 if name.endswith("weight") else 0.0)
            continue
        if name.endswith("weight"):
            bound = size[1] ** -0.5
        parameters[name] = torch.empty(size).uniform_(-bound, bound, generator=generator)
    return parameters


def init_buffers(shape: MLPShape) -> Tensors:
    """Running mean 0 and variance 1 of one network's batch norms."""
    buffers: Tensors = {}
    if shape.batch_norm:
        for i, width in enumerate(shape.widths):
            buffers[f"norm.{i}.running_mean"] = torch.zeros(width)
            buffers[f"norm.{i}.running_var"] = torch.ones(width)
    return buffers


def forward(
    shape: MLPShape,
    parameters: Tensors,
    buffers: Tensors,
    rows: Tensor,
    dropout: Sequence[Tensor],
    generators: Sequence[torch.Generator] | None,
) -> Tensor:
    """Logits of every lane for rows that all lanes share.

    Args:
        parameters: ``[lanes, ...]`` each.
        buffers: ``[lanes, ...]`` each; updated in place while training.
        rows: ``[batch, n_inputs]``.
        dropout: For each hidden layer the rates ``[lanes]``.
        generators: One a lane for its dropout, so that a lane's noise does not depend on its
            neighbours; None to evaluate (no dropout, running statistics).

    Returns:
        ``[batch, lanes, n_classes]``.
    """
    lanes = parameters["head.weight"].shape[0]
    batch = rows.shape[0]
    hidden = rows[:, None]  # [batch, 1, n_inputs]: shared until the first layer
    for i, width in enumerate(shape.widths):
        hidden = _linear(
            hidden, parameters[f"hidden.{i}.weight"], parameters.get(f"hidden.{i}.bias")
        )
        if shape.batch_norm:
            # Batch norm works feature by feature, so the lanes' features are simply more of them.
            hidden = F.batch_norm(
                hidden.reshape(batch, lanes * width),
                buffers[f"norm.{i}.running_mean"].view(-1),
                buffers[f"norm.{i}.running_var"].view(-1),
                parameters[f"norm.{i}.weight"].view(-1),
                parameters[f"norm.{i}.bias"].view(-1),
                training=generators is not None,
                momentum=_BATCH_NORM_MOMENTUM,
                eps=_BATCH_NORM_EPS,
            ).view(batch, lanes, width)
        hidden = F.relu(hidden)
        if generators is not None:
            hidden = _dropout(hidden, dropout[i], generators)
    return _linear(hidden, parameters["head.weight"], parameters["head.bias"])


def _linear(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``[batch, lanes or 1, in] x [lanes, out, in] -> [batch, lanes, out]``."""
    lanes, width, _ = weight.shape
    if hidden.shape[1] == 1:
        # Shared rows, or a single lane: one product for all lanes.
        product = F.linear(hidden[:, 0], weight.view(lanes * width, -1))
        product = product.view(-1, lanes, width)
    else:
        product = torch.bmm(hidden.transpose(0, 1), weight.transpose(1, 2)).transpose(0, 1)
    return product if bias is None else product + bias


def _dropout(hidden: Tensor, rates: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    drops = (rates > 0.0).tolist()
    if not any(drops):
        return hidden
    batch, lanes, width = hidden.shape
    noise = torch.empty(lanes, batch, width, device=hidden.device, dtype=hidden.dtype)
    for lane, generator in enumerate(generators):
        # A lane without dropout here draws nothing, as when it is alone: what it draws for its
        # next layers must not depend on its neighbours.
        if drops[lane]:
            noise[lane].uniform_(generator=generator)
        else:
            noise[lane] = 1.0
    kept = (noise >= rates.view(lanes, 1, 1)).to(hidden.dtype) / (1.0 - rates).view(lanes, 1, 1)
    return hidden * kept.transpose(0, 1)


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
                    nn.BatchNorm1d(width, eps=_BATCH_NORM_EPS, momentum=_BATCH_NORM_MOMENTUM)
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
