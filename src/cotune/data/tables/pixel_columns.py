"""Tables whose columns are the pixels of images, as label, pixel0, pixel1 ..."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cotune.data.tables.columns import check_columns, read_numbers
from cotune.data.tables.raw_table import RawTable

_NUMBERED: Final = re.compile(r"(?:pixel|pix|px)[ _.-]?(\d{1,6})", re.I | re.A)
_BY_ROW: Final = re.compile(r"(?:(?:pixel|pix|px)[ _.-]?)?(\d{1,4})[x_](\d{1,4})", re.I | re.A)

Layout = tuple[list[str], tuple[int, int]]
"""The columns, row by row of the image, and its height and width."""


def find_layout(names: Sequence[str]) -> Layout | None:
    """Find how columns that are all called as pixels make up images; None where they do not.

    They may come in any order and are numbered from 0 or 1: pixel0, pixel1 ... of square images;
    1x1, 1x2 ... or pixel_0_0, pixel_0_1 ... by row and column.
    """
    if not names:
        return None
    by_row = [_BY_ROW.fullmatch(name) for name in names]
    numbered = [_NUMBERED.fullmatch(name) for name in names]
    if all(by_row):
        at = {(int(match[1]), int(match[2])): match.string for match in by_row if match}
    elif all(numbered):
        side = math.isqrt(len(names))
        numbers = {int(match[1]): match.string for match in numbered if match}
        if min(numbers) > 1 or side**2 != len(names):
            return None
        at = {divmod(number - min(numbers), side): name for number, name in numbers.items()}
    else:
        return None
    (top, left), (bottom, right) = min(at), max(at)
    height, width = bottom - top + 1, right - left + 1
    if top > 1 or left > 1 or min(height, width) < 2 or height * width != len(names):
        return None
    places = list(itertools.product(range(top, bottom + 1), range(left, right + 1)))
    if set(places) != set(at):
        return None
    return [at[place] for place in places], (height, width)


def is_pixel(name: str) -> bool:
    """Tell whether a column is called as a pixel."""
    return bool(_NUMBERED.fullmatch(name) or _BY_ROW.fullmatch(name))


def read_images(raw: RawTable, layout: Layout) -> NDArray[np.uint8]:
    """Read the images of a table, ``uint8 [rows, height, width]``.

    Raises:
        DataError: A column is not there, or a cell is no whole number from 0 to 255.
    """
    names, (height, width) = layout
    check_columns(raw, names)
    pixels = np.empty((len(names), len(raw)), np.uint8)
    for place, name in enumerate(names):
        values = read_numbers(raw, name)
        with np.errstate(invalid="ignore"):
            pixels[place] = values
        wrong = np.flatnonzero(pixels[place] != values)
        if len(wrong):
            value = values[wrong[0]]
            shown = "the pixel is missing" if math.isnan(value) else f"{value:g} is no pixel"
            raise raw.error(wrong[0], name, f"{shown}; give whole numbers from 0 to 255")
    return np.ascontiguousarray(pixels.T).reshape(len(raw), height, width)
