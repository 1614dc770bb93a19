"""The cross-entropy of all lanes, and class weights: how much a row of a rare class counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from cotune.engine.lane import Lane


def balance(labels: Tensor, n_classes: int) -> Tensor:
    """Return class weights ``n / (k n_c)``, ``float64 [classes]``: every class has the same total.

    scikit-learn calls that balanced. A class without a row is taken to have one.

    Args:
        labels: ``[rows]`` that are trained on.
    """
    counts = torch.bincount(labels, minlength=n_classes).clamp(min=1)
    return len(labels) / (n_classes * counts.double())


def class_weights(balanced: Tensor, exponents: Sequence[float], like: Tensor) -> Tensor:
    """Return weights ``[lanes, classes]`` between none (exponent 0) and balanced ones (1).

    Args:
        balanced: Of :func:`balance`.
        exponents: The lanes' ``class_weight``.
        like: Of their type and device.
    """
    weights = balanced.pow(balanced.new_tensor(exponents)[:, None])
    return weights.to(like.dtype).to(like.device)


def weights_of_each(
    balanced: Tensor | None, exponents: Sequence[float], like: Tensor
) -> list[Tensor | None]:
    """Return the weights of each lane for ``cross_entropy``; None where rows weigh alike."""
    if balanced is None:
        return [None] * len(exponents)
    weights = class_weights(balanced, exponents, like)
    return [own if exponent else None for exponent, own in zip(exponents, weights, strict=True)]


class CrossEntropy:
    """``CrossEntropyLoss(weight, label_smoothing)`` of every lane, with its slope written out.

    Args:
        lanes: They have their own smoothing and class weights.
        balanced: Of :func:`balance`, where a lane has class weights.
        like: Of the logits' type and device.
    """

    def __init__(self, lanes: Sequence[Lane], balanced: Tensor | None, like: Tensor) -> None:
        smoothing = [float(lane.spec.params.get("label_smoothing", 0.0)) for lane in lanes]
        self._smooths = any(smoothing)
        self._smoothing = torch.tensor(smoothing, dtype=like.dtype).to(like.device)
        self._class_weights: Tensor | None = None
        if balanced is not None:
            exponents = [lane.class_weight for lane in lanes]
            self._class_weights = class_weights(balanced, exponents, like)

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return cross-entropy ``[lanes]``, hits ``[lanes]`` and the slope at the logits.

        Args:
            logits: ``[batch, lanes, classes]``.
            labels: ``[batch]``.
        """
        correct = (logits.argmax(2) == labels[:, None]).sum(0)
        log_shares = torch.log_softmax(logits, 2)
        index = labels[:, None, None].expand(-1, logits.shape[1], 1)
        of_truth = log_shares.gather(2, index)[:, :, 0]
        if self._class_weights is not None:
            losses, slope = self._weighted(log_shares, of_truth, index, self._class_weights)
            return losses, correct, slope
        losses = -of_truth.mean(0)
        if self._smooths:
            losses = torch.lerp(losses, -log_shares.mean((0, 2)), self._smoothing)
        slope = log_shares.exp_()  # softmax - target, divided by the rows
        n_classes = slope.shape[2]
        if self._smooths:
            slope -= (self._smoothing / n_classes)[:, None]
        target = (1.0 - self._smoothing)[None, :, None].expand(len(labels), -1, 1)
        slope.scatter_add_(2, index, -target)
        return losses, correct, slope.div_(len(labels))

    def _weighted(
        self, log_shares: Tensor, of_truth: Tensor, index: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return loss and slope where the mean over the rows is weighted by their true classes.

        Args:
            log_shares: ``[batch, lanes, classes]``, overwritten.
            of_truth: ``[batch, lanes]``: log shares of the true classes.
            index: ``[batch, lanes, 1]``: the true classes.
            weights: ``[lanes, classes]``.
        """
        n_classes = weights.shape[1]
        of_rows = weights.expand_as(log_shares).gather(2, index)[:, :, 0]
        total = of_rows.sum(0)
        of_rows = of_rows / total
        losses = -(of_truth * of_rows).sum(0)
        # The target of a row: the part of its weight for the truth, and that for all classes.
        truth = of_rows * (1.0 - self._smoothing)
        even = weights * (self._smoothing / total / n_classes)[:, None]
        if self._smooths:
            flat = -(log_shares.sum(0) * weights).sum(1) / total / n_classes
            losses = torch.lerp(losses, flat, self._smoothing)
        slope = log_shares.exp_().mul_((truth + even.sum(1))[:, :, None])
        if self._smooths:
            slope -= even
        return losses, slope.scatter_add_(2, index, -truth[:, :, None])
