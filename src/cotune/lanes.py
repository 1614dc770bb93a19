"""A cohort: the lanes that are trained together, as stacked tensors.

All tensors are plain data: a cohort is updated by functions, split by :func:`select`, joined by
:func:`merge`, and one lane leaves it by :func:`export`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cotune.models.mlp import (
    MLPShape,
    Tensors,
    dropout_rates,
    init_buffers,
    init_parameters,
)
from cotune.optim import MOMENTS
from cotune.results import TrialSpec, Value

_RATES = ("lr", "weight_decay", "momentum")
_NOISE = 0x6E6F6973


@dataclass(frozen=True)
class CohortKey:
    """What lanes must have in common to be trained together."""

    shape: MLPShape
    optimizer: str
    batch_size: int
    part: str


@dataclass
class Cohort:
    """Stacked training state.

    Attributes:
        key: What the lanes have in common.
        specs: One a lane.
        epoch: Epochs that the lanes have behind them.
        weights: All parameters in one buffer: for each parameter a block ``[lanes, size]``.
        gradient: Same layout.
        moments: Optimizer state, same layout each.
        buffers: Batch-norm statistics, ``[lanes, width]`` each.
        rates: ``lr``, ``weight_decay``, ``momentum``, ``[lanes]`` each.
        dropout: For each hidden layer, ``[lanes]``.
        steps: Optimizer steps of each lane, ``[lanes]``.
        generators: One a lane, for its dropout.
    """

    key: CohortKey
    specs: tuple[TrialSpec, ...]
    epoch: int
    weights: Tensor
    gradient: Tensor
    moments: Tensors
    buffers: Tensors
    rates: Tensors
    dropout: list[Tensor]
    steps: Tensor
    generators: list[torch.Generator]

    def __len__(self) -> int:
        return len(self.specs)

    def views(self, flat: Tensor) -> Tensors:
        """Each parameter's ``[lanes, *shape]`` in a buffer of the layout of ``weights``."""
        views: Tensors = {}
        start, lanes = 0, len(self)
        for name, shape in self.key.shape.parameter_shapes().items():
            end = start + lanes * torch.Size(shape).numel()
            views[name] = flat[start:end].view(lanes, *shape)
            start = end
        return views

    def blocks(self, flat: Tensor) -> list[Tensor]:
        """The buffer in as few ``[lanes, n]`` pieces as possible: one lane makes one piece."""
        if len(self) == 1:
            return [flat[None]]
        return [view.flatten(1) for view in self.views(flat).values()]


def key_of(spec: TrialSpec, n_inputs: int, n_classes: int) -> CohortKey:
    """What another trial must share to be trained together with this one."""
    return CohortKey(
        MLPShape.from_params(spec.params, n_inputs, n_classes),
        str(spec.params["optimizer"]),
        int(spec.params["batch_size"]),
        spec.part,
    )


def start(
    spec: TrialSpec, key: CohortKey, device: torch.device, dtype: torch.dtype = torch.float32
) -> Cohort:
    """A fresh lane; its weights depend on the trial's seed alone."""

    def lane(rate: Value) -> Tensor:
        return torch.tensor([float(rate)], device=device, dtype=dtype)

    generator = torch.Generator().manual_seed(spec.seed)
    weights = torch.cat(
        [value.flatten() for value in init_parameters(key.shape, generator).values()]
    ).to(device, dtype)
    # Another seed than the weights', or the dropout would be made of their random numbers.
    noise = torch.Generator(device).manual_seed(spec.seed ^ _NOISE)
    return Cohort(
        key=key,
        specs=(spec,),
        epoch=0,
        weights=weights,
        gradient=torch.zeros_like(weights),
        moments={name: torch.zeros_like(weights) for name in MOMENTS[key.optimizer]},
        buffers={
            name: value[None].to(device, dtype) for name, value in init_buffers(key.shape).items()
        },
        rates={name: lane(spec.params.get(name, 0.0)) for name in _RATES},
        dropout=[lane(rate) for rate in dropout_rates(spec.params)],
        steps=torch.zeros(1, device=device),
        generators=[noise],
    )


def select(cohort: Cohort, lanes: Sequence[int]) -> Cohort:
    """The lanes at these positions, copied to a cohort of their own."""
    index = torch.tensor(list(lanes), device=cohort.weights.device)

    def flat(buffer: Tensor) -> Tensor:
        return torch.cat([view[index].flatten() for view in cohort.views(buffer).values()])

    return Cohort(
        key=cohort.key,
        specs=tuple(cohort.specs[i] for i in lanes),
        epoch=cohort.epoch,
        weights=flat(cohort.weights),
        gradient=flat(cohort.gradient),
        moments={name: flat(buffer) for name, buffer in cohort.moments.items()},
        buffers={name: value[index] for name, value in cohort.buffers.items()},
        rates={name: value[index] for name, value in cohort.rates.items()},
        dropout=[value[index] for value in cohort.dropout],
        steps=cohort.steps[index],
        generators=[cohort.generators[i].clone_state() for i in lanes],
    )


def merge(cohorts: Sequence[Cohort]) -> Cohort:
    """One cohort of all lanes of cohorts that share key and epoch."""
    first = cohorts[0]
    if len(cohorts) == 1:
        return first
    if any((other.key, other.epoch) != (first.key, first.epoch) for other in cohorts):
        raise ValueError("only lanes of the same shape and epoch can be merged")

    def flat(buffers: Sequence[Tensor]) -> Tensor:
        views = [cohort.views(buffer) for cohort, buffer in zip(cohorts, buffers, strict=True)]
        return torch.cat([torch.cat([view[name] for view in views]).flatten() for name in views[0]])

    return Cohort(
        key=first.key,
        specs=tuple(spec for cohort in cohorts for spec in cohort.specs),
        epoch=first.epoch,
        weights=flat([cohort.weights for cohort in cohorts]),
        gradient=flat([cohort.gradient for cohort in cohorts]),
        moments={
            name: flat([cohort.moments[name] for cohort in cohorts]) for name in first.moments
        },
        buffers={
            name: torch.cat([cohort.buffers[name] for cohort in cohorts]) for name in first.buffers
        },
        rates={name: torch.cat([cohort.rates[name] for cohort in cohorts]) for name in first.rates},
        dropout=[
            torch.cat([cohort.dropout[i] for cohort in cohorts]) for i in range(len(first.dropout))
        ],
        steps=torch.cat([cohort.steps for cohort in cohorts]),
        generators=[generator for cohort in cohorts for generator in cohort.generators],
    )


def export(cohort: Cohort, lane: int) -> Tensors:
    """One lane's parameters and buffers on the CPU: the ``state_dict`` of its module twin."""
    tensors = {**cohort.views(cohort.weights), **cohort.buffers}
    return {name: value[lane].detach().cpu().clone() for name, value in tensors.items()}
