"""Trials of a search on engines: asked from the study, trained epoch by epoch, judged at rungs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cotune.records import (
    CUT_SHORT,
    EpochReport,
    State,
    StopCause,
    TrialResult,
    TrialSpec,
    Verdict,
)
from cotune.study.study import Study
from cotune.tuning.checkpointer import Checkpoints, Weights, resume_lanes
from cotune.tuning.ledger import Ledger, RunningTrial
from cotune.tuning.lineup import Lineup
from cotune.tuning.trial_runner import Events, Handle, TrialRunner
from cotune.workers.base import Executor


@dataclass
class LaneCounts:
    """The counts of trials that were trained together with others, or alone.

    Attributes:
        together: Trials that were trained together with others, for some epochs at least.
        alone: Those that never were.
        why_alone: Why trials of a user's own network could not be.
    """

    together: set[int] = field(default_factory=set)
    alone: set[int] = field(default_factory=set)
    why_alone: set[str] = field(default_factory=set)
    lane_epochs: int = 0
    cohort_epochs: float = 0.0

    def take(self, report: EpochReport) -> None:
        """Count an epoch."""
        self.lane_epochs += 1
        self.cohort_epochs += 1 / report.lanes
        if report.lanes > 1:
            self.together.add(report.number)
            self.alone.discard(report.number)
        elif report.number not in self.together:
            self.alone.add(report.number)
        if report.alone:
            self.why_alone.add(report.alone)

    @property
    def mean_lanes(self) -> float:
        """Lanes of a cohort, on average over the epochs of all trials."""
        return self.lane_epochs / self.cohort_epochs if self.cohort_epochs else 0.0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, as JSON."""
        return {
            "lane_epochs": self.lane_epochs,
            "cohort_epochs": self.cohort_epochs,
            "together": sorted(self.together),
            "alone": sorted(self.alone),
            "why_alone": sorted(self.why_alone),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take in what :meth:`state` returned."""
        self.lane_epochs = int(state.get("lane_epochs", 0))
        self.cohort_epochs = float(state.get("cohort_epochs", 0.0))
        self.together = set(state.get("together", ()))
        self.alone = set(state.get("alone", ()))
        self.why_alone = set(state.get("why_alone", ()))


@dataclass
class EngineRunner(TrialRunner):
    """Has an executor train the trials that a study draws.

    Attributes:
        lineup: Trials of the sampler wait until all but one of these have ended, or an engine is
            idle: a short run is better spent on what is likely to be good.
        metric: What is reported to the study, a key of a report's scores.
        most_epochs: Returns how many epochs a trial has time for, by the seconds that one takes;
            None for any number.
        trained_as: Returns a trial as it is trained.
        too_slow: Returns why a trial has no time, or "".
        n_saved_models: Of how many complete trials, the best, the weights are kept.
        costs: Returns what a configuration costs, by name, where that is an objective.
        checkpoints: Saves the lanes.
        lane_counts: Counts how trials were trained.
    """

    study: Study
    executor: Executor
    ledger: Ledger
    lineup: Lineup
    metric: str
    most_epochs: Callable[[float], int | None] = lambda seconds: None
    trained_as: Callable[[TrialSpec], TrialSpec] = lambda spec: spec
    too_slow: Callable[[TrialSpec], str] = lambda spec: ""
    n_saved_models: int = 0
    costs: Callable[[TrialSpec], dict[str, float]] = lambda spec: {}
    checkpoints: Checkpoints | None = None
    lane_counts: LaneCounts = field(default_factory=LaneCounts)
    # To be trained on, or again, when there is room.
    _backlog: list[TrialSpec] = field(default_factory=list, init=False)
    _verdicts: list[Verdict] = field(default_factory=list, init=False)
    _not_begun: list[TrialResult] = field(default_factory=list, init=False)

    @property
    def asked(self) -> int:
        return self.study.asked

    @property
    def wants_more(self) -> bool:
        return not self.study.exhausted

    def fill(self, most: float) -> list[TrialSpec]:
        started: list[TrialSpec] = []
        openings = self.executor.openings()
        while openings and self._backlog:
            size = openings.pop(0)
            group, self._backlog = self._backlog[:size], self._backlog[size:]
            self.executor.submit(group)
        first, total = len(self.lineup), self.asked + most
        for i, size in enumerate(openings):
            # The first and the last trials are shared out, so that no engine waits for another.
            engines = len(openings) - i
            if self.asked < first:
                size = min(size, -(-(first - self.asked) // engines))
            elif size < self.executor.lanes and self._first_running > 1:
                break
            if not math.isinf(total):
                size = min(size, -(-(int(total) - self.asked) // engines))
            if size < 1 or self.study.exhausted:
                break
            specs = self._begin(self.study.ask(size, self.executor.alone))
            if specs:
                self.executor.submit(specs)
            started += specs
        return started

    def _begin(self, asked: Sequence[TrialSpec]) -> list[TrialSpec]:
        """Note which trials are in training; return those that have time for it."""
        begun = []
        for spec in map(self.trained_as, asked):
            running = RunningTrial(spec, self.study.params(spec.number))
            self.ledger.running[spec.number] = running
            if reason := self.too_slow(spec):
                self._not_begun.append(self._end(running, "pruned", reason))
            else:
                begun.append(spec)
        return begun

    @property
    def _first_running(self) -> int:
        return sum(number < len(self.lineup) for number in self.ledger.running)

    def events(self, timeout: float) -> Events:
        events = self._take(self.executor.reports(0.0 if self._not_begun else timeout))
        ended, self._not_begun = [*self._not_begun, *events.ended], []
        return replace(events, ended=ended)

    def _take(self, reports: Sequence[EpochReport]) -> Events:
        """Sort out reports; those of epochs that are trained again only let their trials go on."""
        lost = self.executor.take_lost()
        if lost:
            self.study.mark_not_deterministic()
        reported, failed = list[tuple[EpochReport, float]](), list[TrialResult]()
        for report in reports:
            running = self.ledger.running[report.number]
            if report.epoch <= running.epochs and not report.error:
                # Its engine was lost, or the run killed.
                horizon = self._horizon(running)
                self._verdicts.append(Verdict(report.number, False, report.epoch, horizon))
                continue
            self._record(running, report)
            self.lane_counts.take(report)
            if report.error:
                failed.append(self._end(running, "failed", report.failure))
                continue
            self.ledger.note(report.number, report)
            assert running.value is not None
            reported.append((report, running.value))
        return Events(reported, failed, lost)

    def _record(self, running: RunningTrial, report: EpochReport) -> None:
        running.epochs = report.epoch
        running.seconds += report.seconds
        if not report.error:
            running.value = report.scores[self.metric]
            known = [running.best] if running.best else []
            running.best = self.ledger.best_of([*known, report], self.metric)

    def judge(self, reported: Sequence[tuple[EpochReport, float]]) -> list[TrialResult]:
        values = {report.number: (report.epoch, value) for report, value in reported}
        weak = self.study.report(values) - self.lineup.never_pruned if values else set()
        ended = []
        for number in values:
            running = self.ledger.running[number]
            over, horizon = self._is_complete(running), self._horizon(running)
            # Before its rate has fallen, a trial looks worse than it will be.
            is_weak = number in weak and horizon is None
            if over:
                ended.append(self._complete(running))
            elif is_weak:
                ended.append(self._end(running, "pruned", CUT_SHORT["pruned"]))
            self._verdicts.append(Verdict(number, over or is_weak, running.epochs, horizon))
        return ended

    def apply(self) -> None:
        self._keep_weights()
        verdicts, self._verdicts = self._verdicts, []
        self.executor.apply(verdicts)

    def _keep_weights(self) -> None:
        """Keep the weights of trials that have just completed, and are among the best."""
        ledger, most = self.ledger, self.n_saved_models
        ended = {verdict.number for verdict in self._verdicts if verdict.stop}
        if not most or not ended:
            return
        best = {trial.number for trial in ledger.ranked(most)}
        for trial in ledger.finished[-len(ended) :]:
            is_wanted = trial.number in best & ended and trial.state == "complete"
            if is_wanted and (weights := self.executor.weights(trial.number, best=True)):
                ledger.weights[trial.number] = weights
        ledger.weights = {n: weights for n, weights in ledger.weights.items() if n in best}

    def wind_up(self) -> float:
        return 0.0

    def cut(self, cause: StopCause) -> list[TrialResult]:
        """Stop all trials at once; Optuna calls what was cut short pruned."""
        self.executor.clear()
        return [
            self._end(
                one, "pruned", f"{CUT_SHORT[cause]} after epoch {one.epochs} of {one.spec.epochs}"
            )
            for one in list(self.ledger.running.values())
        ]

    def save(self, handle: Handle) -> None:
        if self.checkpoints:
            self.checkpoints.step(lambda reports: handle(self._take(reports)))

    def halt(self, handle: Handle) -> None:
        if self.checkpoints:
            self.checkpoints.finish(lambda reports: handle(self._take(reports)))
        self.executor.clear()

    def so_far(self) -> list[TrialResult]:
        """Return the running trials as they would be recorded if they ended now."""
        return [_result(running, "pruned", "") for running in self.ledger.running.values()]

    def restore(
        self,
        trials: Sequence[TrialResult],
        curves: Mapping[int, Sequence[EpochReport]],
        lanes: Sequence[Path],
        weights: Weights,
        state: Mapping[str, Any],
    ) -> tuple[list[TrialResult], list[TrialResult], list[TrialResult]]:
        """Know again what a run was at that had been stopped or killed.

        Args:
            trials: Those that ended, in that order.
            curves: All reports, by trial.
            lanes: Files of a checkpoint.
            weights: Of trials that ended, from the checkpoint.

        Returns:
            The trials with their hyperparameters; those of them that the study was not told of;
            those that had ended, but have no row.
        """
        ledger = self.ledger
        params = self.study.params_of_all()
        running = {spec.number: self.trained_as(spec) for spec in self.study.reopen()}
        metric = self.metric
        self.study.recall(
            {
                number: {report.epoch: report.scores[metric] for report in reports}
                for number, reports in curves.items()
            }
        )
        for number, reports in curves.items():
            ledger.note(number, reports[-1])
        ended, untold = list[TrialResult](), list[TrialResult]()
        for trial in trials:
            ended.append(replace(trial, params=params[trial.number]))
            if trial.stop_cause == "early_stopped" and trial.number in curves:
                ledger.note(trial.number, ledger.best_of(curves[trial.number], metric))
            if trial.number not in ledger.accuracies and trial.value is not None:
                ledger.accuracies[trial.number] = trial.value  # its curve was lost with the power
            if running.pop(trial.number, None):  # killed before the study was told
                untold.append(ended[-1])
        ledger.weights = dict(weights)
        self.lane_counts.restore(state)
        for number, spec in running.items():
            ledger.running[number] = RunningTrial(spec, params[number])
            for report in curves.get(number, []):
                self._record(ledger.running[number], report)
        complete = [one for one in list(ledger.running.values()) if self._is_complete(one)]
        unrecorded = [self._complete(one) for one in complete]
        for trial in unrecorded:
            del running[trial.number]
        resumed = resume_lanes(self.executor, lanes, running)
        self._backlog = [spec for number, spec in running.items() if number not in resumed]
        return ended, untold, unrecorded

    def _is_complete(self, running: RunningTrial) -> bool:
        """Return whether it has all epochs it wants or has time for, or stopped improving."""
        return self._has_all_epochs(running) or running.stopped_early

    def _has_all_epochs(self, running: RunningTrial) -> bool:
        if running.epochs == 0:
            return False
        return running.epochs >= self._epochs_in_time(running)

    def _horizon(self, running: RunningTrial) -> int | None:
        """Return the epochs by whose end a trial's rate falls to zero; None where that is fixed."""
        return None if running.spec.horizon is None else self._epochs_in_time(running)

    def _epochs_in_time(self, running: RunningTrial) -> int:
        most = self.most_epochs(running.seconds / running.epochs)
        return min(running.spec.epochs, most or running.spec.epochs)

    def _complete(self, running: RunningTrial) -> TrialResult:
        """End a trial; one that is stopped early counts as it was at its best."""
        reason = ""
        if running.best is not None and not self._has_all_epochs(running):
            reason = f"stopped early: none was better than epoch {running.best.epoch}"
            running.value = running.best.scores[self.metric]
            self.ledger.note(running.spec.number, running.best)
        return self._end(running, "complete", reason)

    def _end(self, running: RunningTrial, state: State, reason: str) -> TrialResult:
        del self.ledger.running[running.spec.number]
        costs = self.costs(running.spec) if state == "complete" else {}
        return _result(running, state, reason, costs)


def _result(
    running: RunningTrial, state: State, reason: str, costs: Mapping[str, float] | None = None
) -> TrialResult:
    return TrialResult(
        number=running.spec.number,
        state=state,
        value=running.value,
        epochs=running.epochs,
        params=running.params,
        seconds=running.seconds,
        reason=reason,
        costs=dict(costs or {}),
    )
