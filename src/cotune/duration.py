"""Durations as people write them."""

from __future__ import annotations

import math
import numbers
import re

from cotune.exceptions import UsageError
from cotune.hyperparameters import shown

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_BARE = re.compile(_NUMBER)
_WITH_UNITS = re.compile(r"\s*".join(rf"(?:({_NUMBER})\s*{unit})?" for unit in _SECONDS))


def parse_duration(value: str | float, what: str = "timeout") -> float:
    """Seconds of ``90``, ``90s``, ``5m``, ``2h`` or ``1h30m``.

    Raises:
        UsageError: It is none of these, or not above 0.
    """
    seconds = _read(value.strip().lower()) if isinstance(value, str) else _number(value)
    if seconds is None:
        raise UsageError(f"{what}: {shown(value)} is not a duration; write 90s, 5m or 2h")
    if not 0 < seconds < math.inf:
        limit = "above 0" if not seconds > 0 else "finite"
        raise UsageError(f"{what}: {shown(value)} is not {limit}; write 90s, 5m or 2h")
    return seconds


def format_duration(seconds: float) -> str:
    """``0:42``, ``5:00`` or ``2:05:09``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _read(text: str) -> float | None:
    if _BARE.fullmatch(text):
        return float(text)
    match = _WITH_UNITS.fullmatch(text)
    if not match or not text:
        return None
    units = zip(match.groups(), _SECONDS.values(), strict=True)
    return sum(float(number) * unit for number, unit in units if number is not None)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
