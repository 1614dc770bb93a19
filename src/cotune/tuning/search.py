"""The search: keeps every place of the executor busy until trials, time or configurations end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cotune.engine.lane_state import saved_specs
from cotune.records import DIRECTIONS, Report, State, TrialResult, TrialSpec, Value, Verdict
from cotune.runs.directory import RunDirectory
from cotune.study.study import Study
from cotune.tuning.checkpointer import STOP_SECONDS, Checkpoints
from cotune.tuning.observer import Observer
from cotune.workers.base import Executor

_POLL_SECONDS = 0.1
_PRUNED = "pruned"  # the reason of trials that the pruner stopped


@dataclass
class _Running:
    spec: TrialSpec
    params: dict[str, Value]  # kept here, because Optuna copies a trial to show them
    epochs: int = 0
    value: float | None = None
    seconds: float = 0.0
    best: Report | None = None

    def record(self, report: Report, metric: str) -> None:
        """Take in an epoch's report."""
        self.epochs = report.epoch
        self.seconds += report.seconds
        if not report.error:
            self.value = report.scores[metric]
            self.best = _best_of([self.best, report] if self.best else [report], metric)

    @property
    def stopped_early(self) -> bool:
        """Whether as many epochs as its ``early_stopping`` were no better than the best."""
        patience = int(self.spec.params.get("early_stopping", 0))
        return self.best is not None and 0 < patience <= self.epochs - self.best.epoch


class Search:
    """Asks the study for trials, has them trained, and records how they end.

    Args:
        study: The study.
        executor: Trains the trials.
        run: Where finished trials and curves are recorded.
        metric: What is reported to the study, a key of a report's scores.
        observer: Told of everything.
        tick: Called about ten times a second.
        first: Trials that were enqueued. Those of the sampler wait until all but one of these have
            ended, or an engine is idle: a short run is better spent on what is likely to be good.
        n_trials: End after this many trials; None for no limit.
        deadline: When the whole run has to be over, by ``time.monotonic()``; None for no limit.
        kept: Trials that are never pruned.
        reserve: What has to be left at the end, in seconds, for trials as they rank now.
        most_epochs: How many epochs a trial has time for, by the seconds that one takes.
        stopped: Whether the user wants the run to end.
        kept_weights: Of how many complete trials, the best, the weights are kept.
        costs: What a configuration costs, by name, where that is an objective.
        patience: End when so many trials in a row were no better than the best before them by
            more than noise; None for no such end.
        noise: By how much two values of equally good trials differ by chance, about, at a value.
        checkpoints: Saves the lanes.

    Attributes:
        finished: Trials that have ended, in that order.
        together: Trials that were trained together with others, for some epochs at least.
        alone: Those that never were.
        why_alone: Why trials of a user's own network could not be.
        accuracies: The last validation accuracy of each trial, by number, 0-1.
        losses: Likewise its loss.
        areas: Likewise its AUC, where that was computed.
        weights: Those of kept trials at their best epoch, by number.
        no_patience: Why the search ended before its time, or "".
    """

    def __init__(
        self,
        study: Study,
        executor: Executor,
        run: RunDirectory,
        metric: str,
        observer: Observer,
        tick: Callable[[], None],
        first: int,
        n_trials: int | None,
        deadline: float | None,
        kept: Collection[int],
        reserve: Callable[[Sequence[TrialResult]], float],
        most_epochs: Callable[[float], int | None],
        stopped: Callable[[], bool],
        kept_weights: int = 0,
        costs: Callable[[TrialSpec], dict[str, float]] = lambda spec: {},
        patience: int | None = None,
        noise: Callable[[float], float] = lambda value: 0.0,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._study = study
        self._checkpoints = checkpoints
        self._backlog: list[TrialSpec] = []  # to be trained on, or again, when there is room
        self._executor = executor
        self._run = run
        self._metric = metric
        self._observer = observer
        self._tick = tick
        self._first = first
        self._n_trials = n_trials
        self._deadline = deadline
        self._kept = frozenset(kept)
        self._reserve = reserve
        self._most_epochs = most_epochs
        self._stopped = stopped
        self._kept_weights = kept_weights
        self._costs = costs
        self._patience = patience
        self._noise = noise
        self._record: float | None = None  # the best value that was more than noise
        self._since_record = 0
        self._losses = 0  # engines that were lost
        self._running: dict[int, _Running] = {}
        self._asked = 0
        self._lane_epochs = 0
        self._cohort_epochs = 0.0
        self.finished: list[TrialResult] = []
        self.accuracies: dict[int, float] = {}
        self.losses: dict[int, float] = {}
        self.areas: dict[int, float] = {}
        self.no_patience = ""
        self.weights: dict[int, dict[str, NDArray[Any]]] = {}
        self.together: set[int] = set()
        self.alone: set[int] = set()
        self.why_alone: set[str] = set()

    def go(self) -> None:
        """Search until the trials, the time or the configurations are used up, or a stop.

        After a stop, trials in training are left as they are, to be gone on with.
        """
        while not self._is_over():
            self._fill_places()
            if not self._running:
                break
            reports = self._executor.reports(_POLL_SECONDS)
            self._handle(reports)
            if self._checkpoints:
                self._checkpoints.step(self._handle)
            self._tick()
        if self._stopped():
            if self._checkpoints:
                self._checkpoints.finish(self._handle, STOP_SECONDS)
            self._executor.clear()
        else:
            self._end_running("patience was over" if self.no_patience else "time was up")

    def restore(
        self,
        trials: Sequence[TrialResult],
        curves: Mapping[int, Sequence[Report]],
        lanes: Sequence[Path],
        weights: Mapping[int, dict[str, NDArray[Any]]],
        state: Mapping[str, Any],
    ) -> None:
        """Go on where a run was that had been stopped or killed; before :meth:`go`.

        Args:
            trials: Those that ended, in that order.
            curves: All reports, by trial.
            lanes: Files of a checkpoint.
            weights: Likewise, of trials that ended.
            state: Likewise, what :meth:`state` was.
        """
        params = self._study.params_of_all()
        running = {spec.number: spec for spec in self._study.reopen()}
        self._study.recall(
            {
                number: {report.epoch: report.scores[self._metric] for report in reports}
                for number, reports in curves.items()
            }
        )
        for number, reports in curves.items():
            self._note(number, reports[-1])
        for trial in trials:
            ended = replace(trial, params=params[trial.number])
            if trial.stopped_early and trial.number in curves:
                best = _best_of(curves[trial.number], self._metric)
                self._note(trial.number, best)
            if trial.number not in self.accuracies and trial.value is not None:
                self.accuracies[trial.number] = trial.value  # its curve was lost with the power
            if running.pop(trial.number, None):  # killed before the study was told
                self._tell(ended)
            self.finished.append(ended)
            self._lose_patience(ended)
        self.weights = dict(weights)
        self._asked = self._study.asked
        self._lane_epochs = int(state.get("lane_epochs", 0))
        self._cohort_epochs = float(state.get("cohort_epochs", 0.0))
        self.together = set(state.get("together", ()))
        self.alone = set(state.get("alone", ()))
        self.why_alone = set(state.get("why_alone", ()))
        for number, spec in running.items():
            self._running[number] = _Running(spec, params[number])
            for report in curves.get(number, []):
                self._running[number].record(report, self._metric)
        for number in [n for n, trial in self._running.items() if self._is_complete(trial)]:
            self._complete(self._running[number])  # killed before that was recorded
            del running[number]
        for path in lanes:
            saved = [spec for spec in saved_specs(path) if running.get(spec.number) == spec]
            if saved:
                self._executor.submit(saved, lanes)
            for spec in saved:
                del running[spec.number]
        self._backlog = list(running.values())
        specs = [trial.spec for trial in self._running.values()]
        self._observer.resumed(self.finished, specs, self._best_complete())

    def be_patient(self) -> None:
        """Count the trials without a gain from here on."""
        self.no_patience, self._since_record = "", 0

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` cannot find in the run's tables."""
        return {
            "lane_epochs": self._lane_epochs,
            "cohort_epochs": self._cohort_epochs,
            "together": sorted(self.together),
            "alone": sorted(self.alone),
            "why_alone": sorted(self.why_alone),
        }

    def _handle(self, reports: Sequence[Report]) -> None:
        for reason in self._executor.lost[self._losses :]:
            self._study.mark_disturbed()
            self._observer.engine_lost(reason)
        self._losses = len(self._executor.lost)
        self._executor.apply(self._judge(reports))

    def _note(self, number: int, report: Report) -> None:
        """Keep what a trial counts as beside its value."""
        self.accuracies[number] = report.scores["accuracy"]
        self.losses[number] = report.scores["loss"]
        if "auc" in report.scores:
            self.areas[number] = report.scores["auc"]

    @property
    def _first_running(self) -> int:
        return sum(number < self._first for number in self._running)

    @property
    def running(self) -> int:
        """Trials in training."""
        return len(self._running)

    def ranked(self) -> list[TrialResult]:
        """Trials that a final model can be made of, best first, by their last value.

        Of equal values, as are many where few rows are judged by, the one with the smaller loss.

        Complete ones and those that the end of the time cut short, which would be trained for as
        many epochs as they had; where there are none, those that the pruner stopped.
        """
        return self._rank(self.finished)

    def _best_complete(self) -> TrialResult | None:
        """The trial that ranks first, if it is complete."""
        ranked = self.ranked()
        return ranked[0] if ranked and ranked[0].state == "complete" else None

    def _rank(self, trials: Sequence[TrialResult]) -> list[TrialResult]:
        with_value = [t for t in trials if t.value is not None and t.state != "failed"]
        unpruned = [t for t in with_value if t.reason != _PRUNED]
        sign = -1.0 if DIRECTIONS[self._metric] == "maximize" else 1.0

        def order(trial: TrialResult) -> tuple[float, float, int]:
            value, loss = trial.value or 0.0, self.losses.get(trial.number, math.inf)
            return sign * value, loss, trial.number

        return sorted(unpruned or with_value, key=order)

    def _so_far(self, running: _Running, state: State = "pruned", reason: str = "") -> TrialResult:
        """A running trial as it would be recorded if it ended now."""
        costs = self._costs(running.spec) if state == "complete" else {}
        return TrialResult(
            number=running.spec.number,
            state=state,
            value=running.value,
            epochs=running.epochs,
            params=running.params,
            seconds=running.seconds,
            reason=reason,
            costs=costs,
        )

    def _is_over(self) -> bool:
        if self._stopped() or self.no_patience:
            return True
        if self._deadline is None:
            return False
        candidates = self._rank([*self.finished, *map(self._so_far, self._running.values())])
        return time.monotonic() + self._reserve(candidates) >= self._deadline

    def _fill_places(self) -> None:
        openings = self._executor.openings()
        while openings and self._backlog:
            size = openings.pop(0)
            group, self._backlog = self._backlog[:size], self._backlog[size:]
            self._executor.submit(group)
        for i, size in enumerate(openings):
            # The first and the last trials are shared out, so that no engine waits for another.
            engines = len(openings) - i
            if self._asked < self._first:
                size = min(size, -(-(self._first - self._asked) // engines))
            elif size < self._executor.lanes and self._first_running > 1:
                return
            if self._n_trials is not None:
                size = min(size, -(-(self._n_trials - self._asked) // engines))
            if size < 1 or self._study.exhausted:
                return
            specs = self._study.ask(size, self._executor.alone)
            self._asked += len(specs)
            self._executor.submit(specs)
            for spec in specs:
                self._running[spec.number] = _Running(spec, self._study.params(spec.number))
                self._observer.trial_started(spec)

    def _judge(self, reports: Sequence[Report]) -> list[Verdict]:
        """Record reports and decide whether their trials go on; failed ones need no verdict."""
        values: dict[int, tuple[int, float]] = {}
        again: list[tuple[int, int]] = []
        for report in reports:
            running = self._running[report.number]
            if report.epoch <= running.epochs and not report.error:
                again.append(
                    (report.number, report.epoch)
                )  # its engine was lost, or the run killed
                continue
            running.record(report, self._metric)
            self._lane_epochs += 1
            self._cohort_epochs += 1 / report.lanes
            if report.lanes > 1:
                self.together.add(report.number)
                self.alone.discard(report.number)
            elif report.number not in self.together:
                self.alone.add(report.number)
            if report.alone:
                self.why_alone.add(report.alone)
            if report.error:
                self._end(running, "failed", f"epoch {report.epoch}: {report.error}")
                continue
            self._note(report.number, report)
            assert running.value is not None
            self._run.tables.append_report(report)
            self._observer.trial_reported(report, running.value)
            values[report.number] = (report.epoch, running.value)
        stopped = self._study.report(values) - self._kept if values else set()
        verdicts = [Verdict(number, False, epoch) for number, epoch in again]
        for number in values:
            running = self._running[number]
            is_over = self._is_complete(running)
            if is_over:
                self._complete(running)
                self._keep(number)
            elif number in stopped:
                self._end(running, "pruned", _PRUNED)
            verdicts.append(Verdict(number, is_over or number in stopped, running.epochs))
        return verdicts

    def _is_complete(self, running: _Running) -> bool:
        """Whether it has all epochs that it wants, or has time for, or is no longer better."""
        return self._has_all_epochs(running) or running.stopped_early

    def _complete(self, running: _Running) -> None:
        """End a trial; one that is stopped early counts as it was at its best."""
        reason = ""
        if running.best is not None and not self._has_all_epochs(running):
            reason = f"stopped early: none was better than epoch {running.best.epoch}"
            running.value = running.best.scores[self._metric]
            self._note(running.spec.number, running.best)
        self._end(running, "complete", reason)

    def _has_all_epochs(self, running: _Running) -> bool:
        if running.epochs == 0:
            return False
        most = self._most_epochs(running.seconds / running.epochs)
        return running.epochs >= min(running.spec.epochs, most or running.spec.epochs)

    def _keep(self, number: int) -> None:
        """Keep a complete trial's weights if it is among the best."""
        best = {trial.number for trial in self.ranked()[: self._kept_weights]}
        if number in best and (weights := self._executor.weights(number, best=True)):
            self.weights[number] = weights
        self.weights = {n: weights for n, weights in self.weights.items() if n in best}

    @property
    def mean_lanes(self) -> float:
        """Lanes of a cohort, on average over the epochs of all trials."""
        return self._lane_epochs / self._cohort_epochs if self._cohort_epochs else 0.0

    def _end(self, running: _Running, state: State, reason: str) -> None:
        number = running.spec.number
        result = self._so_far(running, state, reason)
        # What is in the table has ended, whether or not the study was told; it is in the study.
        self._study.sync()
        self._run.tables.append_trial(result)
        self._tell(result)
        del self._running[number]
        self.finished.append(result)
        self._observer.trial_ended(result, self._best_complete())
        self._lose_patience(result)

    def _tell(self, trial: TrialResult) -> None:
        costs = list(trial.costs.values())
        self._study.tell(trial.number, trial.state, trial.value, trial.reason, costs)

    def _lose_patience(self, trial: TrialResult) -> None:
        """Count the trials since one was better than the best before by more than noise."""
        if self._patience is None:
            return
        if trial.value is not None and trial.state != "failed":
            sign = 1.0 if DIRECTIONS[self._metric] == "maximize" else -1.0
            before = self._record
            if before is None or sign * (trial.value - before) > self._noise(before):
                self._record, self._since_record = trial.value, 0
                return
        self._since_record += 1
        if self._since_record >= self._patience and self._record is not None:
            noise = self._noise(self._record)
            self.no_patience = (
                f"patience: none of the last {self._since_record} trials was better than "
                f"{self._record:.4f} by more than {noise:.4f}, the noise of the validation part"
            )

    def _end_running(self, reason: str) -> None:
        """Trials still in training are cut short, which Optuna calls pruned."""
        self._executor.clear()
        for running in list(self._running.values()):
            epochs = f"epoch {running.epochs} of {running.spec.epochs}"
            self._end(running, "pruned", f"{reason} after {epochs}")


def _best_of(reports: Sequence[Report], metric: str) -> Report:
    """The first of the best."""
    sign = 1.0 if DIRECTIONS[metric] == "maximize" else -1.0
    return max(reports, key=lambda report: sign * report.scores[metric])
