"""Optimizer steps of one lane: all its tensors in one call of PyTorch's fused kernels.

The formulas are those of ``torch.optim`` (Adam: Kingma and Ba 2015; AdamW: Loshchilov and Hutter
2019; RMSprop: Tieleman and Hinton 2012; Nesterov momentum: Sutskever et al. 2013; Muon: Jordan et
al. 2024, its rate scaled as by Liu et al. 2025, so that one rate fits Muon and AdamW). Weight decay
is decoupled for AdamW and Muon, and added to the gradient for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from cotune.records import Value

EPS: Final = 1e-8
RMSPROP_ALPHA: Final = 0.99
_MANY_STEPS: Final = 1e9
CLIP_EPS: Final = 1e-6
_MUON_MOMENTUM: Final = 0.95
MUON_SCALE: Final = 0.2  # root of an update's mean square, as AdamW's tends to be
_NEWTON_SCHULZ: Final = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS: Final = 5

MOMENTS: Final[dict[str, tuple[str, ...]]] = {
    "adam": ("mean", "square"),
    "adamw": ("mean", "square"),
    "sgd": ("velocity",),
    "rmsprop": ("square",),
    "muon": ("mean", "square"),
}
"""The state that each optimizer keeps: tensors of the parameters' shapes, zero at the start."""


@dataclass(frozen=True)
class Rates:
    """A lane's optimizer and its hyperparameters; ``clip_norm`` 0 is no clipping."""

    optimizer: str
    lr: float
    weight_decay: float
    momentum: float
    nesterov: bool
    beta1: float
    beta2: float
    clip_norm: float = 0.0

    @classmethod
    def from_params(cls, params: Mapping[str, Value]) -> Rates:
        """Return a trial's settings; what it leaves out is as in ``torch.optim``."""
        return cls(
            optimizer=str(params["optimizer"]),
            lr=float(params["lr"]),
            weight_decay=float(params.get("weight_decay", 0.0)),
            momentum=float(
                params.get("momentum", _MUON_MOMENTUM if params["optimizer"] == "muon" else 0.0)
            ),
            nesterov=bool(params.get("nesterov", False)),
            beta1=float(params.get("beta1", 0.9)),
            beta2=float(params.get("beta2", 0.999)),
            clip_norm=float(params.get("clip_norm", 0.0)),
        )


def update(
    rates: Rates,
    lr_factor: float | Tensor,
    weights: list[Tensor],
    gradients: list[Tensor],
    moments: Mapping[str, list[Tensor]],
    step: Tensor,
) -> None:
    """Update one lane in place by one step; the gradients are used up.

    Args:
        rates: The lane's hyperparameters.
        lr_factor: What the schedule multiplies the rate by; a scalar.
        weights: The lane's parameters.
        gradients: Of the same shapes, all that the lane has: they are clipped by their norm.
        moments: For each of the optimizer's :data:`MOMENTS`, tensors of the same shapes.
        step: Scalar; the number of this step, from 1.
    """
    lr = rates.lr * lr_factor
    if rates.clip_norm:
        _clip(gradients, rates.clip_norm)
    if rates.optimizer == "sgd":
        torch._fused_sgd_(
            weights,
            gradients,
            moments["velocity"] if rates.momentum else [],
            weight_decay=rates.weight_decay,
            momentum=rates.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=rates.nesterov,
            maximize=False,
            is_first_step=False,  # a velocity of zero makes the first step like the others
        )
        return
    if rates.optimizer == "muon":
        kept = _update_matrices(rates, lr, weights, gradients, moments["mean"])
        weights, gradients = [weights[i] for i in kept], [gradients[i] for i in kept]
        moments = {name: [tensors[i] for i in kept] for name, tensors in moments.items()}
    beta1, beta2 = rates.beta1, rates.beta2
    if rates.optimizer == "rmsprop":
        # RMSprop is Adam without a mean (beta1 = 0, so the mean is the gradient) and without bias
        # correction (which a large number of steps makes 1).
        mean, beta1, beta2 = gradients, 0.0, RMSPROP_ALPHA
        step = torch.full_like(step, _MANY_STEPS)
    else:
        mean = moments["mean"]
    kernel = torch._fused_adamw_ if rates.optimizer in ("adamw", "muon") else torch._fused_adam_
    kernel(
        weights,
        gradients,
        mean,
        moments["square"],
        [],
        [step] * len(weights),
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        weight_decay=rates.weight_decay,
        eps=EPS,
        amsgrad=False,
        maximize=False,
    )


def _update_matrices(
    rates: Rates,
    lr: float | Tensor,
    weights: list[Tensor],
    gradients: list[Tensor],
    momentum: list[Tensor],
) -> list[int]:
    """Update all matrices and filters but the last, the outputs', by Muon.

    Returns:
        Places of the other tensors, which AdamW updates.
    """
    matrices = [i for i, weight in enumerate(weights) if weight.ndim > 1][:-1]
    for i in matrices:
        gradient = gradients[i]
        momentum[i].lerp_(gradient, 1.0 - rates.momentum)
        direction = orthogonal(gradient.lerp(momentum[i], rates.momentum).flatten(1))
        scale = MUON_SCALE * max(direction.shape) ** 0.5
        weights[i].mul_(1.0 - lr * rates.weight_decay)
        weights[i].sub_(direction.view_as(weights[i]) * (lr * scale))
    return [i for i in range(len(weights)) if i not in matrices]


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about the nearest matrix with singular values near 1, by Newton-Schulz iterations.

    Args:
        matrix: One, or several of the same shape, ``[some, rows, columns]``. Rows and columns of
            zeros stay zeros.
    """
    a, b, c = _NEWTON_SCHULZ
    add_product = torch.addmm if matrix.ndim == 2 else torch.baddbmm
    tall = matrix.shape[-2] > matrix.shape[-1]
    near = matrix.mT if tall else matrix
    near = near / near.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        square = near @ near.mT
        near = add_product(near, add_product(square, square, square, beta=b, alpha=c), near, beta=a)
    return near.mT if tall else near


def _clip(gradients: list[Tensor], most: float) -> None:
    """Scale the gradients so that the norm of all of them together is ``most`` at most.

    As ``torch.nn.utils.clip_grad_norm_`` (Pascanu et al. 2013, algorithm 1).
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (most / (norm + CLIP_EPS)).clamp_(max=1.0))
