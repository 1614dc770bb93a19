"""Arguments of a run, checked before anything is done: names, counts, seeds, times, sizes."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Collection, Iterable
from typing import Final, TypeVar

from cotune.exceptions import UsageError
from cotune.metrics import METRICS
from cotune.records import COSTS
from cotune.text import parse_duration, shown

DEFAULT_TIMEOUT: Final = 300.0

EXECUTOR_NAMES: Final = ("auto", "processes", "in-process", "ray")
"""What trains: ``auto`` is this process for a GPU, else worker processes."""


T = TypeVar("T")


def named(value: str | T, names: Collection[str], what: str) -> str | T:
    """Return the value if it is one of the names or an object."""
    if not isinstance(value, str) or value in names:
        return value
    near = difflib.get_close_matches(value.lower(), list(names), n=1, cutoff=0.7)  # gpu is not cpu
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(names)}"
    raise UsageError(f"{what}: {shown(value)} is unknown; {hint}")


def positive(value: int | None, what: str) -> int | None:
    """Return the value, if it is None or a whole number above 0."""
    if value is None:
        return None
    if not _is_whole(value) or value < 1:
        raise UsageError(f"{what}: {shown(value)} is not a whole number above 0")
    return int(value)


def count(value: int, what: str) -> int:
    """Return the value, if it is a whole number from 0 to 1000."""
    if not _is_whole(value) or not 0 <= value <= 1000:
        raise UsageError(f"{what}: {shown(value)} is not a whole number from 0 to 1000")
    return int(value)


def read_seed(value: int) -> int:
    """Return the seed, if it is a whole number from 0 to 2**32 - 1."""
    if not _is_whole(value) or not 0 <= value < 2**32:
        raise UsageError(f"seed: {shown(value)} is not a whole number from 0 to {2**32 - 1}")
    return int(value)


def _is_whole(value: object) -> bool:
    """Return whether it is a whole number, NumPy's among them."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def read_timeout(timeout: str | float | None, n_trials: int | None) -> float | None:
    """Read a timeout in seconds: the default without one, no limit when trials are counted."""
    if timeout is None:
        return DEFAULT_TIMEOUT if n_trials is None else None
    return parse_duration(timeout)


def read_size(size: str | float, what: str) -> float:
    """Read a size in bytes from a number or a text such as ``500MB``; at least a megabyte."""
    units = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
    text = size.strip().upper() if isinstance(size, str) else ""
    factor = units.get(text[-2:], 1.0)
    try:
        number = float(text[:-2] if text[-2:] in units else (text or size)) * factor
    except (TypeError, ValueError):
        number = math.nan
    if not 1e6 <= number < math.inf:
        raise UsageError(f"{what}: {shown(size)} is no size of 1MB or more; give 500MB, 2GB")
    return number


def read_metrics(text: str) -> tuple[str, tuple[str, ...]]:
    """Read a metric, and the costs to minimize beside it, as in ``accuracy,parameters``."""
    if not isinstance(text, str):
        raise UsageError(f"metric: {shown(text)} is not a name")
    metric, *costs = (name.strip() for name in text.split(","))
    named(metric, METRICS, "metric")
    for name in costs:
        named(name, COSTS, "metric")
        if costs.count(name) > 1:
            raise UsageError(f"metric: {name} is there twice")
    return metric, tuple(costs)


def read_samplers(samplers: str | Iterable[str], names: Collection[str]) -> tuple[str, ...]:
    """Read the names of several samplers, or one text with commas between them.

    Args:
        names: Those there are.
    """
    given = samplers.split(",") if isinstance(samplers, str) else list(samplers)
    asked = [name.strip() if isinstance(name, str) else name for name in given]
    if not any(asked):
        raise UsageError(f"samplers: none is given; choose some of {', '.join(names)}")
    for i, name in enumerate(asked):
        if not isinstance(name, str):
            raise UsageError(f"samplers: {shown(name)} is not the name of a sampler")
        named(name, names, "samplers")
        if name in asked[:i]:
            raise UsageError(f"samplers: {name} is there twice")
    return tuple(asked)
