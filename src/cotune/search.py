"""The search: keeps every place of the executor busy until trials, time or configurations end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from cotune.executors.base import Executor
from cotune.observer import Observer
from cotune.results import Report, State, TrialResult, TrialSpec, Verdict
from cotune.rundir import RunDirectory
from cotune.study import DIRECTIONS, Study

_POLL_SECONDS = 0.1


@dataclass
class _Running:
    spec: TrialSpec
    epochs: int = 0
    value: float | None = None
    seconds: float = 0.0


class Search:
    """Asks the study for trials, has them trained, and records how they end.

    Args:
        study: The study.
        executor: Trains the trials.
        run: Where finished trials and curves are recorded.
        metric: What is reported to the study, a key of a report's scores.
        observer: Told of everything.
        tick: Called about ten times a second.
        n_trials: End after this many trials; None for no limit.
        deadline: When the whole run has to be over, by ``time.monotonic()``; None for no limit.
        final_seconds: What training and testing a trial's configuration for good will take.
        stopped: Whether the user wants the run to end.

    Attributes:
        finished: Trials that have ended, in that order.
        accuracies: The last validation accuracy of each trial, by number, 0-1.
    """

    def __init__(
        self,
        study: Study,
        executor: Executor,
        run: RunDirectory,
        metric: str,
        observer: Observer,
        tick: Callable[[], None],
        n_trials: int | None,
        deadline: float | None,
        final_seconds: Callable[[TrialResult], float],
        stopped: Callable[[], bool],
    ) -> None:
        self._study = study
        self._executor = executor
        self._run = run
        self._metric = metric
        self._observer = observer
        self._tick = tick
        self._n_trials = n_trials
        self._deadline = deadline
        self._final_seconds = final_seconds
        self._stopped = stopped
        self._running: dict[int, _Running] = {}
        self._asked = 0
        self.finished: list[TrialResult] = []
        self.accuracies: dict[int, float] = {}

    def go(self) -> None:
        """Search until the trials, the time or the configurations are used up, or a stop."""
        while not self._is_over():
            self._fill_places()
            if not self._running:
                break
            reports = self._executor.reports(_POLL_SECONDS)
            self._executor.apply([v for report in reports if (v := self._judge(report))])
            self._tick()
        self._end_running("stopped by the user" if self._stopped() else "time was up")

    @property
    def running(self) -> int:
        """Trials in training."""
        return len(self._running)

    def ranked(self) -> list[TrialResult]:
        """Trials that a final model can be made of, best first.

        Complete ones; where there are none, those that were cut short, by their last value.
        """
        with_value = [t for t in self.finished if t.value is not None and t.state != "failed"]
        complete = [t for t in with_value if t.state == "complete"]
        sign = -1.0 if DIRECTIONS[self._metric] == "maximize" else 1.0
        return sorted(complete or with_value, key=lambda t: (sign * (t.value or 0.0), t.number))

    def _is_over(self) -> bool:
        if self._stopped():
            return True
        if self._deadline is None:
            return False
        ranked = self.ranked()
        reserve = self._final_seconds(ranked[0]) if ranked else 0.0
        return time.monotonic() + reserve >= self._deadline

    def _fill_places(self) -> None:
        while len(self._running) < self._executor.places and not self._study.exhausted:
            if self._n_trials is not None and self._asked >= self._n_trials:
                return
            spec = self._study.ask()
            self._asked += 1
            self._running[spec.number] = _Running(spec)
            self._executor.submit([spec])
            self._observer.trial_started(spec)

    def _judge(self, report: Report) -> Verdict | None:
        """Record a report and decide whether its trial goes on; None when it has failed."""
        running = self._running[report.number]
        running.epochs = report.epoch
        running.seconds += report.seconds
        if report.error:
            self._end(running, "failed", f"epoch {report.epoch}: {report.error}")
            return None
        self.accuracies[report.number] = report.scores["accuracy"]
        running.value = value = report.scores[self._metric]
        if not math.isfinite(value):
            raise ValueError(f"trial {report.number}: an engine reported {self._metric} {value}")
        self._run.append_report(report)
        self._observer.trial_reported(report, value)
        prune = self._study.report(report.number, report.epoch, value)
        if report.epoch >= running.spec.epochs:
            self._end(running, "complete", "")
        elif prune:
            self._end(running, "pruned", "pruned")
        else:
            return Verdict(report.number, stop=False)
        return Verdict(report.number, stop=True)

    def _end(self, running: _Running, state: State, reason: str) -> None:
        number = running.spec.number
        result = TrialResult(
            number=number,
            state=state,
            value=running.value,
            epochs=running.epochs,
            params=self._study.params(number),
            seconds=running.seconds,
            reason=reason,
        )
        self._study.tell(number, state, running.value, reason)
        self._run.append_trial(result)
        del self._running[number]
        self.finished.append(result)
        ranked = self.ranked()
        best = ranked[0] if ranked and ranked[0].state == "complete" else None
        self._observer.trial_ended(result, best)

    def _end_running(self, reason: str) -> None:
        """Trials still in training are cut short, which Optuna calls pruned."""
        for running in list(self._running.values()):
            self._executor.apply([Verdict(running.spec.number, stop=True)])
            epochs = f"epoch {running.epochs} of {running.spec.epochs}"
            self._end(running, "pruned", f"{reason} after {epochs}")
