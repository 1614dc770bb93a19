"""Learning-rate schedules: what a step's rate is multiplied by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

SCHEDULES: Final = ("constant", "cooldown", "cosine", "linear", "one-cycle", "plateau")
STEADY: Final = ("constant", "plateau")
"""Schedules whose factor does not change within an epoch."""

_WARM_UP: Final = 0.3
_START: Final = 1 / 25
_COOLDOWN: Final = 0.2
_RISE: Final = 0.2
_GAIN: Final = 1e-4  # a loss is lower if it is by this share at least


def factor(schedule: str, step: int, total: int) -> float:
    """Return the factor, 0-1, for one optimizer step.

    ``cooldown`` is 1 but for the last fifth of the steps, in which it falls to 0 by one minus the
    square root of their share (Hägele et al. 2024). ``linear`` rises along a line in
    the first fifth of the steps, then falls along one to 0. ``cosine`` falls from 1 to 0 along half
    a cosine (Loshchilov and Hutter 2017, without restarts). ``one-cycle`` rises along a cosine from
    1/25 to 1 in the first three tenths of the steps, then falls to 0 (Smith and Topin 2019;
    momentum stays as it is). ``plateau`` is 1: what it comes to depends on the losses, see
    :class:`Plateau`.

    Args:
        schedule: One of :data:`SCHEDULES`.
        step: From 0.
        total: Steps of the whole training.
    """
    if schedule in STEADY:
        return 1.0
    if schedule == "cooldown":
        share = (step / total - (1.0 - _COOLDOWN)) / _COOLDOWN
        return 1.0 - math.sqrt(min(1.0, max(0.0, share)))
    if schedule == "cosine":
        return _fall(step / total)
    if schedule == "linear":
        rise, fall = (step + 1) / (_RISE * total), (1.0 - step / total) / (1.0 - _RISE)
        return min(rise, max(0.0, fall), 1.0)
    rise = _WARM_UP * total
    if step < rise:
        return _START + (1.0 - _START) * (1.0 - _fall(step / rise))
    return _fall((step - rise) / max(1.0, total - rise))


def warm_up(step: int, steps: float) -> float:
    """Return the warm-up factor of a step: it rises linearly to 1 over the first ``steps``.

    Args:
        step: From 0.
    """
    return min(1.0, (step + 1) / steps) if steps > 0.0 else 1.0


@dataclass(frozen=True)
class Plateau:
    """A rate that falls where the loss stalls, as ``torch.optim.lr_scheduler.ReduceLROnPlateau``.

    Attributes:
        factor: What the rate is multiplied by now.
        best: The lowest loss so far; None before the first.
        stalled: Epochs since then, or since the rate last fell.
    """

    factor: float = 1.0
    best: float | None = None
    stalled: int = 0

    def after(self, loss: float, shrink: float, patience: int) -> Plateau:
        """Return the state after an epoch with this loss.

        Args:
            shrink: What the rate is multiplied by when it falls.
            patience: So many stalled epochs are let pass before it does.
        """
        if self.best is None or loss < self.best * (1.0 - _GAIN):
            return Plateau(self.factor, loss)
        if self.stalled < patience:
            return Plateau(self.factor, self.best, self.stalled + 1)
        return Plateau(self.factor * shrink, self.best)


def _fall(share: float) -> float:
    """Fall from 1 at 0 to 0 at 1 along half a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
