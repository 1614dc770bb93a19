"""Dates and times as people write them, as seconds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

ORDERS: Final = ("year-first", "day-first", "month-first")

_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905
_NAME: Final = r"(?P<name>jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]{0,6}\.?"
_CLOCK: Final = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d(?:[.,]\d{1,9})?))?"
_TIME: Final = re.compile(rf"{_CLOCK}\s*(?P<half>[ap]\.?m\.?)?", re.I | re.A)
_DATE: Final = re.compile(
    rf"""(?:
      (?P<y1>\d{{4}})(?P<s1>[-/.])(?P<m1>\d{{1,2}})(?:(?P=s1)(?P<d1>\d{{1,2}}))?
    | (?P<a>\d{{1,2}})(?P<s2>[-/.])(?P<b>\d{{1,2}})(?P=s2)(?P<y2>\d{{4}}|\d\d)
    | (?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?(?:
        (?P<d3>\d{{1,2}})(?:st|nd|rd|th)?[-\s./]*{_NAME}[-\s./,]*(?P<y3>\d{{4}}|\d\d)
      | {_NAME.replace("name", "name4")}[-\s./]*(?P<d4>\d{{1,2}})(?:st|nd|rd|th)?[-\s./,]+
        (?P<y4>\d{{4}}|\d\d)
      )
    )
    (?:(?:\s*,?\s+|T){_CLOCK}\s*(?P<half>[ap]\.?m\.?)?\s*(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)?)?""",
    re.I | re.A | re.X,
)
_CENTURY: Final = 69  # two digits from here on are of the 20th century, as in POSIX


def find_date_order(texts: Sequence[str]) -> str | None:
    """Return the order of a column's dates: one of :data:`ORDERS`, or ``either``.

    ``either`` is an order of day and month that no text decides: all are from 1 to 12. Between
    points the day comes first.

    Returns:
        None where less than all texts are dates, or where they are of both orders.
    """
    order = "year-first"
    first = second = 0
    pointed = True
    for text in texts:
        match = _DATE.fullmatch(text)
        if match is None:
            return None
        if match["a"]:
            order = "either"
            first, second = max(first, int(match["a"])), max(second, int(match["b"]))
            pointed = pointed and match["s2"] == "."
    if order == "year-first":
        return order
    if first > 12:
        return None if second > 12 else "day-first"
    if second > 12:
        return "month-first"
    return "day-first" if pointed else order


def are_times(texts: Sequence[str]) -> bool:
    """Tell whether all texts are times of a day or durations: 12:30, 1:02:03, 3:15 PM."""
    return all(_TIME.fullmatch(text) for text in texts)


def parse_dates(texts: Sequence[str], order: str) -> NDArray[np.float64]:
    """Return seconds since 1970, UTC where no zone is written; NaN for what is no date.

    Args:
        order: One of :data:`ORDERS`, for texts that leave it open.
    """
    return np.array([_seconds(text, order) for text in texts], float)


def parse_times(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return seconds since midnight, NaN for what is no time."""
    matches = [_TIME.fullmatch(text) for text in texts]
    return np.array([math.nan if match is None else _of_clock(match) for match in matches], float)


def _seconds(text: str, order: str) -> float:
    match = _DATE.fullmatch(text)
    if match is None:
        return math.nan
    if match["y1"]:
        year, month, day = match["y1"], int(match["m1"]), int(match["d1"] or 1)
    elif match["a"]:
        first, second, year = int(match["a"]), int(match["b"]), match["y2"]
        day, month = (second, first) if order == "month-first" else (first, second)
    else:
        name = (match["name"] or match["name4"]).lower()[:3]
        year, month = match["y3"] or match["y4"], _MONTHS.index(name) + 1
        day = int(match["d3"] or match["d4"])
    number = int(year)
    if len(year) == 2:
        number += 1900 if number >= _CENTURY else 2000
    try:
        days = np.datetime64(f"{number:04}-{month:02}-{day:02}", "D").astype(int)
    except ValueError:  # a 30th of February
        return math.nan
    seconds = 86_400.0 * float(days)
    if match["hour"]:
        seconds += _of_clock(match)
    zone = (match["zone"] or "").replace(":", "")
    if zone[:1] in ("+", "-"):
        seconds -= (-1 if zone[0] == "-" else 1) * (3600 * int(zone[1:3]) + 60 * int(zone[3:5]))
    return seconds


def _of_clock(match: re.Match[str]) -> float:
    hour, half = int(match["hour"]), (match["half"] or "").lower()[:1]
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    second = float((match["second"] or "0").replace(",", "."))
    return 3600.0 * hour + 60.0 * int(match["minute"]) + second
