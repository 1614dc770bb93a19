"""The order of writing that loses nothing: what a trial came to, on disk and in the study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cotune.records import EpochReport, TrialResult
from cotune.runs.directory import RunDirectory
from cotune.tuning.observer import Observer


class Told(Protocol):
    """A study that is told how trials end."""

    def sync(self) -> None:
        """Make what was recorded survive a power loss."""

    def tell(self, trial: TrialResult) -> None:
        """End a running trial."""


@dataclass
class Recorder:
    """Records reports and results of trials, and announces them.

    Attributes:
        observer: Told of everything, once it is recorded.
        append: Writes reports to their table.
    """

    study: Told
    run: RunDirectory
    observer: Observer
    append: Callable[[Sequence[tuple[EpochReport, float]]], None]

    def reported(self, reported: Sequence[tuple[EpochReport, float]]) -> None:
        """Record what trials reported, each with its value of the run's metric."""
        if reported:
            self.append(reported)
        for report, value in reported:
            self.observer.trial_reported(report, value)

    def ended(self, trials: Sequence[TrialResult]) -> None:
        """Record how trials ended.

        A row of the table means that one has ended, whether or not the study was told before a
        kill. The table refers to the study, so that is made safe first. A disk takes milliseconds
        for that, so it is done once for trials that end together.
        """
        if not trials:
            return
        self.study.sync()
        for trial in trials:
            self.run.tables.add_trial_columns(trial.params)
        self.run.tables.append_trials(trials)
        for trial in trials:
            self.study.tell(trial)
