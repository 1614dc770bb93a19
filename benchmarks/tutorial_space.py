"""The space that all methods of a comparison search."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cotune.space.space import Space
from cotune.space.yaml import read_space

PATH: Final = Path(__file__).with_suffix(".yaml")


def tutorial_space() -> Space:
    return read_space(PATH)
