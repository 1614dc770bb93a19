"""Convolutional networks trained on the same minibatches, one after another.

On a CPU a convolution fills the core by itself: one product for several lanes' filters (grouped
convolution) took 3.8 times as long for 4 lanes as for one. Lanes share the minibatch, the memory
format (channels last) and the lean step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from cotune.engine.cohorts.base import Cohort, autocast
from cotune.engine.losses import weights_of_each
from cotune.engine.networks.cnn import CNNArchitecture, activate, dropout_rates, forward, mirror
from cotune.engine.optim import update

if TYPE_CHECKING:
    from cotune.engine.lane import Lane


class CNNCohort(Cohort):
    """A cohort of convolutional networks of any architecture.

    Args:
        lanes: With the same key.
        bfloat16: Train with convolutions and products in 16 bits; weights keep their own type.
        balance: From :func:`cotune.engine.losses.balance`, where a lane has class weights.

    Attributes:
        lanes: By falling need of memory, so that it runs out before any lane was updated; results
            are in this order.
    """

    evaluation_rows = 256

    def __init__(
        self, lanes: Sequence[Lane], bfloat16: bool = False, balance: Tensor | None = None
    ) -> None:
        self._bfloat16 = bfloat16
        self.lanes = sorted(lanes, key=_pixels, reverse=True)
        for lane in self.lanes:
            for tensors in (lane.parameters, lane.best, lane.average, *lane.moments.values()):
                for name, value in tensors.items():
                    tensors[name] = value.contiguous(memory_format=_format(value))
        exponents = [lane.class_weight for lane in self.lanes]
        like = lanes[0].parameters["head.weight"]
        self._class_weights = weights_of_each(balance, exponents, like)

    def step(
        self, rows: Tensor, labels: Tensor, lr_factors: Sequence[float] | Tensor
    ) -> tuple[Tensor, Tensor]:
        results = [
            _step(lane, rows, labels, lr_factors[i], self._bfloat16, self._class_weights[i])
            for i, lane in enumerate(self.lanes)
        ]
        losses, correct = zip(*results, strict=True)
        return torch.stack(losses), torch.stack(correct)

    @torch.no_grad()
    def logits(self, rows: Tensor) -> Tensor:
        return torch.stack([_predicted(lane, rows) for lane in self.lanes], 1)


def _step(
    lane: Lane,
    rows: Tensor,
    labels: Tensor,
    lr_factor: float | Tensor,
    bfloat16: bool,
    weight: Tensor | None,
) -> tuple[Tensor, Tensor]:
    leaves = {name: value.detach().requires_grad_() for name, value in lane.parameters.items()}
    with autocast(rows, bfloat16):
        logits = _logits(lane, leaves, rows, training=True)
    logits = logits.to(rows.dtype)
    smoothing = float(lane.spec.params.get("label_smoothing", 0.0))
    loss = F.cross_entropy(logits, labels, weight, label_smoothing=smoothing)
    slopes = torch.autograd.grad(loss, list(leaves.values()))
    lane.steps.add_(1)
    weights = list(lane.parameters.values())
    moments = {moment: list(tensors.values()) for moment, tensors in lane.moments.items()}
    # The kernels walk all tensors by the same strides.
    gradients = [
        slope.contiguous(memory_format=_format(weight))
        for slope, weight in zip(slopes, weights, strict=True)
    ]
    update(lane.rates, lr_factor, weights, gradients, moments, lane.steps)
    return loss.detach(), (logits.argmax(1) == labels).sum()


def _predicted(lane: Lane, rows: Tensor) -> Tensor:
    architecture = lane.architecture
    assert isinstance(architecture, CNNArchitecture)
    logits = _logits(lane, lane.parameters, rows, training=False)
    if architecture.mirrored:
        mirrored = mirror(architecture, rows)
        logits = (logits + _logits(lane, lane.parameters, mirrored, training=False)) / 2
    return logits


def _logits(lane: Lane, parameters: dict[str, Tensor], rows: Tensor, training: bool) -> Tensor:
    architecture = lane.architecture
    assert isinstance(architecture, CNNArchitecture)
    hidden = forward(architecture, {**parameters, **lane.buffers}, rows, training)
    if architecture.dense:
        dense = F.linear(hidden, parameters["dense.weight"], parameters["dense.bias"])
        hidden = activate(architecture, dense)
    (rate,) = dropout_rates(lane.spec.params)
    if training and rate > 0.0:
        noise = torch.empty_like(hidden).uniform_(generator=lane.generator)
        hidden = hidden * (noise >= rate) / (1.0 - rate)
    return F.linear(hidden, parameters["head.weight"], parameters["head.bias"])


def _pixels(lane: Lane) -> int:
    assert isinstance(lane.architecture, CNNArchitecture)
    return lane.architecture.pixels


def _format(tensor: Tensor) -> torch.memory_format:
    return torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
