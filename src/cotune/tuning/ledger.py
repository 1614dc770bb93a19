"""The ledger of a search: trials in training, trials that ended, and what they came to."""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from cotune.records import Direction, EpochReport, TrialResult, TrialSpec, Value


@dataclass
class RunningTrial:
    """A trial in training.

    Attributes:
        spec: What is trained.
        params: Its searched hyperparameters; kept here, because Optuna copies a trial to show them.
        epochs: Epochs that it has reported.
        value: The run's metric after the last one; None before the first.
        seconds: What its epochs took.
        best: The report of its best epoch, the first of several.
    """

    spec: TrialSpec
    params: dict[str, Value]
    epochs: int = 0
    value: float | None = None
    seconds: float = 0.0
    best: EpochReport | None = None

    @property
    def stopped_early(self) -> bool:
        """Whether as many epochs as its ``early_stopping`` were no better than the best."""
        patience = int(self.spec.params.get("early_stopping", 0))
        return self.best is not None and 0 < patience <= self.epochs - self.best.epoch


@dataclass
class Ledger:
    """The trials of a search and their scores.

    Attributes:
        direction: Of the run's metric.
        ranks_cut_short: Trials that the end of the time cut short rank beside complete ones: a
            final model of them has as many epochs as they had. Calls of an objective that were cut
            short have no such model.
        running: Trials in training, by number.
        finished: Trials that have ended, in that order.
        accuracies, losses, areas: The last accuracy of each trial, 0-1, its loss, and its AUC
            where that was computed, on the validation part, by number.
        weights: Weights of kept trials at their best epoch, by number.
        counts: How many trials ended in each state.
    """

    direction: Direction
    ranks_cut_short: bool = True
    running: dict[int, RunningTrial] = field(default_factory=dict)
    finished: list[TrialResult] = field(default_factory=list)
    accuracies: dict[int, float] = field(default_factory=dict)
    losses: dict[int, float] = field(default_factory=dict)
    areas: dict[int, float] = field(default_factory=dict)
    weights: dict[int, dict[str, NDArray[Any]]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    # Kept sorted: a search asks for the best after each of thousands of trials.
    _first: list[TrialResult] = field(default_factory=list, init=False)
    _others: list[TrialResult] = field(default_factory=list, init=False)

    @property
    def sign(self) -> float:
        """-1 where a larger value is better, so that the smaller product is; else 1."""
        return -1.0 if self.direction == "maximize" else 1.0

    def note(self, number: int, report: EpochReport) -> None:
        """Keep what a trial scores beside its value."""
        self.accuracies[number] = report.scores["accuracy"]
        self.losses[number] = report.scores["loss"]
        if "auc" in report.scores:
            self.areas[number] = report.scores["auc"]

    def add(self, trial: TrialResult) -> None:
        """Add a trial that has ended, once what it scores is noted."""
        self.finished.append(trial)
        self.counts[trial.state] += 1
        if _has_score(trial):
            insort(self._first if self._is_ranked(trial) else self._others, trial, key=self._order)

    def ranked(self, most: int | None = None) -> list[TrialResult]:
        """Return trials that a final model can be made of, best first, by their last value.

        Of equal values, as are many where few rows are judged by, the one with the smaller loss is
        first. An infinite value is no score. Trials that the pruner stopped count only where there
        are no others.

        Args:
            most: How many at most; None for all.
        """
        return (self._first or self._others)[:most]

    def rank(self, trials: Iterable[TrialResult]) -> list[TrialResult]:
        """Return these trials in the order of :meth:`ranked`."""
        scored = [trial for trial in trials if _has_score(trial)]
        first = [trial for trial in scored if self._is_ranked(trial)]
        return sorted(first or scored, key=self._order)

    def _is_ranked(self, trial: TrialResult) -> bool:
        cut_short = ("out_of_time", "patience") if self.ranks_cut_short else ()
        return trial.stop_cause in (None, "early_stopped", *cut_short)

    def _order(self, trial: TrialResult) -> tuple[float, float, int]:
        value, loss = trial.value or 0.0, self.losses.get(trial.number, math.inf)
        return self.sign * value, loss, trial.number

    def best(self) -> TrialResult | None:
        """Return the trial that ranks first, if it is complete."""
        ranked = self.ranked(1)
        return ranked[0] if ranked and ranked[0].state == "complete" else None

    def best_of(self, reports: Iterable[EpochReport], metric: str) -> EpochReport:
        """Return the first of the best reports."""
        return min(reports, key=lambda report: self.sign * report.scores[metric])


def _has_score(trial: TrialResult) -> bool:
    return trial.state != "failed" and trial.value is not None and math.isfinite(trial.value)
