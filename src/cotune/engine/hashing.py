"""Noise without a generator: a hash of where it stands."""

from __future__ import annotations

from typing import Final

from torch import Tensor

LEVELS: Final = 1 << 24
"""Noise is a whole number below this: 24 bits of a hash."""

GOLDEN: Final = -1_640_531_527
"""2^32 divided by the golden ratio, as a signed number: spreads numbers that follow each other."""

_FIRST, _SECOND = 0x7FEB352D, -2_073_254_261  # 0x846ca68b, as a signed number


def hashed(numbers: Tensor) -> Tensor:
    """Return a hash of each number, ``int32``: that by Wellons (2018), "lowbias32"."""
    # Shifts of signed numbers bring in ones from the left, which are masked.
    mixed = (numbers ^ (numbers >> 16 & 0xFFFF)) * _FIRST
    mixed = (mixed ^ (mixed >> 15 & 0x1FFFF)) * _SECOND
    return mixed ^ (mixed >> 16 & 0xFFFF)


def noise(numbers: Tensor) -> Tensor:
    """Return noise that depends on each number alone, ``int32``, 0 to ``LEVELS - 1``."""
    return hashed(numbers) >> 8 & LEVELS - 1
