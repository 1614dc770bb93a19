"""Users' own networks: lanes of one structure computed as one by ``torch.func``, others alone."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from cotune.engine.cohorts.base import Cohort, autocast
from cotune.engine.losses import weights_of_each
from cotune.engine.networks.common import Tensors
from cotune.engine.networks.custom.architecture import CustomArchitecture
from cotune.engine.networks.custom.lane_dropout import dropout_rates_of, with_lane_dropout
from cotune.engine.networks.custom.module import CustomModule
from cotune.engine.optim import update

if TYPE_CHECKING:
    from cotune.engine.lane import Lane

_CLOSE: Final = 1e-3
_SHOWN: Final = 160  # characters of PyTorch's error


class ModuleCohort(Cohort):
    """Lanes whose modules have the same structure, computed as one network.

    Their tensors are stacked, and a module without tensors of its own is mapped over the lanes
    (``torch.func.functional_call`` and ``vmap``). Every ``nn.Dropout`` has a rate and noise for
    each lane; other noise is drawn for all lanes at once.

    Args:
        lanes: With the same key.
        bfloat16: Train under autocast to 16 bits.
        balanced: Class weights by :func:`cotune.engine.losses.balance`; None where no lane has
            any.
    """

    def __init__(
        self, lanes: Sequence[Lane], bfloat16: bool = False, balanced: Tensor | None = None
    ) -> None:
        self.lanes = list(lanes)
        self._bfloat16 = bfloat16
        exponents = [lane.class_weight for lane in lanes]
        self._class_weights = weights_of_each(balanced, exponents, lanes[0].steps)
        self._mapped = _Mapped([_module(lane) for lane in lanes])
        self._parameters = _stack([lane.parameters for lane in lanes])
        self._buffers = _stack([lane.buffers for lane in lanes])
        # Last, so that lanes for which memory ran out keep their own tensors.
        for i, lane in enumerate(lanes):
            lane.parameters.update({n: value[i] for n, value in self._parameters.items()})
            lane.buffers.update({n: value[i] for n, value in self._buffers.items()})
        self._updated = [
            (
                list(lane.parameters.values()),
                {m: [tensors[n] for n in lane.parameters] for m, tensors in lane.moments.items()},
            )
            for lane in lanes
        ]

    def step(
        self, rows: Tensor, labels: Tensor, lr_factors: Sequence[float] | Tensor
    ) -> tuple[Tensor, Tensor]:
        leaves = {n: value.detach().requires_grad_() for n, value in self._parameters.items()}
        seeds = torch.stack([_draw(lane) for lane in self.lanes])
        on_device = seeds.to(rows.device, non_blocking=True)
        with _noise(seeds[0], rows), autocast(rows, self._bfloat16):
            logits = self._mapped(leaves, self._buffers, rows, on_device)
        logits = logits.to(_dtype_of(self.lanes[0]))
        losses = torch.stack(
            [
                _loss(lane, logits[i], labels, self._class_weights[i])
                for i, lane in enumerate(self.lanes)
            ]
        )
        slopes = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        filled = _fill_unused(slopes, leaves.values())
        for i, lane in enumerate(self.lanes):
            lane.steps.add_(1)
            weights, moments = self._updated[i]
            update(lane.rates, lr_factors[i], weights, [s[i] for s in filled], moments, lane.steps)
        return losses.detach(), (logits.argmax(2) == labels).sum(1)

    @torch.no_grad()
    def logits(self, rows: Tensor) -> Tensor:
        return self._mapped(self._parameters, self._buffers, rows).transpose(0, 1)


class SoloCohort(Cohort):
    """One lane, computed by its module as it is.

    Args:
        lanes: One, whose parameters and buffers become the module's own.
        bfloat16, balanced: As for :class:`ModuleCohort`.
    """

    def __init__(
        self, lanes: Sequence[Lane], bfloat16: bool = False, balanced: Tensor | None = None
    ) -> None:
        (lane,) = self.lanes = list(lanes)
        self._bfloat16 = bfloat16
        (self._class_weights,) = weights_of_each(balanced, [lane.class_weight], lane.steps)
        self._module = _module(lane)
        self._module.load_tensors({**lane.parameters, **lane.buffers})
        lane.parameters.update(self._module.trained())
        lane.buffers.update(self._module.buffers_of_floats())

    def step(
        self, rows: Tensor, labels: Tensor, lr_factors: Sequence[float] | Tensor
    ) -> tuple[Tensor, Tensor]:
        (lane,) = self.lanes
        self._module.train()
        with _noise(_draw(lane), rows), autocast(rows, self._bfloat16):
            logits = self._module(rows)
        logits = logits.to(_dtype_of(lane))
        loss = _loss(lane, logits, labels, self._class_weights)
        trained = [weight for weight in self._module.parameters() if weight.requires_grad]
        slopes = torch.autograd.grad(loss, trained, allow_unused=True)
        lane.steps.add_(1)
        moments = {m: list(tensors.values()) for m, tensors in lane.moments.items()}
        update(
            lane.rates,
            lr_factors[0],
            list(lane.parameters.values()),
            _fill_unused(slopes, trained),
            moments,
            lane.steps,
        )
        return loss.detach()[None], (logits.detach().argmax(1) == labels).sum()[None]

    @torch.no_grad()
    def logits(self, rows: Tensor) -> Tensor:
        self._module.eval()
        out: Tensor = self._module(rows)
        return out[:, None]


def why_alone(one: CustomArchitecture, other: CustomArchitecture, rows: Tensor) -> str:
    """Return why networks of this structure cannot be computed as one, or "".

    Args:
        one, other: Networks of one configuration from two seeds.
        rows: A few, ``[rows, features]``.
    """
    modules = [one.live, other.live]
    parameters = _stack([module.trained() for module in modules])
    buffers = _stack([module.buffers_of_floats() for module in modules])
    if not parameters:
        return "PyTorch finds no parameters in it"
    try:
        mapped = _Mapped(modules)
        leaves = {name: value.requires_grad_() for name, value in parameters.items()}
        seeds = torch.zeros(2, dtype=torch.int32)
        before = {name: value.clone() for name, value in buffers.items()}
        with _noise(seeds[0], rows):
            out = mapped(leaves, buffers, rows, seeds.to(rows.device))
        torch.autograd.grad(out.sum(), list(leaves.values()), allow_unused=True)
        with torch.no_grad():
            together = mapped(leaves, before, rows)
            apart = torch.stack([module.eval()(rows) for module in modules])
    except Exception as error:
        return f"torch.func: {' '.join(str(error).split())[:_SHOWN]}"
    scale = apart.abs().max().clamp_min(1.0)
    if not torch.allclose(together / scale, apart / scale, atol=_CLOSE):
        return "its outputs differ when PyTorch gives it other parameters"
    if one.compared.opaque:
        return f"{one.compared.opaque} cannot be compared from network to network"
    if one.compared != other.compared:
        return "two networks of the same hyperparameters are not the same"
    return ""


class _Mapped:
    """A module mapped over stacked tensors."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._skeleton = copy.deepcopy(modules[0])
        self._dropouts = with_lane_dropout(self._skeleton)
        device = next(self._skeleton.parameters()).device
        rates = [dropout_rates_of(module) for module in modules]
        self._rates = {
            f"{name}.rate": torch.tensor([own[i] for own in rates], device=device)
            for i, name in enumerate(self._dropouts)
        }

    def __call__(
        self, parameters: Tensors, buffers: Tensors, rows: Tensor, seeds: Tensor | None = None
    ) -> Tensor:
        """Return logits ``[lanes, batch, classes]``; with ``seeds [lanes]`` as in training."""
        noise = {f"{name}.seed": seeds for name in self._dropouts} if seeds is not None else {}
        rates = self._rates if seeds is not None else {}
        self._skeleton.train(seeds is not None)

        def one(parameters: Tensors, buffers: Tensors) -> Any:
            return functional_call(self._skeleton, (parameters, buffers), (rows,))

        with _mappable():
            mapped: Callable[..., Tensor] = vmap(one, randomness="different")
            return mapped(parameters, {**buffers, **rates, **noise})


@contextlib.contextmanager
def _mappable() -> Iterator[None]:
    """Replace attention and group norm by operations that ``vmap`` knows, within the block.

    Fused kernels of attention have no rule for it, so they would be called lane by lane; that of
    group norm refuses some orders in memory.
    """
    kernels = F.scaled_dot_product_attention, F.group_norm
    fast = torch.backends.mha.get_fastpath_enabled()
    F.scaled_dot_product_attention, F.group_norm = _attention, _group_norm
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        F.scaled_dot_product_attention, F.group_norm = kernels
        torch.backends.mha.set_fastpath_enabled(fast)


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize groups (Wu and He 2018, eq. 1 to 3), with the arguments of PyTorch's."""
    groups = input.reshape(len(input), num_groups, -1)
    variance, mean = torch.var_mean(groups, -1, correction=0, keepdim=True)
    normed = ((groups - mean) * (variance + eps).rsqrt()).view(input.shape)
    channels = (-1, *[1] * (input.ndim - 2))
    normed = normed if weight is None else normed * weight.view(channels)
    return normed if bias is None else normed + bias.view(channels)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(Q K^T / sqrt(d)) V (Vaswani et al. 2017, eq. 1), called as PyTorch's."""
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)
    if is_causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, float("-inf"))
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        else:
            scores = scores + attn_mask
    return F.dropout(scores.softmax(-1), dropout_p, dropout_p > 0.0) @ value


def _dtype_of(lane: Lane) -> torch.dtype:
    """Return the dtype of its weights; rows may be whole numbers, and products of 16 bits."""
    return next(iter(lane.parameters.values())).dtype


def _module(lane: Lane) -> CustomModule:
    assert isinstance(lane.architecture, CustomArchitecture)
    return lane.architecture.live


def _stack(tensors: Sequence[Tensors]) -> Tensors:
    return {name: torch.stack([own[name] for own in tensors]) for name in tensors[0]}


def _draw(lane: Lane) -> Tensor:
    """Draw the seed of a lane's noise in this step, on the CPU."""
    return torch.randint(-(2**31), 2**31, (), dtype=torch.int32, generator=lane.generator)


@contextlib.contextmanager
def _noise(seed: Tensor, rows: Tensor) -> Iterator[None]:
    """Seed PyTorch's own random numbers within the block, and restore them after it."""
    devices = [rows.device] if rows.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(seed))
        yield


def _loss(lane: Lane, logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
    smoothing = float(lane.spec.params.get("label_smoothing", 0.0))
    return F.cross_entropy(logits, labels, weight, label_smoothing=smoothing)


def _fill_unused(slopes: Sequence[Tensor | None], weights: Any) -> list[Tensor]:
    """Return gradients, with zeros for weights that the loss does not depend on."""
    return [
        torch.zeros_like(weight) if slope is None else slope.to_dense().contiguous()
        for slope, weight in zip(slopes, weights, strict=True)
    ]
