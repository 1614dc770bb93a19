"""One optimizer step of all lanes at once, whatever their optimizers: what differs is in tensors.

All kinds but Muon are one formula. With gradient g, weights w, moments m and s, and step t:

    g <- g + coupled w                      w <- (1 - lr decoupled) w
    m <- decay m + gain g                   s <- beta2 s + (1 - beta2) g^2
    w <- w - lr (of_mean m / (1 - beta1^t) + of_gradient g) / (sqrt(s / (1 - beta2^t)) + eps)

SGD has beta2 = 1 and eps = 1, so s stays 0 and the denominator is 1. RMSprop has no mean (decay 0,
gain 1) and no correction of biases. Nothing is read back from the device and no shape changes, so a
CUDA graph can hold it. ``cotune.engine.optim`` has the references, and the same for single lanes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from cotune.engine.optim import CLIP_EPS, EPS, MUON_SCALE, RMSPROP_ALPHA, Rates, orthogonal

_NO_CORRECTION: Final = -math.inf  # the logarithm of a beta of 0: 1 - 0^t = 1


@dataclass(frozen=True)
class _Coefficients:
    """Coefficients of one lane; ``log1`` and ``log2`` are logarithms of corrected betas."""

    lr: float
    coupled: float = 0.0
    decoupled: float = 0.0
    decay: float = 0.0
    gain: float = 1.0
    beta2: float = 1.0
    log1: float = _NO_CORRECTION
    log2: float = _NO_CORRECTION
    eps: float = EPS
    of_mean: float = 1.0
    of_gradient: float = 0.0

    @classmethod
    def of(cls, rates: Rates) -> _Coefficients:
        """Return those of an optimizer and its hyperparameters."""
        lr, decay = rates.lr, rates.weight_decay
        if rates.optimizer == "sgd":
            momentum, nesterov = rates.momentum, rates.nesterov
            return cls(
                lr,
                coupled=decay,
                decay=momentum,
                eps=1.0,
                of_mean=momentum if nesterov else 1.0,
                of_gradient=float(nesterov),
            )
        if rates.optimizer == "rmsprop":
            return cls(lr, coupled=decay, beta2=RMSPROP_ALPHA)
        return cls(
            lr,
            coupled=decay if rates.optimizer == "adam" else 0.0,
            decoupled=decay if rates.optimizer != "adam" else 0.0,
            decay=rates.beta1,
            gain=1.0 - rates.beta1,
            beta2=rates.beta2,
            log1=math.log(rates.beta1) if rates.beta1 else _NO_CORRECTION,
            log2=math.log(rates.beta2) if rates.beta2 else _NO_CORRECTION,
        )

    @property
    def idle(self) -> _Coefficients:
        """Those that leave weights and moments as they are."""
        return replace(self, lr=0.0, decay=1.0, gain=0.0, beta2=1.0)


@dataclass(frozen=True)
class Rows:
    """Parameters, gradients and moments: a row a lane, ``[lanes, values]``, padded with zeros.

    Attributes:
        weights, gradients, mean, square: ``mean`` is also SGD's velocity; optimizers that lack a
            moment leave nothing in it that matters.
    """

    weights: Tensor
    gradients: Tensor
    mean: Tensor
    square: Tensor

    def columns(self, part: slice) -> Rows:
        """Return views of some columns."""
        return Rows(
            self.weights[:, part],
            self.gradients[:, part],
            self.mean[:, part],
            self.square[:, part],
        )

    def matrices(self, place: slice, shape: Sequence[int]) -> Rows:
        """Return views ``[lanes, *shape]`` of the columns that hold one matrix of each lane."""
        part = self.columns(place)
        return Rows(
            part.weights.unflatten(1, shape),
            part.gradients.unflatten(1, shape),
            part.mean.unflatten(1, shape),
            part.square.unflatten(1, shape),
        )


@dataclass(frozen=True)
class Matrices:
    """One layer's matrices, which Muon updates in the lanes that have it.

    Attributes:
        place: Their columns in a row.
        shape: Padded.
        sizes: The larger side of each lane's own matrix; lanes that lack the layer stand last and
            are left out.
    """

    place: slice
    shape: tuple[int, ...]
    sizes: Sequence[int]


class StackedOptimizer:
    """The optimizers of all lanes.

    Args:
        rates: The lanes' optimizers.
        rows: In the order of the rates.
        matrices: The hidden layers', which are the first columns.
    """

    def __init__(self, rates: Sequence[Rates], rows: Rows, matrices: Sequence[Matrices]) -> None:
        self._rows = rows
        self._scratch = torch.empty_like(rows.weights)
        self._clip = None
        if any(one.clip_norm for one in rates):
            self._clip = _column([one.clip_norm or math.inf for one in rates], rows.weights)
        by_muon = [i for i, one in enumerate(rates) if one.optimizer == "muon"]
        coefficients = [_Coefficients.of(one) for one in rates]
        self._parts = [(slice(None), _Formula(coefficients, rows.weights))]
        self._muon = []
        if by_muon:
            end = matrices[-1].place.stop
            hidden = [own.idle if i in by_muon else own for i, own in enumerate(coefficients)]
            self._parts = [
                (slice(None, end), _Formula(hidden, rows.weights)),
                (slice(end, None), _Formula(coefficients, rows.weights)),
            ]
            self._muon = [
                _Muon(rates, having, layer, rows.weights)
                for layer in matrices
                if (having := [i for i in by_muon if i < len(layer.sizes)])
            ]

    def step(self, lr_factors: Tensor, steps: Tensor) -> None:
        """Update all lanes in place; the gradients are used up.

        Args:
            lr_factors: What the schedules multiply the rates by, ``[lanes]``.
            steps: The numbers of this step, from 1, ``[lanes]``.
        """
        factors, steps = lr_factors[:, None], steps[:, None].to(lr_factors.dtype)
        gradients = self._rows.gradients
        if self._clip is not None:
            norm = torch.linalg.vector_norm(gradients, dim=1, keepdim=True) + CLIP_EPS
            gradients.mul_(torch.where(norm > self._clip, self._clip / norm, 1.0))
        for layer in self._muon:
            layer.step(self._rows, factors)
        for part, formula in self._parts:
            formula.step(self._rows.columns(part), factors, steps, self._scratch[:, part])


class _Formula:
    """The formula at the head of this module, with coefficients ``[lanes, 1]``."""

    def __init__(self, coefficients: Sequence[_Coefficients], like: Tensor) -> None:
        def column(name: str) -> Tensor:
            return _column([getattr(own, name) for own in coefficients], like)

        self._lr, self._coupled, self._decoupled = map(column, ("lr", "coupled", "decoupled"))
        self._couples = any(own.coupled for own in coefficients)
        self._decouples = any(own.decoupled for own in coefficients)
        self._decay, self._gain, self._eps = map(column, ("decay", "gain", "eps"))
        self._forget = _column([1.0 - own.beta2 for own in coefficients], like)
        self._log1, self._log2 = column("log1"), column("log2")
        self._of_mean, self._of_gradient = column("of_mean"), column("of_gradient")

    def step(self, rows: Rows, factors: Tensor, steps: Tensor, scratch: Tensor) -> None:
        lr = self._lr * factors
        weights, gradients = rows.weights, rows.gradients
        if self._couples:
            gradients.addcmul_(weights, self._coupled)
        if self._decouples:
            weights.mul_(1.0 - lr * self._decoupled)
        rows.mean.mul_(self._decay).addcmul_(gradients, self._gain)
        rows.square.lerp_(torch.mul(gradients, gradients, out=scratch), self._forget)
        # expm1 keeps the digits of 1 - beta^t, which is small at first.
        correction1 = -torch.expm1(steps * self._log1)
        correction2 = -torch.expm1(steps * self._log2)
        denominator = torch.sqrt(rows.square, out=scratch).div_(correction2.sqrt()).add_(self._eps)
        gradients.mul_(lr * self._of_gradient)
        gradients.addcmul_(rows.mean, lr * self._of_mean / correction1)
        weights.addcdiv_(gradients, denominator, value=-1.0)


class _Muon:
    """Muon's update of one layer, in the lanes that have the layer and are trained by it."""

    def __init__(
        self, rates: Sequence[Rates], lanes: Sequence[int], layer: Matrices, like: Tensor
    ) -> None:
        def column(values: Sequence[float]) -> Tensor:
            return _column(values, like)[:, :, None]

        self._layer = layer
        self._lanes = torch.tensor(lanes).to(like.device)
        own = [rates[i] for i in lanes]
        self._lr = column([one.lr for one in own])
        self._decay = column([one.weight_decay for one in own])
        self._momentum = column([one.momentum for one in own])
        self._forget = column([1.0 - one.momentum for one in own])
        self._scale = column([MUON_SCALE * layer.sizes[i] ** 0.5 for i in lanes])

    def step(self, rows: Rows, factors: Tensor) -> None:
        layer = rows.matrices(self._layer.place, self._layer.shape)
        lr = self._lr * factors.index_select(0, self._lanes)[:, :, None]
        gradient = layer.gradients.index_select(0, self._lanes)
        mean = layer.mean.index_select(0, self._lanes).lerp_(gradient, self._forget)
        layer.mean.index_copy_(0, self._lanes, mean)
        direction = orthogonal(gradient.lerp(mean, self._momentum))
        weights = layer.weights.index_select(0, self._lanes).mul_(1.0 - lr * self._decay)
        weights.sub_(direction * (lr * self._scale))
        layer.weights.index_copy_(0, self._lanes, weights)


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    """Return a value a lane, ``[lanes, 1]``."""
    return torch.tensor(values, dtype=like.dtype)[:, None].to(like.device)
