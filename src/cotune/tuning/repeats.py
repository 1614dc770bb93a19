"""Finalists of an objective: the best trials, called again with fresh seeds."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cotune.records import ObjectiveFinalist, TrialResult
from cotune.runs.directory import RunDirectory
from cotune.tuning.clock import Clock
from cotune.tuning.ledger import Ledger
from cotune.tuning.objective_calls import EndedCall, ObjectiveCalls
from cotune.tuning.observer import Observer
from cotune.tuning.trial_runner import POLL_SECONDS

REPEATS: Final = 3
"""How often each finalist is run again."""

_ENOUGH_TRIALS = 10  # below that there are finalists only where they are asked for
_FINALISTS = 3
_MARGIN = 1.2  # a call of the objective takes longer than the one before, or less
_GRACE_SECONDS = 1.0
_FINALISTS_SHARE = 0.4  # of the time, at most


@dataclass
class Repeats:
    """Calls an objective again with the hyperparameters of the best trials.

    Attributes:
        wanted: How many finalists; None: three, where there are trials enough; 0: none.
        repeats: How often each is called.
        values: What the objective returned, by trial and repeat; None where it failed.
    """

    wanted: int | None
    repeats: int
    workers: int
    ledger: Ledger
    clock: Clock
    calls: ObjectiveCalls
    values: dict[tuple[int, int], float | None] = field(default_factory=dict, init=False)
    _began: dict[tuple[int, int], float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._share = _FINALISTS_SHARE * self.clock.remaining

    def candidates(self) -> list[TrialResult]:
        """Return the trials that are to be finalists, as they rank now."""
        wanted, complete = self.wanted, self.ledger.ranked()
        if not complete or complete[0].state != "complete":
            return []
        enough = len(complete) >= 2 and len(self.ledger.finished) >= _ENOUGH_TRIALS
        if wanted is None and not enough:
            return []
        return complete[: _FINALISTS if wanted is None else wanted]

    def reserve(self) -> float:
        """Return the seconds to leave for the finalists."""
        candidates = self.candidates() if self.clock.has_limit else []
        if not candidates:
            return 0.0
        count, _, seconds = self._plan(candidates, self._share)
        # Workers in mid-trial are replaced by others, which have to load the objective.
        return _MARGIN * (seconds + self._grace) if count else 0.0

    def grace(self) -> float:
        """Return the seconds that calls of the search have to end by themselves."""
        return self._grace if self.candidates() else 0.0

    @property
    def _grace(self) -> float:
        """Seconds for trials to come to a call: a new worker has nothing imported or cached."""
        return max(_GRACE_SECONDS, self.calls.pool.load_seconds)

    def _plan(self, candidates: Sequence[TrialResult], seconds: float) -> tuple[int, int, float]:
        """Return how many finalists and repeats there is time for, and what they take."""
        each = max(trial.seconds for trial in candidates) + 0.01
        slots = self.workers * int(min(1_000.0, max(0.0, seconds) / each))
        count, repeats = plan_repeats(len(candidates), self.repeats, slots)
        return count, repeats, math.ceil(count * repeats / self.workers) * each

    def go(
        self, run: RunDirectory, observer: Observer, tick: Callable[[], None]
    ) -> list[ObjectiveFinalist] | None:
        """Return the finalists, best first; None after a stop.

        Args:
            tick: Called about ten times a second.
        """
        candidates = self.candidates()
        if not candidates:
            return []
        calls = self.calls
        left = self.clock.remaining - calls.pool.load_seconds
        count, repeats, _ = self._plan(candidates, left)
        if not count:
            return []
        finalists = candidates[:count]
        calls.pool.refill()
        observer.repeats_started(finalists, repeats)
        for repeat in range(1, repeats + 1):
            for trial in finalists:
                if (trial.number, repeat) not in self.values:
                    calls.study.fix(trial.number, repeat)
                    calls.add(trial.number, repeat)
        seconds = {trial.number: trial.seconds for trial in finalists}
        while calls and not self.clock.stopped and self.clock.remaining > 0:
            while (call := calls.next) and seconds[call.number] >= self.clock.remaining:
                calls.drop()
            for call in calls.start():
                self._began[call.number, call.repeat] = time.monotonic()
            events = calls.events(POLL_SECONDS)
            for one in events.ended:
                self._end(one, run, observer)
            for reason in events.lost:
                observer.engine_lost(reason)
            tick()
        calls.clear()
        if self.clock.stopped:
            return None
        ended = [self._finalist(trial.number, repeats) for trial in finalists]
        ranked = sorted(
            (finalist for finalist in ended if finalist is not None),
            key=lambda one: (one.failed, self.ledger.sign * one.mean, one.number),
        )
        observer.repeats_ended(ranked)
        return ranked

    def _end(self, one: EndedCall, run: RunDirectory, observer: Observer) -> None:
        key = one.call.number, one.call.repeat
        self.values[key] = one.value
        seconds = time.monotonic() - self._began[key]
        run.tables.append_finalist(*key, one.value, seconds, one.reason)
        observer.repeat_ended(one.call.number, one.value)

    def _finalist(self, number: int, repeats: int) -> ObjectiveFinalist | None:
        """Average a finalist's calls; None where no call returned a number."""
        keys = [(number, r) for r in range(1, repeats + 1) if (number, r) in self.values]
        values = [v for key in keys if (v := self.values[key]) is not None and math.isfinite(v)]
        if not values:
            return None
        sd = statistics.stdev(values) if len(values) > 1 else None
        failed = len(keys) - len(values)
        return ObjectiveFinalist(number, len(values), failed, statistics.fmean(values), sd)


def plan_repeats(count: int, repeats: int, slots: int) -> tuple[int, int]:
    """Plan how many finalists, and how often each, for so many calls: as many calls as fit.

    Returns:
        ``(0, 0)`` where not even two finalists, or the only one, can be called once.
    """
    fitting = [
        (n * r, n, r)
        for n in range(min(2, count), count + 1)
        for r in range(1, repeats + 1)
        if 0 < n * r <= slots
    ]
    _, n, r = max(fitting, default=(0, 0, 0))
    return n, r
