from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cotune.engine.schedules import SCHEDULES, Plateau, factor, warm_up


def curve(schedule: str, total: int) -> list[float]:
    return [factor(schedule, step, total) for step in range(total)]


def test_constant():
    assert curve("constant", 5) == [1.0] * 5


def test_cosine():
    assert curve("cosine", 4) == pytest.approx([1.0, 0.5 + 0.125**0.5, 0.5, 0.5 - 0.125**0.5])


def test_cooldown():
    factors = curve("cooldown", 100)
    assert factors[:81] == [1.0] * 81
    assert factors[85] == pytest.approx(0.5)
    assert factors[80:] == sorted(factors[80:], reverse=True)


def test_one_cycle():
    """Half of the rise is at 15 % of the steps, half of the fall at 65 %."""
    factors = curve("one-cycle", 100)
    assert factors[0] == pytest.approx(1 / 25)
    assert factors[15] == pytest.approx((1 + 1 / 25) / 2)
    assert factors[30] == pytest.approx(1.0)
    assert factors[65] == pytest.approx(0.5)
    assert factors[:31] == sorted(factors[:31])
    assert factors[30:] == sorted(factors[30:], reverse=True)
    assert factors[-1] < 1e-3


@given(schedule=st.sampled_from(SCHEDULES), total=st.integers(1, 500))
def test_every_factor_is_a_share_above_zero(schedule, total):
    assert all(0.0 < value <= 1.0 for value in curve(schedule, total))


@given(schedule=st.sampled_from(SCHEDULES), step=st.integers(0, 2000), total=st.integers(1, 500))
def test_past_its_end_it_stays_a_share(schedule, step, total):
    assert 0.0 <= factor(schedule, total + step, total) <= 1.0


def test_warming_up():
    assert [warm_up(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [warm_up(step, 1.5) for step in range(3)] == pytest.approx([2 / 3, 1.0, 1.0])
    assert [warm_up(step, 0.0) for step in range(2)] == [1.0, 1.0]


@given(
    losses=st.lists(st.floats(0.1, 3.0) | st.sampled_from((0.5, 0.49996, 0.4999)), max_size=30),
    shrink=st.sampled_from((0.1, 0.5, 0.9)),
    patience=st.integers(0, 4),
)
def test_a_plateau_is_torchs(losses, shrink, patience):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    rule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=shrink, patience=patience, eps=0.0
    )
    plateau = Plateau()
    for loss in losses:
        rule.step(loss)
        plateau = plateau.after(loss, shrink, patience)
        assert plateau.factor == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
