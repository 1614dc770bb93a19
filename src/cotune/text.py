"""Values, names, scores and durations as messages show them."""

from __future__ import annotations

import difflib
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cotune.exceptions import UsageError

_MOST_VALUE: Final = 60  # characters of a wrong value in an error message
_MOST_NAME: Final = 40  # of a name
_SECONDS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PASSWORD: Final = re.compile(r"(\w+://[^/@:]*:)[^@]*@")
_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
_BARE: Final = re.compile(_NUMBER)
_WITH_UNITS: Final = re.compile(r"\s*".join(rf"(?:({_NUMBER})\s*{unit})?" for unit in _SECONDS))


def shown(value: object) -> str:
    """Format any value for an error message: short, on one line."""
    if value is None:
        return "an empty value"
    if isinstance(value, (list, tuple, set)):
        return "a list"
    if isinstance(value, Mapping):
        return "a mapping"
    try:
        text = repr(value)
    except ValueError:  # Python writes no more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _MOST_VALUE else f"{text[: _MOST_VALUE - 3]}..."


def without_password(text: str) -> str:
    """Hide the passwords of the URLs in a text."""
    return _PASSWORD.sub(r"\1***@", text)


def shown_key(key: object) -> str:
    """Format a key for an error message, without quotes where that is safe."""
    if isinstance(key, str) and key.isprintable() and len(key) <= _MOST_VALUE:
        return key
    return shown(key)


def shown_value(value: object) -> str:
    """Format a hyperparameter's value as in YAML, floats to six figures."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def close_name(name: str, names: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """Suggest the name that was meant, or else list all names (or those ``listed``)."""
    known = list(names)
    near = difflib.get_close_matches(name.lower()[:_MOST_VALUE], known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join(known if listed is None else listed)}"


def shorten(text: str) -> str:
    """Shorten a name or value to one line of 40 characters."""
    line = "".join(c if c.isprintable() else " " for c in text[: _MOST_NAME + 1])
    return line if len(line) <= _MOST_NAME else line[: _MOST_NAME - 1] + "…"


def listed(names: Sequence[str], most: int = 8, *, whole: bool = False) -> str:
    """Join the first names, and say how many more there are.

    Args:
        most: Names shown.
        whole: Long names are not cut short.
    """
    shown = ", ".join(name if whole else shorten(name) for name in names[:most])
    rest = len(names) - most
    return shown if rest <= 0 else f"{shown} and {rest:,} more"


def counted(count: int, noun: str, ending: str = "s") -> str:
    """Return ``1 trial``, ``1,200 trials``."""
    return f"{count:,} {noun}{'' if count == 1 else ending}"


def one_line(error: Exception) -> str:
    """Return another library's error message on one line."""
    text = " ".join(str(error).split())
    return (text if len(text) <= 200 else text[:199] + "…").rstrip(".") or type(error).__name__


def shown_score(metric: str, value: float) -> str:
    """Format a score: a percentage of an accuracy, four digits of others."""
    return f"{value:.2%}" if metric == "accuracy" else f"{value:.4f}"


def shown_class(name: str) -> str:
    """Quote a class's name, cut short where it is long."""
    return repr(name if len(name) <= _MOST_NAME else name[: _MOST_NAME - 3] + "...")


def parse_duration(value: str | float, what: str = "timeout") -> float:
    """Parse a duration, ``90``, ``90s``, ``5m``, ``2h`` or ``1h30m``, in seconds.

    Raises:
        UsageError: It is none of these, or not above 0.
    """
    seconds = _seconds(value.strip().lower()) if isinstance(value, str) else _number(value)
    if seconds is None:
        raise UsageError(f"{what}: {shown(value)} is not a duration; write 90s, 5m or 2h")
    if not 0 < seconds < math.inf:
        limit = "above 0" if not seconds > 0 else "finite"
        raise UsageError(f"{what}: {shown(value)} is not {limit}; write 90s, 5m or 2h")
    return seconds


def format_duration(seconds: float) -> str:
    """Format seconds as ``0:42``, ``5:00`` or ``2:05:09``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _seconds(text: str) -> float | None:
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
