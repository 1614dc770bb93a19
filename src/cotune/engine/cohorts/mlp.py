"""Perceptrons of different widths and depths trained as one network.

The lanes' neurons of one layer stand side by side in one matrix ``[batch, neurons]``, deep lanes
first, so a layer's matrix holds a leading part of the lanes. Operations on single neurons (batch
norm, ReLU, dropout) are done once for all lanes; the first layer is one matrix product, because
lanes share their rows; later layers are a product for each lane, on its columns. The backward pass
is written out: it needs no graph, reuses its tensors, and updates a lane's first layer while its
gradient is still in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from cotune.engine.cohorts.base import Cohort
from cotune.engine.losses import CrossEntropy
from cotune.engine.networks.common import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, Tensors
from cotune.engine.networks.mlp import MLPArchitecture, dropout_rates
from cotune.engine.optim import update

if TYPE_CHECKING:
    from cotune.engine.lane import Lane

_NOISE_LEVELS = 1 << 16


class MLPCohort(Cohort):
    """A cohort of perceptrons.

    Making one moves the lanes' parameters into tensors that the cohort shares; the lanes keep
    views of them, so each lane's state stays readable and can move to another cohort.

    Args:
        lanes: With the same key.
        batch_size: Rows of a minibatch.
        bfloat16: Train with the first layer's products, which are most of the work, in 16 bits;
            weights keep their own type.
        balance: From :func:`cotune.engine.losses.balance`, where a lane has class weights.

    Attributes:
        lanes: Deep ones first; results are in this order.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        batch_size: int,
        bfloat16: bool = False,
        balance: Tensor | None = None,
    ) -> None:
        self._bfloat16 = bfloat16
        self.lanes = sorted(lanes, key=lambda lane: -len(widths_of(lane)))
        self._norm = lanes[0].key.batch_norm
        first = self.lanes[0].parameters["head.weight"]
        self._device, self._dtype = first.device, first.dtype
        self._depths = [len(widths_of(lane)) for lane in self.lanes]
        # columns[layer][lane]: the lane's part of the layer's matrix.
        self._columns = [_side_by_side(self.lanes, i) for i in range(self._depths[0])]
        neurons = [columns[-1].stop for columns in self._columns]
        self._batch = batch_size
        self._views: list[tuple[Tensors, str, Tensor]] = []
        self._weight = self._share("hidden.0.weight", 0)
        self._bias = [self._share(_bias(self._norm, i), i) for i in range(len(neurons))]
        self._gain, self._mean, self._variance = [], [], []
        if self._norm:
            layers = range(len(neurons))
            self._gain = [self._share(f"norm.{i}.weight", i) for i in layers]
            self._mean = [self._share(f"norm.{i}.running_mean", i) for i in layers]
            self._variance = [self._share(f"norm.{i}.running_var", i) for i in layers]
        self._before = [self._empty(batch_size, n) for n in neurons]
        self._slope = [self._empty(batch_size, n) for n in neurons]
        n_classes = self.lanes[0].architecture.n_classes
        self._logits = self._empty(batch_size, len(self.lanes), n_classes)
        self._entropy = CrossEntropy(self.lanes, balance, first)
        self._dropouts = [
            _Dropout(self.lanes, i, columns, self._empty(batch_size, columns[-1].stop))
            for i, columns in enumerate(self._columns)
        ]
        self._make_gradients(neurons)
        # Last, so that lanes for which memory ran out keep their own tensors.
        for owner, name, view in self._views:
            owner[name] = view
        self._updated = [
            (
                list(lane.parameters.values()),
                [gradients[name] for name in lane.parameters],
                {m: [tensors[n] for n in lane.parameters] for m, tensors in lane.moments.items()},
            )
            for lane, gradients in zip(self.lanes, self._gradients, strict=True)
        ]

    def step(
        self, rows: Tensor, labels: Tensor, lr_factors: Sequence[float] | Tensor
    ) -> tuple[Tensor, Tensor]:
        if self._bfloat16:
            rows = rows.bfloat16()
        hidden, saved, masks = [rows], [], []
        for i, columns in enumerate(self._columns):
            before = self._before[i]
            self._products(i, hidden[-1], before)
            if self._norm:
                after, mean, inverse = torch.native_batch_norm(
                    before,
                    self._gain[i],
                    self._bias[i],
                    self._mean[i],
                    self._variance[i],
                    True,
                    BATCH_NORM_MOMENTUM,
                    BATCH_NORM_EPS,
                )
                saved.append((mean, inverse))
                after.relu_()
            else:
                after = before.add_(self._bias[i]).relu_()
            mask = self._dropouts[i].draw(self._batch, columns)
            masks.append(mask)
            hidden.append(after if mask is None else after * mask)
        losses, correct, slope = self._loss(hidden, labels)
        self._backward(hidden, saved, masks, slope)
        self._update(rows, lr_factors)
        return losses, correct

    @torch.no_grad()
    def logits(self, rows: Tensor) -> Tensor:
        hidden = [rows]
        for i, bias in enumerate(self._bias):
            before = rows.new_empty(len(rows), len(bias))
            self._products(i, hidden[-1], before)
            if self._norm:
                before = F.batch_norm(
                    before,
                    self._mean[i],
                    self._variance[i],
                    self._gain[i],
                    bias,
                    eps=BATCH_NORM_EPS,
                )
            else:
                before.add_(bias)
            hidden.append(before.relu_())
        out = rows.new_empty(len(rows), len(self.lanes), self._logits.shape[2])
        self._heads(hidden, out)
        return out

    def _products(self, layer: int, hidden: Tensor, out: Tensor) -> None:
        if layer == 0:
            _product(hidden, self._weight.t(), out)
            return
        for lane, columns in enumerate(self._columns[layer]):
            weight = self.lanes[lane].parameters[f"hidden.{layer}.weight"]
            inputs = hidden[:, self._columns[layer - 1][lane]]
            torch.mm(inputs, weight.t(), out=out[:, columns])

    def _heads(self, hidden: Sequence[Tensor], out: Tensor) -> None:
        for i, (lane, depth) in enumerate(zip(self.lanes, self._depths, strict=True)):
            last = hidden[depth][:, self._columns[depth - 1][i]]
            weight, bias = lane.parameters["head.weight"], lane.parameters["head.bias"]
            torch.addmm(bias, last, weight.t(), out=out[:, i])

    def _loss(self, hidden: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return cross-entropy ``[lanes]``, hits ``[lanes]`` and the slope at the logits."""
        self._heads(hidden, self._logits)
        return self._entropy(self._logits, labels)

    def _backward(
        self,
        hidden: Sequence[Tensor],
        saved: Sequence[tuple[Tensor, Tensor]],
        masks: Sequence[Tensor | None],
        slope: Tensor,
    ) -> None:
        """Fill all gradients but that of the first layer's weights, whose slope is kept."""
        for i, (lane, depth) in enumerate(zip(self.lanes, self._depths, strict=True)):
            columns, gradients = self._columns[depth - 1][i], self._gradients[i]
            lane_slope = slope[:, i]
            torch.mm(lane_slope.t(), hidden[depth][:, columns], out=gradients["head.weight"])
            torch.sum(lane_slope, 0, out=gradients["head.bias"])
            weight = lane.parameters["head.weight"]
            torch.mm(lane_slope, weight, out=self._slope[depth - 1][:, columns])
        for layer in reversed(range(len(self._columns))):
            slope = self._slope[layer]
            mask = masks[layer]
            if mask is not None:
                slope.mul_(mask)
            # A neuron that is off, or was dropped, has output 0 and passes no slope.
            slope = torch.ops.aten.threshold_backward(slope, hidden[layer + 1], 0)
            if self._norm:
                slope, gain, bias = torch.ops.aten.native_batch_norm_backward(
                    slope,
                    self._before[layer],
                    self._gain[layer],
                    None,
                    None,
                    *saved[layer],
                    True,
                    BATCH_NORM_EPS,
                    [True, True, True],
                )
                self._gain_gradient[layer].copy_(gain)
                self._bias_gradient[layer].copy_(bias)
            else:
                torch.sum(slope, 0, out=self._bias_gradient[layer])
            if layer == 0:
                self._first_slope = slope
                return
            for i, columns in enumerate(self._columns[layer]):
                inputs = self._columns[layer - 1][i]
                name = f"hidden.{layer}.weight"
                lane_slope = slope[:, columns]
                out = self._gradients[i][name]
                torch.mm(lane_slope.t(), hidden[layer][:, inputs], out=out)
                weight = self.lanes[i].parameters[name]
                torch.mm(lane_slope, weight, out=self._slope[layer - 1][:, inputs])

    def _update(self, rows: Tensor, lr_factors: Sequence[float] | Tensor) -> None:
        for i, lane in enumerate(self.lanes):
            first = self._gradients[i]["hidden.0.weight"]
            _product(self._first_slope[:, self._columns[0][i]].t(), rows, first)
            lane.steps.add_(1)
            weights, gradients, moments = self._updated[i]
            update(lane.rates, lr_factors[i], weights, gradients, moments, lane.steps)

    def _share(self, name: str, layer: int) -> Tensor:
        """Concatenate all lanes' tensors of that name; the lanes get views of the result."""
        columns = self._columns[layer]
        owners = [
            lane.parameters if name in lane.parameters else lane.buffers
            for lane in self.lanes[: len(columns)]
        ]
        shared = torch.cat([owner[name] for owner in owners])
        for owner, part in zip(owners, columns, strict=True):
            self._views.append((owner, name, shared[part]))
        return shared

    def _make_gradients(self, neurons: Sequence[int]) -> None:
        self._bias_gradient = [self._empty(n) for n in neurons]
        self._gain_gradient = [self._empty(n) for n in neurons] if self._norm else []
        widest = max(columns.stop - columns.start for columns in self._columns[0])
        # The first layer's gradient is made lane by lane, in one place.
        scratch = self._empty(widest, self._weight.shape[1])
        self._gradients: list[dict[str, Tensor]] = []
        for i, lane in enumerate(self.lanes):
            gradients = {}
            for name, value in lane.parameters.items():
                kind, _, rest = name.partition(".")
                layer = int(rest.partition(".")[0]) if kind != "head" else 0
                if name == "hidden.0.weight":
                    gradients[name] = scratch[: len(value)]
                elif value.ndim == 1 and kind != "head":
                    shared = self._gain_gradient if name.endswith("weight") else self._bias_gradient
                    gradients[name] = shared[layer][self._columns[layer][i]]
                else:
                    gradients[name] = torch.empty_like(value)
            self._gradients.append(gradients)

    def _empty(self, *size: int) -> Tensor:
        return torch.empty(size, device=self._device, dtype=self._dtype)


class _Dropout:
    """The dropout masks of one layer.

    Noise is 16 bits a neuron and row, which costs a third of a 32-bit float. The rate is rounded
    to a multiple of 1/65,536, and the values kept are scaled by the rounded rate.
    """

    def __init__(self, lanes: Sequence[Lane], layer: int, columns: Sequence[slice], mask: Tensor):
        self._lanes = lanes
        self._levels = []
        scales = []
        for lane, part in zip(lanes, columns, strict=False):
            level = round(dropout_rates(lane.spec.params)[layer] * _NOISE_LEVELS)
            self._levels.append(level)
            scale = _NOISE_LEVELS / (_NOISE_LEVELS - level)
            scales.append(mask.new_full((part.stop - part.start,), scale))
        self._scale = torch.cat(scales)
        self._mask = mask if any(self._levels) else None

    def draw(self, batch: int, columns: Sequence[slice]) -> Tensor | None:
        """Return a mask ``[batch, neurons]`` of zeros and scales; None where no rate is above 0."""
        if self._mask is None:
            return None
        for lane, level, part in zip(self._lanes, self._levels, columns, strict=False):
            if level == 0:
                self._mask[:, part] = 1.0
                continue
            size = batch * (part.stop - part.start)
            words = torch.empty(-(-size // 4), dtype=torch.int64, device=self._mask.device)
            # The range of all 64 bits, of which each value is then four of 16 bits.
            words.random_(-(2**63), None, generator=lane.generator)
            noise = words.view(torch.int16)[:size].view(batch, -1)
            torch.ge(noise, level - _NOISE_LEVELS // 2, out=self._mask[:, part])
        return self._mask.mul_(self._scale)


def _product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Multiply matrices, in 16 bits where one of the factors is."""
    if torch.bfloat16 in (left.dtype, right.dtype):
        out.copy_(torch.mm(left.bfloat16(), right.bfloat16()))
    else:
        torch.mm(left, right, out=out)


def _bias(norm: bool, layer: int) -> str:
    return f"norm.{layer}.bias" if norm else f"hidden.{layer}.bias"


def _side_by_side(lanes: Sequence[Lane], layer: int) -> list[slice]:
    columns, start = [], 0
    for lane in lanes:
        if layer < len(widths_of(lane)):
            columns.append(slice(start, start + widths_of(lane)[layer]))
            start = columns[-1].stop
    return columns


def widths_of(lane: Lane) -> tuple[int, ...]:
    """Return the widths of a perceptron's hidden layers."""
    assert isinstance(lane.architecture, MLPArchitecture)
    return lane.architecture.widths
