"""Why a trial ended, as the reason in its row tells it."""

from __future__ import annotations

import pytest

from cotune.records import State, StopCause, TrialResult
from cotune.tuning.ledger import Ledger


def trial(state: State, reason: str, number: int = 0, value: float = 0.5) -> TrialResult:
    return TrialResult(number, state, value, 3, {}, 1.0, reason)


@pytest.mark.parametrize(
    ("state", "reason", "cause"),
    [
        ("complete", "", None),
        ("complete", "stopped early: none was better than epoch 2", "early_stopped"),
        ("pruned", "pruned", "pruned"),
        ("pruned", "time was up", "out_of_time"),
        ("pruned", "time was up after epoch 3 of 9", "out_of_time"),
        ("pruned", "patience was over after epoch 3 of 9", "patience"),
        ("failed", "epoch 3: it became NaN", "failed"),
        ("failed", "", "failed"),
    ],
)
def test_cause(state: State, reason: str, cause: StopCause | None):
    assert trial(state, reason).stop_cause == cause


@pytest.mark.parametrize(("ranks_cut_short", "best"), [(True, [2, 1, 0]), (False, [0])])
def test_what_ranks(ranks_cut_short, best):
    """What the end of the time cut short ranks beside complete trials, but not of an objective."""
    ledger = Ledger("maximize", ranks_cut_short)
    for one in (
        trial("complete", "", 0, 0.5),
        trial("pruned", "time was up", 1, 0.6),
        trial("pruned", "patience was over after epoch 1 of 9", 2, 0.7),
        trial("pruned", "pruned", 3, 0.8),
        trial("failed", "it returned nan", 4, 0.9),
    ):
        ledger.add(one)
    assert [one.number for one in ledger.ranked()] == best
