"""What a run tells while it goes on: hooks that do nothing by default."""

from __future__ import annotations

from collections.abc import Sequence

from cotune.records import (
    Finalist,
    FinalResult,
    ObjectiveFinalist,
    Report,
    TrialResult,
    TrialSpec,
)
from cotune.runs.directory import RunDirectory


class Observer:
    """Override what you want to see; every call comes from the thread that runs the search."""

    def run_started(self, run: RunDirectory, began: float, timeout: float | None) -> None:
        """The data is read and the search begins.

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
        """The run goes on where it was: these trials have ended, those are in training."""

    def engine_lost(self, reason: str) -> None:
        """A worker process ended, failed or hung; another goes on with its trials."""

    def trial_started(self, spec: TrialSpec) -> None:
        """A trial was handed to an engine."""

    def trial_reported(self, report: Report, value: float) -> None:
        """A trial ended an epoch; ``value`` is the run's metric."""

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        """A trial is finished; ``best`` is the best complete one so far."""

    def finalists_started(self, trials: Sequence[TrialResult], rounds: int) -> None:
        """The search is over and these are trained again, in so many rounds at most."""

    def finalists_reported(self, report: Report) -> None:
        """A training of a finalist ended an epoch."""

    def finalists_ended(self, finalists: Sequence[Finalist]) -> None:
        """Their means, best first, those that reached later rounds before the others."""

    def repeats_started(self, trials: Sequence[TrialResult], repeats: int) -> None:
        """An objective's search is over; it is called with these trials' hyperparameters again."""

    def repeat_ended(self, number: int, value: float | None) -> None:
        """What it returned for a finalist; None where it failed."""

    def repeats_ended(self, finalists: Sequence[ObjectiveFinalist]) -> None:
        """An objective's finalists, best first."""

    def final_started(self, trial: TrialResult, spec: TrialSpec) -> None:
        """This trial's configuration is trained for good."""

    def final_reported(self, report: Report) -> None:
        """The final model ended an epoch."""

    def final_ended(self, final: FinalResult) -> None:
        """The final model was tested."""

    def run_ended(self) -> None:
        """Nothing more will be told, whether the run is complete or not."""

    def tick(self) -> None:
        """Called about ten times a second."""
