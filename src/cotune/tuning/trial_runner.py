"""The interface between the search and what runs its trials: the engine, or a user's objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cotune.records import EpochReport, StopCause, TrialResult, TrialSpec

POLL_SECONDS: Final = 0.1
"""How long a loop waits for what comes in."""


@dataclass(frozen=True)
class Events:
    """The events of a poll.

    Attributes:
        reported: Reports that are new, with the run's metric.
        ended: Trials that have ended by themselves, and are in training no longer.
        lost: For each worker that was lost and replaced, why.
    """

    reported: Sequence[tuple[EpochReport, float]] = ()
    ended: Sequence[TrialResult] = ()
    lost: Sequence[str] = ()


Handle = Callable[[Events], None]
"""Records events, judges the trials that reported, and lets the others go on."""


class TrialRunner(ABC):
    """Runs trials somewhere, and keeps the ledger's ``running`` up to date.

    The search fills the openings, handles the events, has the reports judged, records the trials
    that end, and then lets the others go on.
    """

    @property
    @abstractmethod
    def asked(self) -> int:
        """Trials that were started, those of an earlier process too."""

    @property
    @abstractmethod
    def wants_more(self) -> bool:
        """Whether there are further trials to start, as far as the runner knows."""

    @abstractmethod
    def fill(self, most: float) -> list[TrialSpec]:
        """Start trials where there is room: those that wait to resume, then ``most`` new ones.

        Returns:
            The new ones.
        """

    @abstractmethod
    def events(self, timeout: float) -> Events:
        """Return what has come in, after at most about ``timeout`` seconds."""

    @abstractmethod
    def judge(self, reported: Sequence[tuple[EpochReport, float]]) -> list[TrialResult]:
        """Return the trials that these reports end; they are in training no longer."""

    @abstractmethod
    def apply(self) -> None:
        """Let the judged trials go on, and free the places of those that ended."""

    @abstractmethod
    def wind_up(self) -> float:
        """Prepare for the end; returns the seconds that trials have to end by themselves."""

    @abstractmethod
    def cut(self, cause: StopCause) -> list[TrialResult]:
        """Stop all trials at once; returns them as they were when they were cut."""

    @abstractmethod
    def halt(self, handle: Handle) -> None:
        """Stop all trials at once, to be resumed another time."""

    @abstractmethod
    def save(self, handle: Handle) -> None:
        """Save the trials in training from time to time; called after each poll."""
