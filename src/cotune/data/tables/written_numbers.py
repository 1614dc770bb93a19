"""Numbers as people write them: with thousands apart, a decimal comma, a currency, a unit."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

_SPACES: Final = " \u00a0\u2009\u202f\u2007"
_WRITTEN: Final = re.compile(
    rf"""(?P<minus>[-+−–]?)\s*(?P<open>\(?)\s*(?P<prefix>(?:[^\d\s.,()+−–'-]{{1,4}}\.?)?)\s*
    (?P<minus2>[-+−–]?)\s*(?P<core>\d[\d.,'’_{_SPACES}]*\d|\d|[.,]\d+)(?P<exponent>[eE][+-]?\d+)?
    \s*(?P<suffix>[^\d\s.,()'’_-][^\d()]{{0,14}})?(?P<close>\)?)""",
    re.X,
)
_NOTHING: Final = re.compile(r"\s*([^\d\s.,()+−–'-]{1,4})\s*[-–—]\s*")  # 0 in an account's format
_POWERS: Final = {
    **dict.fromkeys(("k", "K", "tsd"), 1e3),
    **dict.fromkeys(("M", "mn", "mio", "mln", "million"), 1e6),
    **dict.fromkeys(("B", "bn", "mrd", "billion"), 1e9),
}
_BYTES: Final = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}
_CURRENCIES: Final = frozenset(
    (
        *("usd", "eur", "gbp", "jpy", "cny", "rmb", "inr", "chf", "sek", "nok", "dkk", "isk"),
        *("pln", "czk", "huf", "ron", "brl", "mxn", "aud", "cad", "nzd", "hkd", "sgd", "krw"),
        *("twd", "try", "zar", "rub", "uah", "ils", "aed", "thb", "idr", "myr", "php", "vnd"),
        *("egp", "rs", "rs.", "kr", "kr.", "zł", "kč", "fr", "fr."),
        *("r$", "a$", "c$", "us$", "hk$", "nz$", "s$"),
    )
)
_GROUPS: Final = r"[1-9]\d{0,2}(?:(?:M\d{3})+|(?:M\d{2})*M\d{3})"  # also of two digits, as in India
_THOUSANDS: Final = (",", ".", " ", "'", "_")


@dataclass(frozen=True)
class NumberForm:
    """A way of writing numbers that all cells of a column share.

    Attributes:
        thousands: The mark between groups of digits, "" for none; a blank stands for every kind
            of space.
        decimal: The decimal mark, "." or ",".
        unit: A currency, ``%`` or a unit that numbers may have; "" for none.
    """

    thousands: str = ""
    decimal: str = "."
    unit: str = ""

    def parse(self, text: str) -> float:
        """Return the number that a text is in this form, NaN where it is none."""
        parts = _split(text)
        if parts is None or parts.unit not in ("", self.unit):
            return math.nan
        core = parts.core
        if self.thousands and self.thousands in core:
            whole, mark, rest = core.partition(self.decimal)
            groups = _GROUPS.replace("M", re.escape(self.thousands))
            if not re.fullmatch(groups, whole, re.A):
                return math.nan
            core = whole.replace(self.thousands, "") + mark + rest
        if self.decimal == ",":
            if "." in core:
                return math.nan
            core = core.replace(",", ".")
        try:
            return parts.factor * float(core + parts.exponent)
        except ValueError:
            return math.nan

    def __str__(self) -> str:
        return f"number|{self.thousands}|{self.decimal}|{self.unit}"

    @classmethod
    def read(cls, form: str) -> Self:
        """Return the form that was written by ``str``.

        Raises:
            ValueError: It is none.
        """
        kind, thousands, decimal, unit = form.split("|", 3)
        if kind != "number" or thousands not in ("", *_THOUSANDS) or decimal not in (".", ","):
            raise ValueError(form)
        return cls(thousands, decimal, unit)

    @property
    def is_certain(self) -> bool:
        """Tell whether what it reads can hardly be anything but numbers: no unit of letters."""
        return not self.unit or is_plain(self.unit)


@dataclass(frozen=True)
class _Parts:
    core: str  # digits and marks, spaces all alike
    factor: float  # of sign and of k, M, bn
    unit: str
    exponent: str


def find_number_form(
    texts: Sequence[str], counts: NDArray[np.int64], decimal_comma: bool = False
) -> tuple[NumberForm | None, set[str]]:
    """Return the form of a column's numbers, and the units that they have.

    Thousands and decimals are decided by all texts: 1,234,567 or 1,234.5 has a comma between
    thousands, 12,5 one before decimals. 20,100 alone may be either; it is then read as thousands.

    Args:
        texts: The distinct texts of the column.
        counts: ``[texts]``: the cells that hold each.
        decimal_comma: Whether a comma that may be either is before decimals.

    Returns:
        None where no text is a number, or where their marks contradict each other. The form's
        unit is the commonest of the units.
    """
    units: Counter[str] = Counter()
    found = []
    for text, count in zip(texts, counts.tolist(), strict=True):
        parts = _split(text)
        if parts is not None:
            found.append(parts)
            if parts.unit:
                units[parts.unit] += count
    if not found:
        return None, set()
    unit = units.most_common(1)[0][0] if units else ""
    if unit and not is_plain(unit) and unit != "byte" and any(_has_power(one) for one in found):
        return None, set(units)  # seats 12A, 12B are no billions
    marks = _marks([part.core for part in found], decimal_comma, _is_currency(unit))
    return (None if marks is None else NumberForm(*marks, unit)), set(units)


def is_plain(unit: str) -> bool:
    """Tell whether a unit is ``%`` or a currency."""
    return unit == "%" or _is_currency(unit)


def _has_power(parts: _Parts) -> bool:
    return abs(parts.factor) > 1


def _split(text: str) -> _Parts | None:
    nothing = _NOTHING.fullmatch(text)
    if nothing and _is_currency(nothing[1]):
        return _Parts("0", 1.0, _unit(nothing[1]), "")
    match = _WRITTEN.fullmatch(text.strip())
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    sign = -1.0 if match["open"] or {match["minus"], match["minus2"]} & set("-−–") else 1.0
    if match["minus"] and match["minus2"]:
        return None
    prefix, suffix = match["prefix"], (match["suffix"] or "").strip()
    if prefix and not _is_currency(prefix):
        return None
    factor, suffix = _factor(suffix)
    if prefix and suffix and suffix.lower() != prefix.lower():
        if not _is_currency(suffix):
            return None
        suffix = ""  # $ ... USD
    core = match["core"].replace("’", "'")
    for space in _SPACES:
        core = core.replace(space, " ")
    return _Parts(core, sign * factor, _unit(prefix or suffix), match["exponent"] or "")


def _factor(suffix: str) -> tuple[float, str]:
    """Split off the power that a suffix begins with or is."""
    if suffix.lower() in _BYTES:
        return _BYTES[suffix.lower()], "byte"
    word = re.match(r"[A-Za-z]*", suffix)
    first = word[0] if word else ""
    power = _POWERS.get(first) or (_POWERS.get(first.lower()) if len(first) > 1 else None)
    rest = suffix[len(first) :].strip()
    if power and (not rest or _is_currency(rest)):
        return power, rest
    return 1.0, suffix


def _unit(text: str) -> str:
    """Return a unit in one spelling: "year" for "years", "usd" for "USD"."""
    if _is_currency(text):
        return text.lower().rstrip(".")
    return text[:-1] if len(text) > 3 and text.endswith("s") else text


def _is_currency(text: str) -> bool:
    return text.lower() in _CURRENCIES or (len(text) == 1 and unicodedata.category(text) == "Sc")


def _marks(cores: list[str], decimal_comma: bool, is_money: bool) -> tuple[str, str] | None:
    """Return the marks between thousands and before decimals; None where texts contradict."""
    thousands: set[str] = set()
    decimal: set[str] = set()
    either: set[str] = set()
    for core in cores:
        spaced = {mark for mark in " '_" if mark in core}
        thousands |= spaced
        marks = [mark for mark in core if mark in ".,"]
        if len(set(marks)) == 2:
            decimal.add(marks[-1])
            thousands.add(marks[0])
        elif len(marks) > 1:
            thousands.add(marks[0])
        elif marks and (spaced or not re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", core, re.A)):
            decimal.add(marks[0])
        elif marks:
            either.add(marks[0])
    for mark in either - thousands - decimal:
        other = "," if mark == "." else "."
        if mark == ",":
            is_decimal = other in thousands or (decimal_comma and other not in decimal)
        else:
            # money has no three decimals
            is_decimal = other not in decimal and not (is_money and other not in thousands)
        (decimal if is_decimal else thousands).add(mark)
    if len(thousands) > 1 or len(decimal) > 1 or thousands & decimal:
        return None
    mark = next(iter(decimal), "," if thousands == {"."} else ".")
    return next(iter(thousands), ""), mark
