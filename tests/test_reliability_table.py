"""Every test that docs/explanation/reliability.md names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = sorted(
    set(
        re.findall(
            r"`([\w/]*test_[\w.:]+)`", (ROOT / "docs/explanation/reliability.md").read_text()
        )
    )
)


@pytest.mark.parametrize("name", NAMED)
def test_is_there(name: str) -> None:
    file, *parts = name.split("::")
    text = (ROOT / "tests" / file).read_text()
    for part in parts:
        keyword = "class" if part.startswith("Test") else "def"
        assert f"{keyword} {part}" in text


def test_there_are_many() -> None:
    assert len(NAMED) > 30
