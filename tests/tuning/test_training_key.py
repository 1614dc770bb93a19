from __future__ import annotations

import pytest

from cotune.records import FINAL_NUMBER
from cotune.tuning.training_key import Role, TrainingKey


@pytest.mark.parametrize(
    ("role", "index", "number"),
    [
        ("trial", 0, 0),
        ("trial", 7, 7),
        ("final", 0, FINAL_NUMBER),
        ("default", 0, -2),
        ("finalist", 0, -3),
        ("finalist", 12, -15),
        ("member", 0, -10_000_000),
        ("member", 3, -10_000_003),
    ],
)
def test_numbers_and_back(role: Role, index: int, number: int) -> None:
    key = TrainingKey(role, index)
    assert key.number == number
    assert TrainingKey.of(number) == key
