"""Numbers as a reader wants to see them."""

from __future__ import annotations

import math
from typing import Any


def percent(share: Any, digits: int = 2) -> str:
    """Format a share: ``0.97238`` -> ``97.24 %``."""
    return f"{100 * float(share):.{digits}f} %"


def interval(shares: Any) -> str:
    """Format an interval: ``(0.952, 0.979)`` -> ``95.20–97.90 %``."""
    low, high = shares
    return f"{100 * float(low):.2f}–{100 * float(high):.2f} %"


def duration(seconds: Any) -> str:
    """Format seconds: ``3723.4`` -> ``1 h 02 min``; below a minute with tenths."""
    seconds = float(seconds)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def value(item: Any) -> str:
    """Format a hyperparameter's or setting's value, numbers to four significant digits."""
    if item is None:
        return "none"
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, str):
        if item in ("True", "False"):
            return item.lower()
        try:
            number = float(item)
        except ValueError:
            return item
        return item if item.lstrip("+-").isdigit() else value(number)
    if isinstance(item, float):
        if not math.isfinite(item):
            return str(item)
        return f"{item:.4g}"
    if isinstance(item, (list, tuple)):
        return " × ".join(value(part) for part in item)
    return str(item)
