"""The search: keeps every place of its runner busy until trials, time or configurations end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from cotune.records import TrialResult
from cotune.tuning.clock import Clock
from cotune.tuning.ledger import Ledger
from cotune.tuning.recorder import Recorder
from cotune.tuning.stop_rules import StopRules
from cotune.tuning.trial_runner import Events, TrialRunner

POLL_SECONDS: Final = 0.1


class Search:
    """Runs trials and records how they end.

    Args:
        runner: Runs the trials: on engines, or by calls of an objective.
        ledger: Knows the trials.
        recorder: Records what they come to.
        rules: End the search.
        clock: The run's time.
        reserve: Returns the seconds that have to be left at the end, as the trials rank now.
        tick: Called about ten times a second.
    """

    def __init__(
        self,
        runner: TrialRunner,
        ledger: Ledger,
        recorder: Recorder,
        rules: StopRules,
        clock: Clock,
        reserve: Callable[[], float],
        tick: Callable[[], None],
    ) -> None:
        self._runner = runner
        self._ledger = ledger
        self._recorder = recorder
        self._rules = rules
        self._clock = clock
        self._reserve = reserve
        self._tick = tick

    def go(self) -> None:
        """Search until the trials, the time or the configurations are used up, or a stop.

        After a stop, trials in training are left as they are, to be resumed.
        """
        while not self._is_over():
            for spec in self._runner.fill(self._trials_left()):
                self._recorder.observer.trial_started(spec)
            if not self._ledger.running and not self._wants_more():
                break
            self.step()
        if not self._clock.stopped:
            end = self._clock.now() + self._runner.wind_up()
            while self._ledger.running and not self._clock.stopped and self._clock.now() < end:
                self.step()
        if self._clock.stopped:
            self._runner.halt(self.handle)
        else:
            for trial in self._runner.cut("patience" if self._rules.no_gain else "out_of_time"):
                self.end(trial)

    def restore(self, ended: Sequence[TrialResult], untold: Sequence[TrialResult]) -> None:
        """Take in trials of a run that had been stopped or killed; before :meth:`go`.

        Args:
            ended: Those that have a row, in that order.
            untold: Those of them that the study was not told of.
        """
        for trial in untold:
            self._recorder.untold(trial)
        for trial in ended:
            self._ledger.finished.append(trial)
            self._rules.take(trial, self._ledger)

    def step(self) -> None:
        """Handle what comes in within a poll."""
        self.handle(self._runner.events(POLL_SECONDS))
        self._runner.save(self.handle)
        self._tick()

    def handle(self, events: Events) -> None:
        """Record events, judge the trials that reported, and let the others go on."""
        for reason in events.lost:
            self._recorder.observer.engine_lost(reason)
        for report, value in events.reported:
            self._recorder.reported(report, value)
        for trial in events.ended:
            self.end(trial)
        for trial in self._runner.judge(events.reported):
            self.end(trial)
        self._runner.apply()

    def end(self, trial: TrialResult) -> None:
        """Record a trial that has ended."""
        self._recorder.ended(trial)
        self._ledger.finished.append(trial)
        self._recorder.observer.trial_ended(trial, self._ledger.best())
        self._rules.take(trial, self._ledger)

    def _is_over(self) -> bool:
        if self._clock.stopped or self._rules.no_gain or self._rules.all_failed(self._ledger):
            return True
        return self._clock.has_limit and self._clock.remaining <= self._reserve()

    def _trials_left(self) -> float:
        if self._rules.n_trials is None:
            return math.inf
        return self._rules.n_trials - self._runner.asked

    def _wants_more(self) -> bool:
        return self._runner.wants_more and self._trials_left() > 0
