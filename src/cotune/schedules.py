"""Learning-rate schedules: what a step's rate is multiplied by."""

from __future__ import annotations

import math
from typing import Final

SCHEDULES: Final = ("constant", "cooldown", "cosine", "one-cycle")

_WARM_UP: Final = 0.3
_START: Final = 1 / 25
_COOLDOWN: Final = 0.2


def factor(schedule: str, step: int, total: int) -> float:
    """The factor, 0-1, for one optimizer step.

    ``cooldown`` is 1 but for the last fifth of the steps, in which it falls to 0 by one minus the
    square root of their share (Hägele et al. 2024). ``cosine`` falls from 1 to 0 along half a
    cosine (Loshchilov and Hutter 2017, without restarts). ``one-cycle`` rises along a cosine from
    1/25 to 1 in the first three tenths of the steps, then falls to 0 (Smith and Topin 2019;
    momentum stays as it is).

    Args:
        schedule: One of :data:`SCHEDULES`.
        step: From 0.
        total: Steps of the whole training.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cooldown":
        share = (step / total - (1.0 - _COOLDOWN)) / _COOLDOWN
        return 1.0 - math.sqrt(min(1.0, max(0.0, share)))
    if schedule == "cosine":
        return _fall(step / total)
    rise = _WARM_UP * total
    if step < rise:
        return _START + (1.0 - _START) * (1.0 - _fall(step / rise))
    return _fall((step - rise) / max(1.0, total - rise))


def _fall(share: float) -> float:
    """From 1 at 0 to 0 at 1 along half a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, share)))
