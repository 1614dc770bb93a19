"""Plain lines, for logs and pipes."""

from __future__ import annotations

import time

from rich.console import Console

from cotune.records import FINAL_NUMBER, EpochReport, TrialResult
from cotune.report.terminal.counting import CountingObserver
from cotune.text import counted

_LINE_SECONDS = 2.0  # between two plain lines, unless a trial is the best so far


class PlainObserver(CountingObserver):
    """Lines for logs and pipes: every new best trial, and others as they end, not too many."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._said = 0.0

    def _is_due(self) -> bool:
        return time.monotonic() - self._said >= _LINE_SECONDS

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        self._console.print(line, soft_wrap=True)

    def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
        super().trial_ended(trial, best)
        is_best = best is not None and best.number == trial.number
        if not is_best and not self._is_due():
            return
        leader = f", best {self._score(best.value)} (trial {best.number})" if best else ""
        told = trial.stop_cause in ("failed", "early_stopped")
        why = f" ({trial.reason})" if told else ""
        self._say(
            f"trial {trial.number} {trial.state}{why}: {self._metric} {self._score(trial.value)} "
            f"after {counted(trial.epochs, self._unit)}{leader}, {self._time_left}"
        )

    def final_reported(self, report: EpochReport) -> None:
        if self._is_due() and report.number == FINAL_NUMBER:
            self._say(
                f"final model: epoch {report.epoch}, training loss {report.train_loss:.4f}, "
                f"{self._time_left}"
            )
