"""Optimizer updates of many lanes at once; every hyperparameter is a ``[lanes]`` tensor.

The formulas are those of ``torch.optim`` (Adam: Kingma and Ba 2015; AdamW: Loshchilov and Hutter
2019; RMSprop: Tieleman and Hinton 2012). Weight decay is decoupled for AdamW and added to the
gradient for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

_BETA1: Final = 0.9
_BETA2: Final = 0.999
_ALPHA: Final = 0.99
_EPS: Final = 1e-8

MOMENTS: Final[dict[str, tuple[str, ...]]] = {
    "adam": ("mean", "square"),
    "adamw": ("mean", "square"),
    "sgd": ("velocity",),
    "rmsprop": ("square",),
}
"""The state that each optimizer keeps: tensors of the parameters' shape, zero at the start."""


def update(
    optimizer: str,
    weights: Tensor,
    gradient: Tensor,
    moments: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    steps: Tensor,
) -> None:
    """One step of every lane, in place; ``gradient`` is used up.

    Args:
        optimizer: A key of :data:`MOMENTS`.
        weights: ``[lanes, n]``.
        gradient: ``[lanes, n]``.
        moments: ``[lanes, n]`` each.
        rates: ``lr``, ``weight_decay`` and ``momentum``, ``[lanes]`` each.
        steps: ``[lanes]``, this step counted in.
    """
    lr = rates["lr"][:, None]
    decay = rates["weight_decay"][:, None]
    if optimizer == "adamw":
        weights.mul_(1.0 - lr * decay)
    else:
        gradient.addcmul_(weights, decay)

    if optimizer == "sgd":
        velocity = moments["velocity"]
        velocity.mul_(rates["momentum"][:, None]).add_(gradient)
        weights.addcmul_(velocity, -lr)
    elif optimizer == "rmsprop":
        square = moments["square"]
        square.mul_(_ALPHA).addcmul_(gradient, gradient, value=1.0 - _ALPHA)
        torch.div(gradient, square.sqrt().add_(_EPS), out=gradient)
        weights.addcmul_(gradient, -lr)
    else:
        mean, square = moments["mean"], moments["square"]
        mean.lerp_(gradient, 1.0 - _BETA1)
        square.mul_(_BETA2).addcmul_(gradient, gradient, value=1.0 - _BETA2)
        # In float32, 1 - 0.999 would be wrong by 1.3e-5 of itself.
        exact = steps[:, None].double()
        correction1 = 1.0 - _BETA1**exact
        root = (1.0 - _BETA2**exact).sqrt()
        # lr / c1 * m / (sqrt(v) / sqrt(c2) + eps), with sqrt(c2) multiplied out.
        torch.sqrt(square, out=gradient)
        gradient.add_((_EPS * root).to(lr.dtype))
        torch.div(mean, gradient, out=gradient)
        weights.addcmul_(gradient, (-lr * root / correction1).to(lr.dtype))
