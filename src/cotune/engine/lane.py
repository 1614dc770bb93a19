"""A lane: one trial's slice of what is trained together, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from cotune.engine.augment import Augmentation
from cotune.engine.families import family_of
from cotune.engine.networks import Architecture, CustomNetwork, Tensors
from cotune.engine.networks.cnn import CNNArchitecture
from cotune.engine.optim import MOMENTS, Rates
from cotune.engine.schedules import STEADY, Plateau, factor, warm_up
from cotune.engine.whitening import whiten
from cotune.records import TrialSpec
from cotune.space.hyperparameters import KNOWN

_NOISE = 0x6E6F6973
_RECENT = 8.0  # the higher, the fewer of the latest steps an average is made of
AVERAGE_EVERY: Final = 8
"""Steps from one to the next that goes into an average."""


@dataclass(frozen=True)
class CohortKey:
    """The key that lanes must share to be trained together.

    Widths, depths, optimizers and their rates may differ; minibatches are shared.
    """

    family: str
    batch_size: int
    batch_norm: bool
    part: str
    fold: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    epoch_rows: int = 0
    structure: str = ""  # of a user's own network


@dataclass(frozen=True)
class Mark:
    """A lane before a step: what the step changes ahead of its update of the weights."""

    epoch: int
    steps: Tensor
    buffers: Tensors
    noise: Tensor


@dataclass
class Lane:
    """Training state of one trial.

    Attributes:
        spec: The trial.
        key: What it shares with the lanes it can be trained with.
        architecture: The network without its weights.
        rates: Optimizer and its hyperparameters.
        parameters: By name; while the lane is in a cohort, views of the cohort's tensors.
        buffers: Batch-norm statistics, likewise.
        moments: Optimizer state: for each moment, a tensor for each parameter.
        steps: Optimizer steps so far, a scalar tensor.
        generator: For its dropout, so that its noise does not depend on its neighbours.
        epoch: Epochs behind it.
        best_score, best: The best score so far, and parameters and buffers that had it; the
            memory for them is there from the start, so that it cannot run out later.
        average: Of parameters and buffers over the latest steps; empty unless the trial asks for
            it.
        averaged: States that went into it.
        alone: Why it cannot be trained together with others, or "".
        plateau: Where its rate stands, if the loss decides that.
        horizon: Epochs by which its schedule goes; None: the trial's.
    """

    spec: TrialSpec
    key: CohortKey
    architecture: Architecture
    rates: Rates
    parameters: Tensors
    buffers: Tensors
    moments: dict[str, Tensors]
    steps: Tensor
    generator: torch.Generator
    epoch: int = 0
    best_score: float | None = None
    best: Tensors = field(default_factory=dict)
    average: Tensors = field(default_factory=dict)
    averaged: int = 0
    alone: str = ""
    plateau: Plateau = field(default_factory=Plateau)
    horizon: int | None = None

    @property
    def class_weight(self) -> float:
        """How far rare classes weigh more, 0-1; see :func:`cotune.engine.losses.class_weights`."""
        return float(self.spec.params.get("class_weight", 0.0))

    def lr_factor(self, step: int, n_steps: int) -> float:
        """Return the factor of the learning rate, 0-1.

        Args:
            step: Of the whole training, from 0.
            n_steps: Of an epoch.
        """
        params = self.spec.params
        schedule = str(params.get("schedule", "constant"))
        return (
            factor(schedule, step, (self.horizon or self.spec.epochs) * n_steps)
            * warm_up(step, float(params.get("warmup", 0.0)) * n_steps)
            * self.plateau.factor
        )

    @property
    def keeps_rate(self) -> bool:
        """Whether the rate's factor is the same in all steps of an epoch."""
        params = self.spec.params
        return not params.get("warmup") and params.get("schedule", "constant") in STEADY

    def watch(self, loss: float) -> None:
        """Lower the rate after an epoch if the loss has stalled and the trial wants that.

        Args:
            loss: On the validation part, or of the training where nothing is validated.
        """
        params = self.spec.params
        if params.get("schedule") == "plateau":
            shrink = float(params.get("plateau_factor", KNOWN["plateau_factor"].default))
            patience = int(params.get("plateau_patience", KNOWN["plateau_patience"].default))
            self.plateau = self.plateau.after(loss, shrink, patience)

    def next_share(self) -> float:
        """Count one more state of the average, and return its share.

        Polynomial decay (Shamir and Zhang 2013, eq. 2): the average is of about the last ninth of
        all steps so far, so it needs no horizon.
        """
        self.averaged += 1
        return (_RECENT + 1.0) / (self.averaged + _RECENT)

    def accumulate(self) -> None:
        """Take the weights of now into the average."""
        torch._foreach_lerp_(list(self.average.values()), _tensors(self), self.next_share())

    def is_finite(self) -> Tensor:
        """Return whether no weight or statistic is NaN or infinite, a scalar on the device."""
        return torch.stack([value.isfinite().all() for value in _tensors(self)]).all()

    def state_dict(self, best: bool = False) -> Tensors:
        """Copy parameters and buffers to the CPU, named as in the lane's module.

        Args:
            best: Those that had the best score so far; those of now, or their average, where
                there was no score.
        """
        scored = best and self.best_score is not None
        now = self.average if self.averaged else {**self.parameters, **self.buffers}
        tensors = self.best if scored else now
        return {name: value.detach().cpu().clone() for name, value in tensors.items()}

    def keep_best(self, score: float) -> None:
        """Copy the weights of now, or their average, if none before had so high a score."""
        if self.best_score is not None and score <= self.best_score:
            return
        self.best_score = score
        now = list(self.average.values()) if self.averaged else _tensors(self)
        torch._foreach_copy_(list(self.best.values()), now)

    def mark(self) -> Mark:
        """Return the lane's state for :meth:`undo`."""
        buffers = {name: value.clone() for name, value in self.buffers.items()}
        return Mark(self.epoch, self.steps.clone(), buffers, self.generator.get_state())

    def undo(self, mark: Mark) -> bool:
        """Take back a step that broke off; False if weights were updated since the mark."""
        if not torch.equal(self.steps, mark.steps):
            return False
        self.buffers.update(mark.buffers)
        self.generator.set_state(mark.noise)
        return True

    def leave(self) -> None:
        """Copy what is shared with a cohort, which takes up memory as long as one lane views it."""
        for tensors in (self.parameters, self.buffers, self.average, *self.moments.values()):
            for name, value in tensors.items():
                if value.untyped_storage().nbytes() > value.nbytes:
                    tensors[name] = value.clone()


def key_of(spec: TrialSpec, structure: str = "") -> CohortKey:
    """Return the key that trials must share to be trained together.

    Args:
        structure: Of the network, where that takes one to know.
    """
    params = spec.params
    return CohortKey(
        str(params.get("model", KNOWN["model"].default)),
        int(params["batch_size"]),
        bool(params.get("batch_norm", False)),
        spec.part,
        spec.fold,
        Augmentation.from_params(params),
        int(params.get("epoch_rows", 0)),
        structure,
    )


def start(
    spec: TrialSpec,
    input_shape: tuple[int, ...],
    n_classes: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    custom: CustomNetwork | None = None,
    rows: Tensor | None = None,
) -> Lane:
    """Return a fresh lane; its weights depend on the trial's seed and architecture alone.

    Args:
        custom: Maker of the networks where they are the user's own.
        rows: ``[some, features]`` on the device, for trials whose first filters depend on them too.

    Raises:
        Exception: Any error of the user's code.
    """
    family = family_of(spec.params, custom)
    architecture = family.architecture(spec.params, input_shape, n_classes, spec.seed)
    parameters, buffers = architecture.start(spec.seed, device, dtype)
    if rows is not None and isinstance(architecture, CNNArchitecture):
        whiten(parameters["conv.0.weight"], architecture.images_of(rows))
    validated = {**parameters, **buffers} if spec.part == "train" else {}
    averaged = {**parameters, **buffers} if spec.averaged else {}
    rates = Rates.from_params(spec.params)
    noise_on = "cpu" if family.runs_user_code else device
    return Lane(
        spec=spec,
        key=key_of(spec, architecture.structure),
        architecture=architecture,
        rates=rates,
        parameters=parameters,
        buffers=buffers,
        moments={
            moment: {name: torch.zeros_like(value) for name, value in parameters.items()}
            for moment in MOMENTS[rates.optimizer]
        },
        steps=torch.zeros((), device=device),
        # Another seed than the weights', or the dropout would be made of their random numbers.
        generator=torch.Generator(noise_on).manual_seed(spec.seed ^ _NOISE),
        best={name: torch.empty_like(value) for name, value in validated.items()},
        average={name: value.clone() for name, value in averaged.items()},
        horizon=spec.horizon,
    )


@contextmanager
def averages(lanes: Sequence[Lane]) -> Iterator[None]:
    """Put the averages of the lanes' weights in their place, where there are any."""
    averaged = [lane for lane in lanes if lane.averaged]
    own = [torch._foreach_clone(_tensors(lane)) for lane in averaged]
    for lane in averaged:
        torch._foreach_copy_(_tensors(lane), list(lane.average.values()))
    try:
        yield
    finally:
        for lane, tensors in zip(averaged, own, strict=True):
            torch._foreach_copy_(_tensors(lane), tensors)


def _tensors(lane: Lane) -> list[Tensor]:
    return [*lane.parameters.values(), *lane.buffers.values()]
