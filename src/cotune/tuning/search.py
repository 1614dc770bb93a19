"""The search: keeps every place of its runner busy until trials, time or configurations end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cotune.records import TrialResult
from cotune.tuning.clock import Clock
from cotune.tuning.ledger import Ledger
from cotune.tuning.recorder import Recorder
from cotune.tuning.stop_rules import StopRules
from cotune.tuning.trial_runner import POLL_SECONDS, Events, TrialRunner


@dataclass
class Search:
    """Runs trials and records how they end.

    Attributes:
        reserve: Returns the seconds that have to be left at the end, as the trials rank now.
        tick: Called about ten times a second.
    """

    runner: TrialRunner
    ledger: Ledger
    recorder: Recorder
    rules: StopRules
    clock: Clock
    reserve: Callable[[], float]
    tick: Callable[[], None]

    def go(self) -> None:
        """Search until the trials, the time or the configurations are used up, or a stop.

        After a stop, trials in training are left as they are, to be resumed.
        """
        while not self._is_over():
            for spec in self.runner.fill(self._trials_left()):
                self.recorder.observer.trial_started(spec)
            if not self.ledger.running and not self._wants_more():
                break
            self.step()
        if not self.clock.stopped:
            end = self.clock.now() + self.runner.wind_up()
            while self.ledger.running and not self.clock.stopped and self.clock.now() < end:
                self.step()
        if self.clock.stopped:
            self.runner.halt(self.handle)
        else:
            self.end(self.runner.cut("patience" if self.rules.no_gain else "out_of_time"))

    def restore(
        self,
        ended: Sequence[TrialResult],
        untold: Sequence[TrialResult],
        unrecorded: Sequence[TrialResult] = (),
    ) -> None:
        """Take in trials of a run that had been stopped or killed; before :meth:`go`.

        Args:
            ended: Those that have a row, in that order.
            untold: Those of them that the study was not told of.
            unrecorded: Trials that had ended, but have no row.
        """
        for trial in untold:
            self.recorder.study.tell(trial)
        for trial in ended:
            self.ledger.add(trial)
            self.rules.take(trial, self.ledger)
        self.end(unrecorded)

    def announce(self) -> None:
        """Tell what was restored."""
        specs = [running.spec for running in self.ledger.running.values()]
        self.recorder.observer.resumed(self.ledger.finished, specs, self.ledger.best())

    def step(self) -> None:
        """Handle what comes in within a poll."""
        self.handle(self.runner.events(POLL_SECONDS))
        self.runner.save(self.handle)
        self.tick()

    def handle(self, events: Events) -> None:
        """Record events, judge the trials that reported, and let the others go on."""
        for reason in events.lost:
            self.recorder.observer.engine_lost(reason)
        self.recorder.reported(events.reported)
        self.end([*events.ended, *self.runner.judge(events.reported)])
        self.runner.apply()

    def end(self, trials: Sequence[TrialResult]) -> None:
        """Record trials that have ended."""
        self.recorder.ended(trials)
        for trial in trials:
            self.ledger.add(trial)
            self.recorder.observer.trial_ended(trial, self.ledger.best())
            self.rules.take(trial, self.ledger)

    def _is_over(self) -> bool:
        if self.clock.stopped or self.rules.no_gain or self.rules.all_failed(self.ledger):
            return True
        return self.clock.has_limit and self.clock.remaining <= self.reserve()

    def _trials_left(self) -> float:
        if self.rules.n_trials is None:
            return math.inf
        return self.rules.n_trials - self.runner.asked

    def _wants_more(self) -> bool:
        return self.runner.wants_more and self._trials_left() > 0
