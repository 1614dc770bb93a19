from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotune.engine.queue import Scheduler, Ticket

tickets = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 2)), min_size=1, max_size=30
).map(lambda kinds: [Ticket(i, key, epoch) for i, (key, epoch) in enumerate(kinds)])


def filled(waiting: list[Ticket], max_lanes: int = 1) -> Scheduler:
    scheduler = Scheduler(max_lanes)
    for ticket in waiting:
        scheduler.add(ticket)
    return scheduler


def test_nothing_waits():
    scheduler = Scheduler()
    assert len(scheduler) == 0
    assert scheduler.next_cohort() == []


def test_first_come_first_served():
    scheduler = filled([Ticket(i, "a", 0) for i in (5, 3, 4)])
    assert [scheduler.next_cohort() for _ in range(4)] == [[5], [3], [4], []]


def test_lanes_of_the_same_key_and_epoch_go_together():
    waiting = [
        Ticket(0, "a", 1),
        Ticket(1, "b", 1),
        Ticket(2, "a", 2),
        Ticket(3, "a", 1),
        Ticket(4, "b", 1),
    ]
    scheduler = filled(waiting, 8)
    assert [scheduler.next_cohort() for _ in range(3)] == [[2], [0, 3], [1, 4]]


def test_no_cohort_is_larger_than_allowed():
    scheduler = filled([Ticket(i, "a", 0) for i in range(7)], 3)
    assert [scheduler.next_cohort() for _ in range(3)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_lane_that_goes_on_queues_behind_others_that_are_as_far():
    scheduler = filled([Ticket(0, "a", 1), Ticket(1, "b", 2), Ticket(2, "b", 1)])
    assert scheduler.next_cohort() == [1]
    scheduler.add(Ticket(3, "a", 2))
    scheduler.add(Ticket(1, "b", 2))
    assert [scheduler.next_cohort() for _ in range(4)] == [[3], [1], [0], [2]]


def test_the_lanes_with_the_most_epochs_go_first():
    scheduler = filled([Ticket(0, "a", 1), Ticket(1, "b", 2), Ticket(2, "a", 2), Ticket(3, "a", 1)])
    scheduler.max_lanes = 8
    assert scheduler.next_cohort() == [1]
    scheduler.add(Ticket(4, "b", 3))
    assert [scheduler.next_cohort() for _ in range(3)] == [[4], [2], [0, 3]]


def test_lanes_that_were_put_back_go_first():
    scheduler = filled([Ticket(i, "a", 0) for i in range(6)], 4)
    assert scheduler.next_cohort() == [0, 1, 2, 3]
    scheduler.put_back([Ticket(i, "a", 0) for i in (0, 1, 3)])
    assert len(scheduler) == 5
    scheduler.max_lanes = 2
    assert [scheduler.next_cohort() for _ in range(3)] == [[0, 1], [3, 4], [5]]


def test_a_lane_that_is_gone_is_not_trained():
    scheduler = filled([Ticket(i, "a", 0) for i in range(4)], 8)
    scheduler.discard({0, 2, 99})
    assert len(scheduler) == 2
    assert scheduler.next_cohort() == [1, 3]


@pytest.mark.parametrize("max_lanes", [0, -1])
def test_at_least_one_lane(max_lanes):
    with pytest.raises(ValueError, match=f"at least 1, got {max_lanes}"):
        Scheduler(max_lanes)


@given(waiting=tickets, max_lanes=st.integers(1, 5))
def test_every_lane_is_trained_once_with_its_like(waiting, max_lanes):
    scheduler = filled(waiting, max_lanes)
    by_number = {ticket.number: ticket for ticket in waiting}
    left = set(by_number)
    while cohort := scheduler.next_cohort():
        assert len(cohort) <= max_lanes
        assert len({(by_number[n].key, by_number[n].epoch) for n in cohort}) == 1
        # Of those with the most epochs, the one that has waited longest is always served.
        assert min(left, key=lambda n: (-by_number[n].epoch, n)) in cohort
        assert left.issuperset(cohort)
        left.difference_update(cohort)
        assert len(scheduler) == len(left)
    assert not left
