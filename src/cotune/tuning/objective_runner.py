"""Trials of a search that are calls of a user's Optuna objective."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cotune.exceptions import UsageError
from cotune.records import CUT_SHORT, EpochReport, State, StopCause, TrialResult, TrialSpec
from cotune.study.objective_study import ObjectiveStudy
from cotune.tuning.ledger import Ledger, RunningTrial
from cotune.tuning.objective_calls import EndedCall, ObjectiveCalls
from cotune.tuning.trial_runner import Events, Handle, TrialRunner
from cotune.workers.objective.source import SEVERAL_VALUES


@dataclass
class ObjectiveRunner(TrialRunner):
    """Calls an objective, a trial at a time in each worker.

    Its hyperparameters are drawn as the objective asks for them, and it is pruned where it asks.

    Attributes:
        grace: Returns the seconds that calls have at the end to come to a question. A worker that
            is killed has to be started again, which takes longer. 0 where none is needed again.
    """

    study: ObjectiveStudy
    calls: ObjectiveCalls
    ledger: Ledger
    name: str
    grace: Callable[[], float]
    _asked: int = field(default=0, init=False)
    _began: dict[int, float] = field(default_factory=dict, init=False)  # by trial

    @property
    def asked(self) -> int:
        return self._asked

    @property
    def wants_more(self) -> bool:
        return not self.study.exhausted

    def fill(self, most: float) -> list[TrialSpec]:
        new: list[TrialSpec] = []
        while self.calls.idle and len(new) < most and not self.study.exhausted:
            self._asked += 1
            new.append(self._take(self.study.ask()))
            self._start()
        self._start()
        return new

    def _take(self, number: int) -> TrialSpec:
        """Have a trial wait for a worker. What is shown of it grows as the objective draws it."""
        call = self.calls.add(number)
        spec = TrialSpec(number, self.calls.params[number], call.seed)
        self.ledger.running[number] = RunningTrial(spec, self.calls.params[number])
        return spec

    def _start(self) -> None:
        for call in self.calls.start():
            self._began[call.number] = time.monotonic()

    def events(self, timeout: float) -> Events:
        events = self.calls.events(timeout)
        reported = [(report, report.scores["value"]) for report in events.reported]
        return Events(reported, [self._end(one) for one in events.ended], events.lost)

    def _end(self, one: EndedCall) -> TrialResult:
        number, state, value = one.call.number, one.state, one.value
        if SEVERAL_VALUES in one.reason and not self.ledger.best():
            raise UsageError(f"{self.name}: {one.reason}")
        return self._result(number, state, value, one.reason)

    def _result(self, number: int, state: State, value: float | None, reason: str) -> TrialResult:
        del self.ledger.running[number]
        seconds = time.monotonic() - self._began.get(number, time.monotonic())
        steps = self.study.steps(number)
        if state == "pruned" and steps:
            last = steps[max(steps)]  # as in the study
            value = None if math.isnan(last) else last
        params = self.study.params(number)
        return TrialResult(number, state, value, len(steps), params, seconds, reason)

    def judge(self, reported: Sequence[tuple[EpochReport, float]]) -> list[TrialResult]:
        return []  # the objective asks, and ends by itself

    def apply(self) -> None:
        """Do nothing: what an objective asked was answered at once."""

    def save(self, handle: Handle) -> None:
        """Do nothing: a call that is lost begins anew."""

    def wind_up(self) -> float:
        seconds = self.grace()
        self.calls.is_winding_up = seconds > 0.0
        return seconds

    def cut(self, cause: StopCause) -> list[TrialResult]:
        self.calls.is_winding_up = False
        reason = CUT_SHORT[cause]
        return [self._result(one.number, "pruned", None, reason) for one in self.calls.clear()]

    def halt(self, handle: Handle) -> None:
        self.calls.clear()
        self.ledger.running.clear()

    def restore(self, trials: Sequence[TrialResult]) -> tuple[list[TrialResult], list[TrialResult]]:
        """Know again what a run was at; trials that had not ended begin anew, as they were drawn.

        Args:
            trials: Those that ended, in that order.

        Returns:
            The trials with their hyperparameters; those of them that the study was not told of.
        """
        params = self.study.params_of_all()
        unfinished = set(self.study.reopen())
        ended = [replace(trial, params=params.get(trial.number, {})) for trial in trials]
        untold = [trial for trial in ended if trial.number in unfinished]
        self._asked = len(params)
        for number in sorted(unfinished - {trial.number for trial in untold}):
            self._take(number).params.update(params[number])
        return ended, untold
