"""Types of a table's columns of texts are inferred here.

They are numbers as people write them, dates, times, booleans, categories or ids.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from cotune.data.tables.written_dates import (
    ORDERS,
    are_times,
    find_date_order,
    parse_dates,
    parse_times,
)
from cotune.data.tables.written_numbers import NumberForm, find_number_form

LONGEST_TEXT: Final = 200
"""Characters of a category or class; a longer text is none."""

BOOLEANS: Final = {"true": 1.0, "false": 0.0}
"""Texts of booleans, whatever their case."""

TOO_MANY: Final = "its texts are too many or too long to be categories"

_MOSTLY: Final = 0.75  # share of numbers that makes a column one of numbers with an error in it
_MOST_CATEGORIES: Final = 10_000
_MANY: Final = 20  # categories that may be numbers nobody understood
_MOST_WORDS: Final = 3  # different words that stand for a missing number
_MISSING_NUMBERS: Final = frozenset(
    (
        *("-", "--", "—", "–", ".", "..", "...", "…", "*", "?", "unknown", "undefined", "missing"),
        *("none", "null", "nan", "na", "n/a", "n.a.", "nil", "n.d.", "nd", "tbd", "tba", "blank"),
        *("(blank)", "#n/a", "#div/0!", "#value!", "#ref!", "#name?", "#null!", "no data"),
        *("not available", "not applicable", "not known"),
    )
)
_LOOKS_WRITTEN: Final = re.compile(r"\W{0,4}\d[\d.,:/ -]*\D{0,12}")

Kind = Literal["number", "boolean", "category", "skip"]


@dataclass(frozen=True)
class TextKind:
    """Inferred type of a column of texts.

    Attributes:
        kind: ``skip`` for a column that is left out.
        why: For people: what it was read as, or why it is left out.
        numbers: ``[texts]``: what each text is, where the kind is number or boolean.
        form: How its numbers or dates are written; see :class:`~cotune.data.dataset.Column`.
        doubt: What may be otherwise, or "".
        wrong: The place of a text that is not of the kind of the others; None where all are.
        date: Whether the others are dates.
    """

    kind: Kind
    why: str
    numbers: NDArray[np.float64] | None = None
    form: str = ""
    doubt: str = ""
    wrong: int | None = None
    is_date: bool = False


def read_text_kind(
    texts: Sequence[str],
    counts: NDArray[np.int64],
    *,
    decimal_comma: bool = False,
    wanted: str | None = None,
) -> TextKind:
    """Infer the type of a column of texts.

    Args:
        texts: The distinct texts, white space around them removed; one at least.
        counts: ``[texts]``: the cells that hold each.
        decimal_comma: Whether the file's numbers may have a decimal comma.
        wanted: What its owner says it is, one of
            :data:`~cotune.data.dataset.COLUMN_KINDS`, or None.
    """
    if wanted == "category":
        return category_kind(texts, counts, wanted=True)
    words = _words_for_missing(texts) if wanted is None else []
    present = [text for text in texts if text not in words]
    kept = np.array([text not in words for text in texts])
    dates = _dates(present, counts[kept], wanted)
    if dates is not None:
        return _spread(dates, kept, words, counts)
    if wanted in ("date", "day-first", "month-first"):
        return TextKind("number", "dates", wrong=0, is_date=True)
    if wanted is None and all(text.lower() in BOOLEANS for text in texts):
        values = np.array([BOOLEANS[text.lower()] for text in texts])
        return TextKind("boolean", "", values)
    numbers = _numbers(present, counts[kept], decimal_comma, wanted)
    if numbers is not None:
        return _spread(numbers, kept, words, counts)
    found = category_kind(texts, counts)
    return replace(found, doubt=_doubt(texts, counts, decimal_comma)) if wanted is None else found


def values_of(form: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the numbers that texts are in a column's form, NaN for those that are none."""
    if form.startswith("date|"):
        return parse_dates(texts, form.removeprefix("date|"))
    if form == "time":
        return parse_times(texts)
    number = NumberForm.read(form)
    words = set(_words_for_missing(texts))
    return np.array([math.nan if text in words else number.parse(text) for text in texts], float)


def is_missing_number(text: str) -> bool:
    """Tell whether a text stands for a missing number where the others are numbers."""
    return text.lower() in _MISSING_NUMBERS


def check_form(form: str) -> None:
    """Raise ``ValueError`` where a form is none that columns have."""
    if form in ("", "time") or form in {f"date|{order}" for order in ORDERS}:
        return
    NumberForm.read(form)


def _words_for_missing(texts: Sequence[str]) -> list[str]:
    words = [text for text in texts if is_missing_number(text)]
    return words if len(words) <= _MOST_WORDS and len(words) < len(texts) else []


def _spread(
    found: TextKind, kept: NDArray[np.bool_], words: list[str], counts: NDArray[np.int64]
) -> TextKind:
    """Extend the type of some texts to all: the others are words for missing cells."""
    if not words:
        return found
    assert found.numbers is not None
    numbers = np.full(len(kept), math.nan)
    numbers[kept] = found.numbers
    cells = int(counts[~kept].sum())
    shown = " and ".join(repr(word) for word in words)
    told = f"{cells:,} cells {shown} are read as missing"
    if cells == 1:
        told = f"1 cell {shown} is read as missing"
    wrong = None if found.wrong is None else int(np.flatnonzero(kept)[found.wrong])
    doubt = "; ".join(filter(None, (found.doubt, told)))
    return TextKind(found.kind, found.why, numbers, found.form, doubt, wrong, found.is_date)


def _dates(texts: Sequence[str], counts: NDArray[np.int64], wanted: str | None) -> TextKind | None:
    if wanted == "number":
        return None
    if wanted is None and are_times(texts):
        return TextKind("number", f"time as {texts[0]!r}, in seconds", parse_times(texts), "time")
    order = wanted if wanted in ORDERS else find_date_order(texts)
    doubt = ""
    if order is None:
        parsed = ~np.isnan(parse_dates(texts, "day-first"))
        share = counts[parsed].sum() / max(1, counts.sum())
        dates = [text for text, is_one in zip(texts, parsed, strict=True) if is_one]
        order = find_date_order(dates) if share >= _MOSTLY else None
        if order is None:
            return None
    if order == "either":
        return TextKind(
            "skip",
            f"its dates may begin with the day or the month ({texts[0]!r})",
            doubt="ambiguous",
            is_date=True,
        )
    seconds = parse_dates(texts, order)
    missing = np.flatnonzero(np.isnan(seconds))
    wrong = int(missing[0]) if len(missing) else None
    if wrong == 0 and len(missing) == len(texts):
        return None
    shown = "" if order == "year-first" else f", {order.replace('-', ' ')}"
    return TextKind(
        "number",
        f"date as {texts[-1]!r}{shown}, in seconds since 1970",
        seconds,
        f"date|{order}",
        doubt,
        wrong,
        is_date=True,
    )


def _numbers(
    texts: Sequence[str], counts: NDArray[np.int64], decimal_comma: bool, wanted: str | None
) -> TextKind | None:
    form, _ = find_number_form(texts, counts, decimal_comma)
    if form is None:
        return TextKind("number", "numbers", wrong=0) if wanted == "number" else None
    values = np.array([form.parse(text) for text in texts])
    missing = np.flatnonzero(np.isnan(values))
    share = 1 - counts[missing].sum() / max(1, counts.sum())
    if len(missing) and wanted != "number" and (share < _MOSTLY or not form.is_certain):
        return None
    written = next((t for t in texts if not re.fullmatch(r"[+-]?\d*\.?\d+", t, re.A)), None)
    why = "" if written is None else f"written as {written!r}"
    doubt = ""
    if form.thousands in (",", ".") and form.decimal not in "".join(texts):
        example = next(text for text in texts if form.thousands in text)
        doubt = (
            f"{example!r} is read as {form.parse(example):g}, with {form.thousands!r} between "
            "thousands"
        )
    elif form.unit and not form.is_certain:
        doubt = f"its cells are read as numbers with the unit {form.unit!r}"
    elif form.unit == "%" and any("%" not in text for text in texts):
        doubt = "numbers with % and without are taken alike"
    wrong = int(missing[0]) if len(missing) else None
    # a plain one is that of each file: with a comma where cells are between semicolons
    is_plain = form in (NumberForm(), NumberForm(decimal="," if decimal_comma else "."))
    return TextKind("number", why, values, "" if is_plain else str(form), doubt, wrong)


def category_kind(
    texts: Sequence[str], counts: NDArray[np.int64], wanted: bool = False
) -> TextKind:
    """Return the kind of texts that are no numbers: categories, or ids that are left out.

    Args:
        wanted: Their owner says that they are categories.
    """
    if not wanted and len(texts) == counts.sum():
        return TextKind("skip", "its texts are all different, as ids are")
    if len(texts) > _MOST_CATEGORIES or max(map(len, texts)) > LONGEST_TEXT:
        return TextKind("skip", TOO_MANY)
    return TextKind("category", "")


def _doubt(texts: Sequence[str], counts: NDArray[np.int64], decimal_comma: bool) -> str:
    """Return what speaks against categories: most texts look like numbers; else ""."""
    written = np.array([_LOOKS_WRITTEN.fullmatch(text) is not None for text in texts])
    if len(texts) <= _MANY or counts[written].sum() < _MOSTLY * counts.sum():
        return ""
    example = texts[int(np.flatnonzero(written)[0])]
    _, units = find_number_form(texts, counts, decimal_comma)
    doubt = f"its texts look like numbers ({example!r}) that are not understood"
    if len(units) > 1:
        shown = ", ".join(repr(unit) for unit in sorted(units)[:3])
        doubt = f"its numbers have several units ({shown})"
    return f"{doubt}: it is read as {len(texts):,} categories"
