"""Which trials a rung stops."""

from __future__ import annotations

from cotune.study.halving import Halving


def test_a_third_of_a_rung_goes_on_whatever_the_order() -> None:
    values = {number: (1, number / 10) for number in range(9)}
    assert Halving(maximize=True).judge(values) == {0, 1, 2, 3, 4, 5}
    backwards = dict(reversed(values.items()))
    assert Halving(maximize=True).judge(backwards) == {0, 1, 2, 3, 4, 5}
    assert Halving(maximize=False).judge(values) == {3, 4, 5, 6, 7, 8}


def test_only_rungs_are_judged() -> None:
    halving = Halving(maximize=True)
    rungs = [
        epoch for epoch in range(1, 30) if halving.judge({0: (epoch, 0.9), 1: (epoch, 0.1)}) == {1}
    ]
    assert rungs == [1, 3, 9, 27]


def test_later_trials_are_held_against_earlier_ones() -> None:
    halving = Halving(maximize=True)
    halving.judge(dict.fromkeys(range(3), (3, 0.9)))
    assert halving.judge({3: (3, 0.8)}) == {3}
    assert halving.judge({4: (3, 0.95)}) == set()


def test_a_lone_trial_and_equals_go_on() -> None:
    halving = Halving(maximize=True)
    assert halving.judge({0: (1, 0.1)}) == set()
    assert halving.judge({1: (1, 0.1), 2: (1, 0.1)}) == set()


def test_rungs_are_apart() -> None:
    halving = Halving(maximize=True)
    halving.judge(dict.fromkeys(range(9), (1, 0.9)))
    assert halving.judge({9: (3, 0.2), 10: (1, 0.2)}) == {10}
