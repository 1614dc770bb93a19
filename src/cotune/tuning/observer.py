"""Hooks that a run calls as it proceeds; they do nothing by default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cotune.records import (
    EpochReport,
    Finalist,
    FinalResult,
    ObjectiveFinalist,
    TrialResult,
    TrialSpec,
)
from cotune.runs.directory import RunDirectory


class Observer:
    """Override what you want to see; every call comes from the thread that runs the search."""

    def run_started(self, run: RunDirectory, began: float, timeout: float | None) -> None:
        """Note that the data is read and the search begins.

        Args:
            run: Its configuration is written.
            began: When the timeout began to count, by ``time.monotonic()``.
            timeout: Seconds for everything, or None.
        """

    def resumed(
        self,
        finished: Sequence[TrialResult],
        running: Sequence[TrialSpec],
        best: TrialResult | None,
    ) -> None:
        """Note that the run is resumed: these trials have ended, those are in training."""

    def engine_lost(self, reason: str) -> None:
        """Note that a worker process ended, failed or hung; another resumes its trials."""

    def trial_started(self, spec: TrialSpec) -> None:
        """Note that a trial was started."""

    def trial_reported(self, report: EpochReport, value: float) -> None:
        """Note that a trial ended an epoch; ``value`` is the run's metric."""

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        """Note that a trial is finished; ``best`` is the best complete one so far."""

    def finalists_started(self, trials: Sequence[TrialResult], rounds: int) -> None:
        """Note that the search is over and these are retrained, in so many rounds at most."""

    def finalists_reported(self, report: EpochReport) -> None:
        """Note that a training of a finalist ended an epoch."""

    def finalists_ended(self, finalists: Sequence[Finalist]) -> None:
        """Note the finalists' means, best first, those that reached later rounds first."""

    def repeats_started(self, trials: Sequence[TrialResult], repeats: int) -> None:
        """Note that an objective's search is over; these trials are called again."""

    def repeat_ended(self, number: int, value: float | None) -> None:
        """Note what it returned for a finalist; None where it failed."""

    def repeats_ended(self, finalists: Sequence[ObjectiveFinalist]) -> None:
        """Note an objective's finalists, best first."""

    def final_started(self, trial: TrialResult, spec: TrialSpec) -> None:
        """Note that the final training of this trial's configuration started."""

    def final_reported(self, report: EpochReport) -> None:
        """Note that the final model ended an epoch."""

    def final_ended(self, final: FinalResult) -> None:
        """Note that the final model was tested."""

    def run_ended(self) -> None:
        """Note that nothing more will be told, whether the run is complete or not."""

    def tick(self) -> None:
        """Show that time passes; called about ten times a second."""


class Observers(Observer):
    """Several observers that are told the same, in turn."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)


def _tell_all(name: str) -> Callable[..., None]:
    def tell(self: Observers, *arguments: Any) -> None:
        for observer in self._observers:
            getattr(observer, name)(*arguments)

    tell.__name__, tell.__doc__ = name, getattr(Observer, name).__doc__
    return tell


for _name in [name for name in vars(Observer) if not name.startswith("_")]:
    setattr(Observers, _name, _tell_all(_name))
