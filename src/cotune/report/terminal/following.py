"""Where a run stands now, for displays that are redrawn."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console

from cotune.records import EpochReport, FinalResult, TrialResult, TrialSpec
from cotune.report.terminal.counting import CountingObserver


class FollowingObserver(CountingObserver):
    """Keeps what is in training, beside the counts of trials."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._running: dict[int, tuple[TrialSpec, EpochReport | None, float | None]] = {}
        self._finalists: list[int] = []  # rounds, and epochs of all their trainings so far
        self._repeats: list[int] = []  # calls of an objective's finalists: ended, and all
        self._final: tuple[TrialSpec, EpochReport | None] | None = None

    def resumed(
        self,
        finished: Sequence[TrialResult],
        running: Sequence[TrialSpec],
        best: TrialResult | None,
    ) -> None:
        super().resumed(finished, running, best)
        for spec in running:
            self.trial_started(spec)

    def trial_started(self, spec: TrialSpec) -> None:
        self._running[spec.number] = (spec, None, None)

    def trial_reported(self, report: EpochReport, value: float) -> None:
        self._running[report.number] = (self._running[report.number][0], report, value)

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        super().trial_ended(trial, best)
        self._running.pop(trial.number, None)

    def finalists_started(self, trials: Sequence[TrialResult], rounds: int) -> None:
        self._finalists = [rounds, 0]
        super().finalists_started(trials, rounds)

    def finalists_reported(self, report: EpochReport) -> None:
        self._finalists[1] += 1

    def repeats_started(self, trials: Sequence[TrialResult], repeats: int) -> None:
        self._repeats = [0, len(trials) * repeats]
        super().repeats_started(trials, repeats)

    def repeat_ended(self, number: int, value: float | None) -> None:
        self._repeats[0] += 1

    def final_started(self, trial: TrialResult, spec: TrialSpec) -> None:
        self._final = (spec, None)
        super().final_started(trial, spec)

    def final_reported(self, report: EpochReport) -> None:
        if self._final and report.number == self._final[0].number:
            self._final = (self._final[0], report)

    def final_ended(self, final: FinalResult) -> None:
        self._final = None

    @property
    def _share(self) -> float:
        """Of the time or the trials used, whichever is further, 0-1."""
        shares = [0.0]
        if self._timeout:
            shares.append((time.monotonic() - self._began) / self._timeout)
        if self._n_trials:
            shares.append(sum(self._counts.values()) / self._n_trials)
        return min(1.0, max(shares))

    @property
    def _counted(self) -> str:
        return ", ".join(f"{count} {state}" for state, count in self._counts.items())


def progress_of(spec: TrialSpec, report: EpochReport | None) -> str:
    """Return ``3/10``; of an objective, whose length is unknown, its last step."""
    if "epochs" in spec.params:
        return f"{report.epoch if report else 0}/{spec.epochs}"
    return str(report.epoch) if report else "-"
