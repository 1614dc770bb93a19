from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotune.plan import Plan

seconds = st.floats(0.01, 1e4)


def test_a_long_run_judges_six_and_the_default_four_times():
    plan = Plan(total=1000.0, workers=2, growth=1.25, folds=4)
    assert plan.finalists([2.0] * 20, 1.0, spent=0.0) == (6, 4, 4 * 13 / 2)


def test_what_there_is_no_time_for_is_left_out():
    plan = Plan(total=40.0, workers=2, growth=1.25, folds=4)
    # 20 seconds of engines: twice two of 4 seconds and the default's 1.
    assert plan.finalists([4.0] * 20, 1.0, spent=0.0) == (2, 2, 9.0)
    assert plan.finalists([19.0] * 20, 1.0, spent=0.0) == (1, 1, 10.0)
    assert plan.finalists([20.0] * 20, 1.0, spent=0.0) == (0, 0, 0.0)


def test_few_trials_and_few_folds():
    plan = Plan(total=1000.0, workers=1, growth=1.25, folds=2)
    assert plan.finalists([3.0], 1.0, spent=0.0) == (1, 2, 8.0)
    assert plan.finalists([], 1.0, spent=0.0) == (0, 2, 2.0)
    assert Plan(1000.0, 1, 1.25, folds=0).finalists([1.0], 1.0, spent=0.0) == (0, 0, 0.0)


def test_without_a_limit_half_of_what_the_search_cost():
    plan = Plan(total=None, workers=2, growth=1.25, folds=4)
    assert plan.finalists([20.0] * 8, 20.0, spent=1120.0)[:2] == (6, 4)
    assert plan.finalists([20.0] * 8, 20.0, spent=1119.0)[:2] == (4, 4)
    assert plan.finalists([20.0], 20.0, spent=80.0)[:2] == (1, 1)
    assert plan.most_epochs(1e6) is None


def test_epochs_that_a_final_training_has_time_for():
    plan = Plan(total=100.0, workers=2, growth=1.25, folds=4)
    assert plan.most_epochs(2.0) == 10
    assert plan.most_epochs(1000.0) == 1


def test_two_final_trainings_side_by_side_or_one_after_another():
    assert Plan(100.0, 2, 1.5, 4).final(4.0, 2.0) == 6.0
    assert Plan(100.0, 1, 1.5, 4).final(4.0, 2.0) == 9.0


@given(
    total=seconds, workers=st.integers(1, 8), costs=st.lists(seconds, max_size=9), default=seconds
)
def test_finalists_take_a_quarter_of_the_time_at_most(total, workers, costs, default):
    plan = Plan(total, workers, 1.25, 4)
    count, repeats, cost = plan.finalists(costs, default, spent=0.0)
    assert cost <= total / 4 * (1 + 1e-9)
    assert cost == pytest.approx(repeats * (sum(costs[:count]) + default) / workers)
