"""The order of writing that loses nothing: what a trial came to, on disk and in the study."""

from __future__ import annotations

from collections.abc import Callable
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
        append: Writes a report to its table.
    """

    study: Told
    run: RunDirectory
    observer: Observer
    append: Callable[[EpochReport, float], None]

    def reported(self, report: EpochReport, value: float) -> None:
        """Record what a trial reported; ``value`` is the run's metric."""
        self.append(report, value)
        self.observer.trial_reported(report, value)

    def ended(self, trial: TrialResult) -> None:
        """Record how a trial ended.

        A row of the table means that it has ended, whether or not the study was told before a kill.
        The table refers to the study, so that is made safe first.
        """
        self.study.sync()
        self.run.tables.add_trial_columns(trial.params)
        self.run.tables.append_trial(trial)
        self.study.tell(trial)
