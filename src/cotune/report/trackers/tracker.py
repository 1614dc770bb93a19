"""What trackers have in common: a thread, so that the search does not wait for them."""

from __future__ import annotations

import queue
import threading
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from cotune.exceptions import CotuneError
from cotune.records import FINAL_NUMBER, EpochReport, TrialResult
from cotune.runs.config import RunConfig
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import Summary
from cotune.tuning.observer import Observer

_END_SECONDS: Final = 30.0  # for what is left when a run has ended

Curve = list[tuple[int, dict[str, float]]]
"""Scores by name after epochs."""


class Tracker(Observer):
    """Tells a tool of a run: its trials as they end, its final model, its report.

    A tool that fails does not stop a run: that is told, and the tool is left alone.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self._curves: dict[int, Curve] = {}
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._do, daemon=True)
        self._run: RunDirectory | None = None
        self._problem = ""

    @abstractmethod
    def _begin(self, run: RunDirectory) -> None:
        """Begin a run in the tool, or take the one that it has of this directory."""

    @abstractmethod
    def _trial(self, trial: TrialResult, curve: Curve) -> None:
        """Add a trial that has ended."""

    @abstractmethod
    def _end(self, run: RunDirectory, summary: Summary, final: Curve) -> None:
        """Add what the run came to; ``final`` is the final model's training."""

    def run_started(self, run: RunDirectory, began: float, timeout: float | None) -> None:
        self._run = run
        self._work.put(lambda: self._begin(run))
        self._thread.start()

    def trial_reported(self, report: EpochReport, value: float) -> None:
        self._note(report)

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        curve = self._curves.pop(trial.number, [])
        self._work.put(lambda: self._trial(trial, curve))

    def final_reported(self, report: EpochReport) -> None:
        if report.number == FINAL_NUMBER:
            self._note(report)

    def _note(self, report: EpochReport) -> None:
        scores = {"train_loss": report.train_loss, "train_accuracy": report.train_accuracy}
        kept = {name: value for name, value in scores.items() if value == value}
        self._curves.setdefault(report.number, []).append((report.epoch, {**kept, **report.scores}))

    def run_ended(self) -> None:
        run = self._run
        if run is None:
            return
        final = self._curves.pop(FINAL_NUMBER, [])
        try:
            summary = run.summary()
        except CotuneError:
            summary = None  # it ended before it had one
        if summary is not None:
            self._work.put(lambda: self._end(run, summary, final))
        self._work.put(None)
        self._thread.join(_END_SECONDS)
        if self._thread.is_alive():
            self._problem = f"it takes longer than {_END_SECONDS:g} s"
        if self._problem:
            warnings.warn(f"log: {self.name} does not have all: {self._problem}", stacklevel=2)

    def _do(self) -> None:
        while (work := self._work.get()) is not None:
            if self._problem:
                continue
            try:
                work()
            except Exception as error:  # of any kind: the run goes on
                text = " ".join(str(error).split())
                self._problem = f"{type(error).__name__}: {text}"[:200]


def figures_of(summary: Summary) -> dict[str, float]:
    """Return a run's final figures by name."""
    figures: dict[str, float] = {"trials": float(summary.trials.total)}
    if summary.best is not None and summary.best.value is not None:
        figures["best_value"] = summary.best.value
    final = summary.final
    if final is not None and final.test_accuracy is not None:
        figures["test_accuracy"] = final.test_accuracy
        figures |= {f"test_{name}": value for name, value in (final.test_scores or {}).items()}
    return figures


def settings_of(run: RunDirectory) -> Mapping[str, Any]:
    """Return what a run was asked for, in short."""
    config = run.config()
    shown = {
        "sampler": config.sampler,
        "pruner": config.pruner,
        "metric": config.metric,
        "seed": config.seed,
        "n_trials": config.n_trials,
        "timeout": config.timeout_seconds,
    }
    if isinstance(config, RunConfig):
        shown["data"] = config.dataset.name
    return {name: value for name, value in shown.items() if value is not None}
