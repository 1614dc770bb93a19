"""The rules by which a search ends before its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cotune.records import TrialResult
from cotune.tuning.ledger import Ledger


@dataclass
class StopRules:
    """Rules that end a search.

    Attributes:
        n_trials: Trials altogether; None for no limit.
        patience: The search ends when so many trials in a row were no better than the best before
            them by more than noise; None for no such end.
        all_failed_limit: It ends when so many trials have ended and all of them failed; None for
            no such end.
        noise: Returns by how much two equally good trials differ by chance, about, at a value.
        no_gain: How patience has ended the search, in a line, or "".
    """

    n_trials: int | None = None
    patience: int | None = None
    all_failed_limit: int | None = None
    noise: Callable[[float], float] = lambda value: 0.0
    no_gain: str = ""
    _record: float | None = None  # the best value that was more than noise
    _since_record: int = 0

    def take(self, trial: TrialResult, ledger: Ledger) -> None:
        """Count the trials since one was better than the best before by more than noise."""
        if self.patience is None:
            return
        if trial.value is not None and trial.state != "failed":
            before = self._record
            if before is None or ledger.sign * (before - trial.value) > self.noise(before):
                self._record, self._since_record = trial.value, 0
                return
        self._since_record += 1
        if self._since_record >= self.patience and self._record is not None:
            noise = self.noise(self._record)
            self.no_gain = (
                f"patience: none of the last {self._since_record} trials was better than "
                f"{self._record:.4f} by more than {noise:.4f}, the noise of the validation part"
            )

    def be_patient(self) -> None:
        """Count the trials without a gain from here on."""
        self.no_gain, self._since_record = "", 0

    def all_failed(self, ledger: Ledger) -> bool:
        """Return whether enough trials have ended, and all of them failed."""
        ended = len(ledger.finished)
        if self.all_failed_limit is None or ended < self.all_failed_limit:
            return False
        return ledger.counts["failed"] == ended
