"""The ledger of a search: trials in training, trials that ended, and what they came to."""

from __future__ import annotations

import math
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
    """

    direction: Direction
    ranks_cut_short: bool = True
    running: dict[int, RunningTrial] = field(default_factory=dict)
    finished: list[TrialResult] = field(default_factory=list)
    accuracies: dict[int, float] = field(default_factory=dict)
    losses: dict[int, float] = field(default_factory=dict)
    areas: dict[int, float] = field(default_factory=dict)
    weights: dict[int, dict[str, NDArray[Any]]] = field(default_factory=dict)

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

    def ranked(self) -> list[TrialResult]:
        """Return trials that a final model can be made of, best first, by their last value.

        Of equal values, as are many where few rows are judged by, the one with the smaller loss is
        first. An infinite value is no score. Trials that the pruner stopped count only where there
        are no others.
        """
        return self.rank(self.finished)

    def rank(self, trials: Iterable[TrialResult]) -> list[TrialResult]:
        """Return these trials in the order of :meth:`ranked`."""
        scored = [
            trial
            for trial in trials
            if trial.state != "failed" and trial.value is not None and math.isfinite(trial.value)
        ]
        cut_short = ("out_of_time", "patience") if self.ranks_cut_short else ()
        ranked = (None, "early_stopped", *cut_short)
        first = [trial for trial in scored if trial.stop_cause in ranked]

        def order(trial: TrialResult) -> tuple[float, float, int]:
            value, loss = trial.value or 0.0, self.losses.get(trial.number, math.inf)
            return self.sign * value, loss, trial.number

        return sorted(first or scored, key=order)

    def best(self) -> TrialResult | None:
        """Return the trial that ranks first, if it is complete."""
        ranked = self.ranked()
        return ranked[0] if ranked and ranked[0].state == "complete" else None

    def counts(self) -> Counter[str]:
        """Return how many trials ended in each state."""
        return Counter(trial.state for trial in self.finished)

    def best_of(self, reports: Iterable[EpochReport], metric: str) -> EpochReport:
        """Return the first of the best reports."""
        return min(reports, key=lambda report: self.sign * report.scores[metric])
