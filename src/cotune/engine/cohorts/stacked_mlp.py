"""Perceptrons of different widths and depths as a few large operations, for a GPU.

A small network keeps a GPU waiting for launches, so here their number does not grow with the lanes.
All parameters of a lane are one row of a matrix, padded to the widest lane of each layer: a layer
is one batched product, and one optimizer step updates all rows. Deep lanes come first, so a layer
is a leading part of the lanes, as in the ragged cohort of ``mlp.py``, which a CPU is faster with.

Padding is exactly zero and stays so: weights and biases of 0 give a neuron that is off, whose
gradients are 0, and so are the optimizers' steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from cotune.engine.cohorts.base import Cohort
from cotune.engine.cohorts.mlp import widths_of
from cotune.engine.hashing import GOLDEN, LEVELS, hashed, noise
from cotune.engine.losses import CrossEntropy
from cotune.engine.networks.common import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, Tensors
from cotune.engine.networks.mlp import MLPArchitecture, dropout_rates
from cotune.engine.stacked_optim import Matrices, Rows, StackedOptimizer

if TYPE_CHECKING:
    from cotune.engine.lane import Lane

_ROW, _LAYER = 1_000_003, 0x3C6EF35F


class StackedMLPCohort(Cohort):
    """A cohort of perceptrons whose tensors are padded and stacked.

    The lanes keep views of their parts without the padding, so each lane's state stays readable and
    can move to another cohort, of this kind or the other.

    Args:
        lanes, batch_size, bfloat16, balance: As for :class:`cotune.engine.cohorts.mlp.MLPCohort`.

    Attributes:
        lanes: Deep ones first; results are in this order.
    """

    draws = False

    def __init__(
        self,
        lanes: Sequence[Lane],
        batch_size: int,
        bfloat16: bool = False,
        balance: Tensor | None = None,
    ) -> None:
        self._bfloat16 = bfloat16
        self.lanes = sorted(lanes, key=lambda lane: -len(widths_of(lane)))
        like = self.lanes[0].parameters["head.weight"]
        depths = [len(widths_of(lane)) for lane in self.lanes]
        # How many lanes have a layer, and the widest of them.
        self._having = [sum(depth > i for depth in depths) for i in range(depths[0])]
        self._width = [
            max(widths_of(lane)[i] for lane in self.lanes[:n]) for i, n in enumerate(self._having)
        ]
        self._depths = {
            depth: slice(depths.index(depth), depths.index(depth) + depths.count(depth))
            for depth in depths
        }
        self._norm = lanes[0].key.batch_norm
        self._make_rows(like)
        self._make_buffers(like)
        self._steps = torch.stack([lane.steps for lane in self.lanes])
        self._entropy = CrossEntropy(self.lanes, balance, like)
        self._noise = _Noise(self.lanes, like.device)
        self._dropouts = [
            _Dropout(self.lanes[:n], i, batch_size, width, like)
            for i, (n, width) in enumerate(zip(self._having, self._width, strict=True))
        ]
        shapes = list(zip(self._having, self._width, strict=True))
        self._before = [like.new_empty(batch_size, n, width) for n, width in shapes]
        self._slope = [like.new_empty(batch_size, n, width) for n, width in shapes]
        self._optimizer = StackedOptimizer(
            [lane.rates for lane in self.lanes], self._rows, self._matrices
        )
        # Last, so that lanes for which memory ran out keep their own tensors.
        for owner, views in self._views:
            owner.update(views)
        for i, lane in enumerate(self.lanes):
            lane.steps = self._steps[i]

    def step(
        self, rows: Tensor, labels: Tensor, lr_factors: Sequence[float] | Tensor
    ) -> tuple[Tensor, Tensor]:
        hidden, saved, masks = [rows], [], []
        of_step = self._noise.of_step(self._steps) if any(self._dropouts) else None
        for i, before in enumerate(self._before):
            self._products(i, hidden[-1], before, self._bfloat16)
            if self._norm:
                flat, mean, inverse = torch.native_batch_norm(
                    before.flatten(1),
                    *self._normed_by(i),
                    True,
                    BATCH_NORM_MOMENTUM,
                    BATCH_NORM_EPS,
                )
                saved.append((mean, inverse))
                after = flat.view_as(before).relu_()
            else:
                after = before.add_(self._bias[i]).relu_()
            mask = self._dropouts[i].draw(of_step) if of_step is not None else None
            masks.append(mask)
            hidden.append(after if mask is None else after * mask)
        logits = self._heads(hidden)
        losses, correct, slope = self._entropy(logits, labels)
        self._backward(hidden, saved, masks, slope)
        self._steps.add_(1)
        if not isinstance(lr_factors, Tensor):
            on_host = torch.tensor(lr_factors, dtype=slope.dtype)
            lr_factors = on_host.to(slope.device, non_blocking=True)
        self._optimizer.step(lr_factors.to(slope.dtype), self._steps)
        return losses, correct

    @torch.no_grad()
    def logits(self, rows: Tensor) -> Tensor:
        hidden = [rows]
        for i, bias in enumerate(self._bias):
            before = rows.new_empty(len(rows), *bias.shape)
            self._products(i, hidden[-1], before)
            if self._norm:
                gain, bias, mean, variance = self._normed_by(i)
                flat = before.flatten(1)
                before = F.batch_norm(flat, mean, variance, gain, bias, eps=BATCH_NORM_EPS).view_as(
                    before
                )
            else:
                before.add_(bias)
            hidden.append(before.relu_())
        return self._heads(hidden)

    def accumulate(self) -> None:
        if self._average is None:
            return
        shares = [lane.next_share() if lane.average else 0.0 for lane in self.lanes]
        on_host = torch.tensor(shares, dtype=self._average.dtype)
        share = on_host.to(self._average.device, non_blocking=True)[:, None]
        self._average.lerp_(self._rows.weights, share)
        for name, buffer in self._buffers.items():
            self._average_buffers[name].lerp_(buffer, share[: len(buffer)])

    def are_finite(self) -> Tensor:
        finite = self._rows.weights.isfinite().all(1)
        for buffer in self._buffers.values():
            finite[: len(buffer)] &= buffer.isfinite().all(1)
        return finite

    def _products(self, layer: int, hidden: Tensor, out: Tensor, bfloat16: bool = False) -> None:
        weight = self._weight[layer]
        if layer == 0:
            rows = hidden.expand(len(weight), -1, -1)  # shared by the lanes
            _product(rows, weight.mT, out.transpose(0, 1), bfloat16)
        else:
            _product(hidden[:, : len(weight)].transpose(0, 1), weight.mT, out.transpose(0, 1))

    def _normed_by(self, layer: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return gain, bias, mean and variance of all neurons of a layer, one after another."""
        return (
            self._gain[layer].flatten(),
            self._bias[layer].flatten(),
            self._buffers[f"norm.{layer}.running_mean"].view(-1),
            self._buffers[f"norm.{layer}.running_var"].view(-1),
        )

    def _heads(self, hidden: Sequence[Tensor]) -> Tensor:
        """Return logits ``[batch, lanes, classes]``, by one product for each depth."""
        out = hidden[0].new_empty(len(hidden[0]), *self._head_bias.shape)
        for depth, part in self._depths.items():
            weight = self._head[part, :, : self._width[depth - 1]]
            last = hidden[depth][:, part].transpose(0, 1)
            _product(last, weight.mT, out[:, part].transpose(0, 1))
        return out.add_(self._head_bias)

    def _backward(
        self,
        hidden: Sequence[Tensor],
        saved: Sequence[tuple[Tensor, Tensor]],
        masks: Sequence[Tensor | None],
        slope: Tensor,
    ) -> None:
        """Fill all gradients."""
        for depth, part in self._depths.items():
            width, of_lanes = self._width[depth - 1], slope[:, part].transpose(0, 1)
            last = hidden[depth][:, part].transpose(0, 1)
            _product(of_lanes.mT, last, self._gradient["head.weight"][part, :, :width])
            out = self._slope[depth - 1][:, part].transpose(0, 1)
            _product(of_lanes, self._head[part, :, :width], out)
        self._gradient["head.bias"].copy_(slope.sum(0))
        for layer in reversed(range(len(self._before))):
            slope, n = self._slope[layer], self._having[layer]
            mask = masks[layer]
            if mask is not None:
                slope.mul_(mask)
            # A neuron that is off, or was dropped, has output 0 and passes no slope.
            slope = torch.ops.aten.threshold_backward(slope, hidden[layer + 1], 0)
            if self._norm:
                flat, gain, bias = torch.ops.aten.native_batch_norm_backward(
                    slope.flatten(1),
                    self._before[layer].flatten(1),
                    self._gain[layer].flatten(),
                    None,
                    None,
                    *saved[layer],
                    True,
                    BATCH_NORM_EPS,
                    [True, True, True],
                )
                slope = flat.view_as(slope)
                self._gradient[f"norm.{layer}.weight"][:n].copy_(gain.view(n, -1))
                self._gradient[f"norm.{layer}.bias"][:n].copy_(bias.view(n, -1))
            else:
                self._gradient[f"hidden.{layer}.bias"][:n].copy_(slope.sum(0))
            of_lanes = slope.transpose(0, 1)
            out = self._gradient[f"hidden.{layer}.weight"][:n]
            if layer == 0:
                _product(of_lanes.mT, hidden[0].expand(n, -1, -1), out, self._bfloat16)
                return
            _product(of_lanes.mT, hidden[layer][:, :n].transpose(0, 1), out)
            _product(of_lanes, self._weight[layer], self._slope[layer - 1][:, :n].transpose(0, 1))

    def _make_rows(self, like: Tensor) -> None:
        """Copy parameters, moments and averages of the lanes into rows, padded."""
        own = self.lanes[0].architecture
        padded = MLPArchitecture(own.n_inputs, tuple(self._width), self._norm, own.n_classes)
        shapes = padded.parameter_shapes()
        shapes["head.weight"] = (own.n_classes, max(self._width))
        hidden = [f"hidden.{i}.weight" for i in range(len(self._width))]
        self._places: dict[str, slice] = {}
        end = 0
        for name in (*hidden, *(name for name in shapes if name not in hidden)):
            begin, end = end, end + torch.Size(shapes[name]).numel()
            self._places[name] = slice(begin, end)
        self._shapes = shapes
        self._views: list[tuple[Tensors, Tensors]] = []
        size = (len(self.lanes), end)
        self._rows = Rows(*(like.new_zeros(size) for _ in range(4)))
        weights = self._stacked(self._rows.weights)
        self._gradient = self._stacked(self._rows.gradients)
        self._share(weights, [lane.parameters for lane in self.lanes])
        of_lanes = [lane.moments for lane in self.lanes]
        means = [own.get("mean", own.get("velocity", {})) for own in of_lanes]
        self._share(self._stacked(self._rows.mean), means)
        squares = [own.get("square", {}) for own in of_lanes]
        self._share(self._stacked(self._rows.square), squares)
        self._weight = [weights[name][:n] for name, n in zip(hidden, self._having, strict=True)]
        kind = "norm" if self._norm else "hidden"
        layers = list(enumerate(self._having))
        self._bias = [weights[f"{kind}.{i}.bias"][:n] for i, n in layers]
        self._gain = [weights[f"norm.{i}.weight"][:n] for i, n in layers if self._norm]
        self._head, self._head_bias = weights["head.weight"], weights["head.bias"]
        self._matrices = [
            Matrices(
                self._places[name],
                shapes[name],
                [max(lane.parameters[name].shape) for lane in self.lanes[:n]],
            )
            for name, n in zip(hidden, self._having, strict=True)
        ]
        self._average: Tensor | None = None
        if any(lane.average for lane in self.lanes):
            self._average = like.new_zeros(size)
            kept = [
                {name: own for name, own in lane.average.items() if name in lane.parameters}
                for lane in self.lanes
            ]
            self._share(self._stacked(self._average), kept, [lane.average for lane in self.lanes])

    def _make_buffers(self, like: Tensor) -> None:
        layers = list(enumerate(zip(self._having, self._width, strict=True)))
        kinds = ("running_mean", "running_var") if self._norm else ()

        def empty() -> Tensors:
            return {
                f"norm.{i}.{kind}": like.new_zeros(size) for i, size in layers for kind in kinds
            }

        self._buffers, self._average_buffers = empty(), empty()
        self._share(self._buffers, [lane.buffers for lane in self.lanes])
        averages = [lane.average for lane in self.lanes]
        kept = [
            {name: own for name, own in average.items() if name in self._buffers}
            for average in averages
        ]
        self._share(self._average_buffers, kept, averages)

    def _stacked(self, rows: Tensor) -> Tensors:
        """Return views ``[lanes, *shape]`` of the parts of rows, by name."""
        return {
            name: rows[:, place].unflatten(1, self._shapes[name])
            for name, place in self._places.items()
        }

    def _share(
        self,
        stacked: Mapping[str, Tensor],
        of_lanes: Sequence[Tensors],
        owners: Sequence[Tensors] | None = None,
    ) -> None:
        """Copy tensors of the lanes into stacked ones; the lanes will get views of them."""
        views: list[Tensor] = []
        values: list[Tensor] = []
        for i, own in enumerate(of_lanes):
            shared = {
                name: stacked[name][i][tuple(map(slice, value.shape))]
                for name, value in own.items()
            }
            views += shared.values()
            values += own.values()
            self._views.append((own if owners is None else owners[i], shared))
        if views:
            torch._foreach_copy_(views, values)


class _Noise:
    """A number for each lane and step, from which the dropout of all layers is made."""

    def __init__(self, lanes: Sequence[Lane], device: torch.device) -> None:
        seeds = [(lane.spec.seed + 2**31) % 2**32 - 2**31 for lane in lanes]
        self._seeds = torch.tensor(seeds, dtype=torch.int32).to(device)

    def of_step(self, steps: Tensor) -> Tensor:
        """Return ``int32 [lanes]``: it depends on a trial's seed and step alone."""
        return hashed(hashed(self._seeds) + steps.int() * GOLDEN)


class _Dropout:
    """The dropout masks of one layer; false where no rate is above 0.

    A lane's noise does not depend on the lanes beside it, nor on their widths.
    """

    def __init__(
        self, lanes: Sequence[Lane], layer: int, batch: int, width: int, like: Tensor
    ) -> None:
        rates = [dropout_rates(lane.spec.params)[layer] for lane in lanes]
        self._levels: Tensor | None = None
        if not any(rates):
            return
        levels = [round(rate * LEVELS) for rate in rates]
        self._levels = torch.tensor(levels, dtype=torch.int32)[:, None].to(like.device)
        scales = [LEVELS / (LEVELS - level) for level in levels]
        self._scale = torch.tensor(scales, dtype=like.dtype)[:, None].to(like.device)
        rows, neurons = (torch.arange(n, dtype=torch.int32) for n in (batch, width))
        place = rows[:, None, None] * _ROW + neurons + _LAYER * (layer + 1) % 2**31
        self._place = (place * GOLDEN).to(like.device)

    def __bool__(self) -> bool:
        return self._levels is not None

    def draw(self, of_step: Tensor) -> Tensor | None:
        """Return a mask ``[batch, lanes, width]`` of zeros and scales.

        Args:
            of_step: ``[all lanes]``, of :meth:`_Noise.of_step`.
        """
        if self._levels is None:
            return None
        drawn = noise(self._place ^ of_step[: len(self._levels), None])
        return (drawn >= self._levels) * self._scale


def _product(left: Tensor, right: Tensor, out: Tensor, bfloat16: bool = False) -> None:
    """Multiply matrices of all lanes, in 16 bits if asked for."""
    if bfloat16:
        out.copy_(torch.bmm(left.bfloat16(), right.bfloat16()))
    else:
        torch.bmm(left, right, out=out)
