"""Optuna samplers by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Final

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

SamplerLike = str | BaseSampler
"""A name in :data:`SAMPLERS`, or an Optuna sampler."""

MakeSampler = Callable[[int, int], BaseSampler]
"""Makes the sampler that draws one trial, given the run's seed and the trial's own."""


def _qmc(seed: int, own: int) -> BaseSampler:
    # The place in the sequence is in the study; its scrambling is the run's.
    return QMCSampler(
        seed=seed,
        scramble=True,
        independent_sampler=RandomSampler(seed=own),
        warn_independent_sampling=False,
    )


SAMPLERS: Final[dict[str, MakeSampler]] = {
    "tpe": lambda seed, own: TPESampler(seed=own),
    "random": lambda seed, own: RandomSampler(seed=own),
    "grid": lambda seed, own: BruteForceSampler(seed=own),
    "qmc": _qmc,
    "gp": lambda seed, own: GPSampler(seed=own),
}
"""The samplers there are; a further one is a line here."""


def make_sampler(name: str, seed: int, number: int) -> BaseSampler:
    """Make a sampler by its name in :data:`SAMPLERS`, to draw one trial.

    Args:
        seed: The run's.
        number: The trial's. A sampler for each makes a run that is killed and resumed draw what it
            would have drawn.
    """
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if name not in SAMPLERS:
        raise ValueError(f"sampler: {name!r} is not one of {', '.join(SAMPLERS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[name](seed, own)
