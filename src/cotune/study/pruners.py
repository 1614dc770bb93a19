"""Pruners by name: Cotune's own, which judge a whole rung at once, and Optuna's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner

from cotune.study.halving import Halving
from cotune.study.rung_pruner import RungPruner

PrunerLike = str | BasePruner
"""A name in :data:`PRUNERS`, or an Optuna pruner."""

MakePruner = Callable[[bool], RungPruner | BasePruner]
"""Makes a pruner, given whether larger values are better."""

PRUNERS: Final[dict[str, MakePruner]] = {
    "asha": lambda maximize: Halving(maximize),
    "top-k": lambda maximize: Halving(maximize, reduction=10, rung=3),
    "median": lambda maximize: MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    "hyperband": lambda maximize: HyperbandPruner(
        min_resource=1, max_resource=50, reduction_factor=3
    ),
    "none": lambda maximize: NopPruner(),
}
"""The pruners there are; a further one is a line here."""


def make_pruner(pruner: PrunerLike, maximize: bool) -> tuple[RungPruner | None, BasePruner]:
    """Make a pruner.

    Returns:
        The one that judges rungs, where it is one; and the one for Optuna's study.
    """
    if not isinstance(pruner, str):
        return None, pruner
    if pruner not in PRUNERS:
        raise ValueError(f"pruner: {pruner!r} is not one of {', '.join(PRUNERS)}")
    made = PRUNERS[pruner](maximize)
    return (made, NopPruner()) if isinstance(made, RungPruner) else (None, made)
