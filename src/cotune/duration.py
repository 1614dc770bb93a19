"""Durations as people write them."""

from __future__ import annotations

import math
import re

from cotune.exceptions import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)\s*")


def parse_duration(value: str | float) -> float:
    """Seconds of ``90``, ``90s``, ``5m``, ``2h`` or ``1h30m``.

    Raises:
        UsageError: It is none of these, or not above 0.
    """
    if isinstance(value, str):
        parts = _PATTERN.findall(value.lower())
        whole = "".join(match.group() for match in _PATTERN.finditer(value.lower()))
        if not parts or whole != value.lower().lstrip():
            raise UsageError(f"timeout: {value!r} is not a duration; write 90s, 5m or 2h")
        seconds = sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)
    else:
        seconds = float(value)
    if not 0 < seconds < math.inf:
        raise UsageError(f"timeout: {value!r} is not above 0; write 90s, 5m or 2h")
    return seconds


def format_duration(seconds: float) -> str:
    """``0:42``, ``5:00`` or ``2:05:09``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
