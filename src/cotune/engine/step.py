"""Training and evaluating a cohort for an epoch: the only place where tensors are computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from cotune.data.dataset import TrainingData
from cotune.engine.cohorts.base import Cohort
from cotune.engine.cuda_graph import CapturedStep
from cotune.engine.device import free_memory, widest_float
from cotune.engine.families import family_of
from cotune.engine.lane import AVERAGE_EVERY, CohortKey, Lane
from cotune.engine.losses import balance
from cotune.engine.networks import CustomNetwork
from cotune.metrics import macro_auc, scores_of_confusion
from cotune.space.hyperparameters import epochs_per_pass

STACKED: Final = "COTUNE_STACKED"
"""An environment variable, for tests and benchmarks, that stacks lanes on a CPU too."""

_TRIED_ROWS: Final = 4  # by which a user's networks are tried when they are made


@dataclass(frozen=True)
class DeviceData:
    """The dataset on the device, or beside it where it is too large: then minibatches come over.

    Attributes:
        inputs: ``[rows, features]``, the training part first; in the host's memory, or in a file
            that is mapped into it, where the device has no room for them.
        labels: ``[rows]``.
        host_labels: The same on the CPU, to count them without waiting for the device.
        n_train: Rows of the training part.
        input_shape: Of one row before it was flattened.
        fold_of: See ``TrainingData``; on the CPU.
        custom: Maker of the networks, where they are the user's own.
        is_streamed: The inputs are beside the device.
        is_stacked: Lanes are padded and stacked where their family can; else they stand side by
            side, or one after another.
    """

    inputs: Tensor
    labels: Tensor
    host_labels: Tensor
    n_train: int
    n_classes: int
    input_shape: tuple[int, ...]
    fold_of: Tensor | None = None
    custom: CustomNetwork | None = None
    is_streamed: bool = False
    is_stacked: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Of the networks: that of the rows, or ``float32`` where those are whole numbers."""
        return self.inputs.dtype if self.inputs.is_floating_point() else torch.float32

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return self.labels.device

    def take(self, index: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the inputs of these rows on the device.

        Args:
            index: ``[some]``.
            out: ``[some, features]``, what to fill.
        """
        index = index.to(self.inputs.device)
        if not self.is_streamed:
            return torch.index_select(self.inputs, 0, index, out=out)
        rows = self.inputs.index_select(0, index)
        if out is None:
            return rows.to(self.device, non_blocking=True)
        return out.copy_(rows, non_blocking=True)

    def training_rows(self, key: CohortKey) -> Tensor:
        """Return indices of the rows that are trained on, on the CPU: no device is waited for."""
        everything = torch.arange(len(self.inputs))
        if key.part == "all":
            return everything
        if key.fold == 0:
            return everything[: self.n_train]
        kept = (self._folds != key.fold).nonzero()[:, 0]
        return torch.cat([kept, everything[self.n_train :]])

    def held_out_rows(self, key: CohortKey) -> Tensor:
        """Return indices of the rows that scores are of, on the CPU."""
        if key.fold == 0:
            return torch.arange(self.n_train, len(self.inputs))
        return (self._folds == key.fold).nonzero()[:, 0]

    @property
    def _folds(self) -> Tensor:
        if self.fold_of is None:
            raise ValueError("the dataset was not divided into folds")
        return self.fold_of

    @classmethod
    def load(
        cls,
        data: TrainingData,
        device: torch.device,
        most: float | None = None,
        custom: CustomNetwork | None = None,
    ) -> DeviceData:
        """Put a dataset on a device: the CPU shares its memory, another device gets a copy.

        Args:
            data: The dataset.
            device: Where it is trained.
            most: Bytes of inputs that the device takes in: by default half of what is free on a
                GPU, and all on a CPU. Where there are more, they stay where they are.
            custom: Maker of the networks, where they are the user's own.
        """
        inputs = torch.from_numpy(data.inputs)
        if most is None:
            most = free_memory(device) / 2
        is_streamed = inputs.nbytes > most
        if not is_streamed:
            inputs = inputs.to(device)
        labels = torch.from_numpy(data.labels)
        if custom is not None:
            custom = custom.tried_with(inputs[:_TRIED_ROWS].cpu())
        folds = None if data.fold_of is None else torch.from_numpy(data.fold_of)
        return cls(
            inputs,
            labels.to(device),
            labels,
            data.n_train,
            data.n_classes,
            data.input_shape,
            folds,
            custom,
            is_streamed,
            device.type != "cpu" or STACKED in os.environ,
        )


def make_cohort(lanes: Sequence[Lane], data: DeviceData, bfloat16: bool = False) -> Cohort:
    """Put lanes of the same key and epoch together.

    Args:
        bfloat16: Compute the large products of the training in 16 bits.
    """
    batch_size, _ = steps_per_epoch(lanes[0].key, data)
    balanced = None
    if any(lane.class_weight for lane in lanes):
        balanced = balance(data.host_labels[data.training_rows(lanes[0].key)], data.n_classes)
    family = family_of(lanes[0].spec.params, data.custom)
    put_together = family.stacked_cohort if data.is_stacked else family.cohort
    cohort = put_together(lanes, batch_size, bfloat16, balanced)
    if data.inputs.is_cuda and not family.runs_user_code:
        cohort.captured = CapturedStep(
            data.inputs,
            data.labels,
            data.input_shape,
            batch_size,
            lanes[0].key.augmentation,
            len(lanes),
        )
    return cohort


def row_order(n_rows: int, seed: int, epoch: int) -> Tensor:
    """Return the order of a pass over the rows: depends on the run's seed and the pass alone.

    Args:
        epoch: Passes before it.
    """
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
    key, epoch = cohort.lanes[0].key, cohort.lanes[0].epoch
    batch_size, n_steps = steps_per_epoch(key, data)
    trained_on = data.training_rows(key)
    # Of many rows, an epoch is a part of a pass, so the next continues where it ended.
    turn, place = divmod(epoch, epochs_per_pass(key.epoch_rows, len(trained_on)))
    first = place * n_steps * batch_size % len(trained_on)
    order = trained_on[row_order(len(trained_on), seed, turn).roll(-first)[: n_steps * batch_size]]
    drawn = key.augmentation.draw(order, len(data.inputs), seed, epoch, turn)
    # Once an epoch, or the device would be waited for every step.
    labels = data.labels[order.to(data.device)].view(n_steps, batch_size)
    order = order.to(data.inputs.device)
    wide = widest_float(data.device)
    loss_sum = torch.zeros(len(cohort.lanes), device=data.device, dtype=wide)
    correct = torch.zeros(len(cohort.lanes), device=data.device, dtype=torch.int64)
    rows = data.inputs.new_empty(batch_size, data.inputs.shape[1], device=data.device)
    moves = drawn.to(data.device).view(n_steps, batch_size, -1)
    keep_rates = all(lane.keeps_rate for lane in cohort.lanes)
    factors: list[float] = []
    for i, index in enumerate(order.view(n_steps, batch_size)):
        if cancelled():
            return None
        step = epoch * n_steps + i
        if i == 0 or not keep_rates:
            factors = [lane.lr_factor(step, n_steps) for lane in cohort.lanes]
        if cohort.captured is not None:
            losses, hits = cohort.captured(cohort, index, moves[i], factors)
        else:
            data.take(index, rows)
            seen = rows
            if key.augmentation:
                seen = key.augmentation.apply(rows, moves[i], data.input_shape)
            losses, hits = cohort.step(seen, labels[i], factors)
        loss_sum += losses
        correct += hits
        if (step + 1) % AVERAGE_EVERY == 0:
            cohort.accumulate()
    for lane in cohort.lanes:
        lane.epoch += 1
    return loss_sum / n_steps, correct.to(wide) / (n_steps * batch_size), n_steps


def steps_per_epoch(key: CohortKey, data: DeviceData) -> tuple[int, int]:
    """Return rows of a minibatch, and minibatches of an epoch."""
    n_rows = len(data.training_rows(key))
    batch_size = min(key.batch_size, n_rows)
    return batch_size, max(1, n_rows // batch_size // epochs_per_pass(key.epoch_rows, n_rows))


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Average the cross-entropy of ``[batch, lanes, classes]`` over the batch: ``[lanes]``."""
    batch, lanes, classes = logits.shape
    targets = labels[:, None].expand(batch, lanes).reshape(-1)
    losses = F.cross_entropy(logits.reshape(-1, classes), targets, reduction="none")
    return losses.view(batch, lanes).mean(0)


@torch.no_grad()
def evaluate(cohort: Cohort, data: DeviceData, auc: bool = False) -> dict[str, Tensor]:
    """Return scores of every lane on the rows that are held out.

    Args:
        auc: Compute it too: it sorts the rows by the probability of every class.

    Returns:
        All of :data:`cotune.metrics.METRICS`, but perhaps ``auc``; ``[lanes]`` each.
    """
    held_out = data.held_out_rows(cohort.lanes[0].key)
    labels, held_out = data.labels[held_out.to(data.device)], held_out.to(data.inputs.device)
    lanes, n_classes = len(cohort.lanes), data.n_classes
    wide = widest_float(data.device)
    loss_sum = torch.zeros(lanes, dtype=wide, device=data.device)
    confusion = torch.zeros(lanes * n_classes**2, dtype=torch.int64, device=data.device)
    lane_offset = torch.arange(lanes, device=data.device) * n_classes * n_classes
    probabilities = []
    parts = held_out.split(cohort.evaluation_rows), labels.split(cohort.evaluation_rows)
    for index, truth in zip(*parts, strict=True):
        rows = data.take(index)
        logits = cohort.logits(rows)
        loss_sum += _cross_entropy(logits, truth) * len(rows)
        cells = lane_offset + truth[:, None] * n_classes + logits.argmax(-1)
        # Unlike bincount, it does not ask the device for the largest.
        confusion.index_add_(0, cells.flatten(), torch.ones_like(cells).flatten())
        if auc:
            # In 64 bits, or those next to 1 would be ties.
            probabilities.append(logits.to(wide).softmax(-1))
    scored_on = data.device if wide == torch.float64 else torch.device("cpu")
    confusion = confusion.view(lanes, n_classes, n_classes)  # [lane, true, predicted]
    scores = {"loss": loss_sum / len(held_out), **scores_of_confusion(confusion.to(scored_on))}
    if auc:
        scores["auc"] = macro_auc(torch.cat(probabilities).to(scored_on), labels.to(scored_on))
    return scores
