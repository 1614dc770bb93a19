"""Training and evaluating a cohort for an epoch: the only place where tensors are computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cotune.data.dataset import TrainingData
from cotune.lanes import Cohort
from cotune.models import mlp
from cotune.optim import update

_EVALUATION_ROWS = 1024


@dataclass(frozen=True)
class DeviceData:
    """The dataset on the device.

    Attributes:
        inputs: ``[rows, features]``, the training part first.
        labels: ``[rows]``.
        n_train: Rows of the training part.
    """

    inputs: Tensor
    labels: Tensor
    n_train: int
    n_classes: int

    @classmethod
    def load(cls, data: TrainingData, device: torch.device) -> DeviceData:
        """Shares the arrays' memory on the CPU, copies them to another device."""
        inputs = torch.from_numpy(data.inputs).to(device)
        labels = torch.from_numpy(data.labels).to(device)
        return cls(inputs, labels, data.n_train, data.n_classes)


def row_order(n_rows: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch's rows: depends on the run's seed and the epoch alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(n_rows, generator=generator)


def train_epoch(
    cohort: Cohort, data: DeviceData, seed: int, cancelled: Callable[[], bool] = lambda: False
) -> tuple[Tensor, Tensor, int] | None:
    """Train every lane for one epoch, in place.

    A last minibatch that is not full is left out, so all steps have the same shapes.

    Returns:
        Mean loss ``[lanes]`` and accuracy ``[lanes]`` over the minibatches, and their number; None
        when it was cancelled between two of them, which leaves the cohort in mid-epoch.
    """
    n_rows = data.n_train if cohort.key.part == "train" else len(data.inputs)
    batch_size = min(cohort.key.batch_size, n_rows)
    n_steps = n_rows // batch_size
    order = row_order(n_rows, seed, cohort.epoch).to(data.inputs.device)
    parameters = {
        name: view.detach().requires_grad_() for name, view in cohort.views(cohort.weights).items()
    }
    leaves = list(parameters.values())
    loss_sum = torch.zeros(len(cohort), dtype=torch.float64, device=data.inputs.device)
    correct = torch.zeros(len(cohort), device=data.inputs.device)
    rows = data.inputs.new_empty(batch_size, data.inputs.shape[1])
    for index in order[: n_steps * batch_size].view(n_steps, batch_size):
        if cancelled():
            return None
        torch.index_select(data.inputs, 0, index, out=rows)
        labels = data.labels[index]
        logits = mlp.forward(
            cohort.key.shape, parameters, cohort.buffers, rows, cohort.dropout, cohort.generators
        )
        losses = _cross_entropy(logits, labels)
        # Lanes share nothing, so the gradient of the sum holds each lane's own gradient.
        gradients = torch.autograd.grad(losses.sum(), leaves)
        torch.cat([gradient.flatten() for gradient in gradients], out=cohort.gradient)
        with torch.no_grad():
            _step(cohort)
            loss_sum += losses
            correct += (logits.argmax(-1) == labels[:, None]).sum(0)
    cohort.epoch += 1
    return loss_sum / n_steps, correct.double() / (n_steps * batch_size), n_steps


def _step(cohort: Cohort) -> None:
    cohort.steps += 1
    weights, gradients = cohort.blocks(cohort.weights), cohort.blocks(cohort.gradient)
    moments = {name: cohort.blocks(buffer) for name, buffer in cohort.moments.items()}
    for i, (block, gradient) in enumerate(zip(weights, gradients, strict=True)):
        block_moments = {name: blocks[i] for name, blocks in moments.items()}
        update(cohort.key.optimizer, block, gradient, block_moments, cohort.rates, cohort.steps)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """``[batch, lanes, classes]`` -> mean over the batch ``[lanes]``."""
    batch, lanes, classes = logits.shape
    targets = labels[:, None].expand(batch, lanes).reshape(-1)
    losses = F.cross_entropy(logits.reshape(-1, classes), targets, reduction="none")
    return losses.view(batch, lanes).mean(0)


def all_finite(cohort: Cohort) -> Tensor:
    """Whether every weight and statistic of a lane is neither NaN nor infinite, ``[lanes]``."""
    tensors = [*cohort.views(cohort.weights).values(), *cohort.buffers.values()]
    return torch.stack([value.flatten(1).isfinite().all(1) for value in tensors]).all(0)


@torch.no_grad()
def evaluate(cohort: Cohort, data: DeviceData) -> dict[str, Tensor]:
    """Scores of every lane on the validation part.

    Returns:
        ``loss``, ``accuracy`` and ``f1`` (macro), ``[lanes]`` each.
    """
    inputs, labels = data.inputs[data.n_train :], data.labels[data.n_train :]
    parameters = cohort.views(cohort.weights)
    lanes, n_classes = len(cohort), data.n_classes
    loss_sum = torch.zeros(lanes, dtype=torch.float64, device=inputs.device)
    confusion = torch.zeros(lanes * n_classes**2, dtype=torch.int64, device=inputs.device)
    lane_offset = torch.arange(lanes, device=inputs.device) * n_classes * n_classes
    for rows, truth in zip(
        inputs.split(_EVALUATION_ROWS), labels.split(_EVALUATION_ROWS), strict=True
    ):
        logits = mlp.forward(
            cohort.key.shape, parameters, cohort.buffers, rows, cohort.dropout, None
        )
        loss_sum += _cross_entropy(logits, truth) * len(rows)
        cells = lane_offset + truth[:, None] * n_classes + logits.argmax(-1)
        confusion += torch.bincount(cells.flatten(), minlength=confusion.numel())
    confusion = confusion.view(lanes, n_classes, n_classes)  # [lane, true, predicted]
    hits = confusion.diagonal(dim1=1, dim2=2)
    both = confusion.sum(1) + confusion.sum(2)
    return {
        "loss": loss_sum / len(inputs),
        "accuracy": hits.sum(1).double() / len(inputs),
        # F1 = 2 TP / (2 TP + FP + FN); a class that neither occurs nor is predicted scores 0.
        "f1": (2 * hits.double() / both.clamp(min=1)).mean(1),
    }
