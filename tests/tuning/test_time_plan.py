from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotune.tuning.time_plan import Plan, survivors

seconds = st.floats(0.01, 1e4)


@pytest.mark.parametrize(("count", "after"), [(12, 6), (7, 4), (3, 2), (2, 2), (1, 1), (0, 0)])
def test_half_of_the_finalists_go_on(count, after):
    assert survivors(count) == after


def test_a_long_run_has_twelve_finalists_in_eight_rounds():
    plan = Plan(total=1000.0, workers=2, growth=1.25, folds=4)
    rounds = 12 + 6 + 3 + 5 * 2
    assert plan.finalists([2.0] * 20, spent=0.0) == (12, 8, rounds * 2.0 / 2)


def test_what_there_is_no_time_for_is_left_out():
    plan = Plan(total=50.0, workers=2, growth=1.25, folds=4)
    # 40 seconds of engines; for few finalists 20, or 30 for a single round of two.
    assert plan.finalists([5.0] * 20, spent=0.0) == (4, 3, 20.0)
    assert plan.finalists([5.0] * 3, spent=0.0) == (3, 3, 17.5)
    assert plan.finalists([15.0] * 20, spent=0.0) == (2, 1, 15.0)
    assert plan.finalists([16.0] * 20, spent=0.0) == (0, 0, 0.0)


def test_the_dearest_may_go_on():
    plan = Plan(total=1000.0, workers=1, growth=1.25, folds=4)
    assert plan.finalists([1.0, 1.0, 1.0, 7.0, 9.0, 1.0], spent=0.0)[2] == 20 + 17 + 6 * 16


def test_stages_of_several_rounds_where_there_is_time():
    plan = Plan(total=1000.0, workers=1, growth=1.25, folds=4, stage=4)
    assert plan.finalists([1.0] * 20, spent=0.0) == (12, 32, 4.0 * (12 + 6 + 3 + 5 * 2))
    assert plan.finalists([30.0] * 20, spent=0.0) == (2, 4, 240.0)
    assert plan.finalists([45.0] * 20, spent=0.0) == (4, 3, 360.0)


def test_few_trials_and_no_folds():
    plan = Plan(total=1000.0, workers=1, growth=1.25, folds=2)
    assert plan.finalists([3.0], spent=0.0) == (1, 8, 24.0)
    assert plan.finalists([], spent=0.0) == (0, 0, 0.0)
    assert Plan(1000.0, 1, 1.25, folds=0).finalists([1.0], spent=0.0) == (0, 0, 0.0)


def test_without_a_limit_as_much_as_the_search_cost():
    plan = Plan(total=None, workers=2, growth=1.25, folds=4)
    assert plan.finalists([20.0] * 20, spent=620.0)[:2] == (12, 8)
    assert plan.finalists([20.0] * 20, spent=619.0)[:2] == (8, 8)
    assert plan.finalists([20.0, 20.0], spent=40.0)[:2] == (2, 1)
    assert plan.most_epochs(1e6) is None


def test_epochs_that_a_final_training_has_time_for():
    plan = Plan(total=100.0, workers=2, growth=1.25, folds=4)
    assert plan.most_epochs(2.0) == 14
    assert plan.most_epochs(1000.0) == 1


def test_two_final_trainings_side_by_side_or_one_after_another():
    assert Plan(100.0, 2, 1.5, 4).final(4.0, 2.0) == 6.0
    assert Plan(100.0, 1, 1.5, 4).final(4.0, 2.0) == 9.0


@given(total=seconds, workers=st.integers(1, 8), costs=st.lists(seconds, max_size=15))
def test_finalists_take_two_fifths_of_the_time_at_most(total, workers, costs):
    count, rounds, cost = Plan(total, workers, 1.25, 4).finalists(costs, spent=0.0)
    assert cost <= 0.4 * total * (1 + 1e-9)
    assert cost * workers >= rounds * sum(costs[:count][:1]) * (1 - 1e-9) or count > 1
