"""Class weights of the cross-entropy: how much a row of a rare class counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def balance(labels: Tensor, n_classes: int) -> Tensor:
    """Return class weights ``n / (k n_c)``, ``float64 [classes]``: every class has the same total.

    scikit-learn calls that balanced. A class without a row is taken to have one.

    Args:
        labels: ``[rows]`` that are trained on.
    """
    counts = torch.bincount(labels, minlength=n_classes).clamp(min=1)
    return len(labels) / (n_classes * counts.double())


def class_weights(balanced: Tensor, exponents: Sequence[float], dtype: torch.dtype) -> Tensor:
    """Return weights ``[lanes, classes]`` between none (exponent 0) and balanced ones (1).

    Args:
        balanced: Of :func:`balance`.
        exponents: The lanes' ``class_weight``.
    """
    return balanced.pow(balanced.new_tensor(exponents)[:, None]).to(dtype)


def weights_of_each(
    balanced: Tensor | None, exponents: Sequence[float], dtype: torch.dtype
) -> list[Tensor | None]:
    """Return the weights of each lane for ``cross_entropy``; None where rows weigh alike."""
    if balanced is None:
        return [None] * len(exponents)
    weights = class_weights(balanced, exponents, dtype)
    return [own if exponent else None for exponent, own in zip(exponents, weights, strict=True)]
