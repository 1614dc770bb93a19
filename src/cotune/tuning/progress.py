"""Where a run stands: how long its phases took, and its summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from cotune.exceptions import CotuneError, StorageError
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import RunState, Seconds, Summary, TrialCounts
from cotune.tuning.clock import Clock
from cotune.tuning.ledger import Ledger
from cotune.tuning.observer import Observer

_SUMMARY_SECONDS: Final = 2.0  # between two writings of summary.json


@dataclass
class Progress:
    """Keeps ``summary.json`` up to date.

    Attributes:
        beside: Return what took time beside the phases, by name.
        details: Returns the further fields of the summary in a state.
    """

    run: RunDirectory
    ledger: Ledger
    clock: Clock
    observer: Observer
    beside: Mapping[str, Callable[[], float]]
    details: Callable[[RunState], Mapping[str, Any]]
    _search_ended: float = field(default=0.0, init=False)
    _finalists_ended: float = field(default=0.0, init=False)
    _written: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._search_began = self.clock.now()

    def end_search(self) -> None:
        """Note that the search is over."""
        self._search_ended = self.clock.now()

    def end_finalists(self) -> None:
        """Note that the finalists are judged."""
        self._finalists_ended = self.clock.now()

    def tick(self) -> None:
        """Show that time passes; called about ten times a second."""
        self.observer.tick()
        if self.clock.now() - self._written > _SUMMARY_SECONDS:
            self.write("running", "")
            self._written = self.clock.now()

    @contextmanager
    def ends_by_errors(self) -> Iterator[None]:
        """Write the summary of a run that an error or the user ends at once."""
        try:
            yield
        except CotuneError as error:
            with suppress(StorageError):  # the first error is the one to tell
                self.write("failed", str(error))
            raise
        except KeyboardInterrupt:
            self.write("interrupted", "stopped by the user at once")
            raise

    def write(self, state: RunState, message: str, **further: Any) -> Summary:
        """Write ``summary.json``.

        Args:
            message: Why it ended as it did, or "".
            further: Fields that are known now; the others are as ``details`` has them.
        """
        counts = self.ledger.counts
        summary = Summary(
            state=state,
            seconds=self._seconds(),
            trials=TrialCounts(
                complete=counts["complete"],
                pruned=counts["pruned"],
                failed=counts["failed"],
                running=len(self.ledger.running) if state == "running" else 0,
            ),
            message=message,
            **{**self.details(state), **further},
        )
        self.run.write_summary(summary)
        return summary

    def _seconds(self) -> Seconds:
        now = self.clock.now()
        ended = self._search_ended or now
        judged = self._finalists_ended or now
        phases = {
            "search": ended - self._search_began,
            "finalists": max(0.0, judged - ended),
            "final": now - judged,
            **{name: seconds() for name, seconds in self.beside.items()},
        }
        seconds = {name: self.clock.earlier.get(name, 0.0) + phases[name] for name in phases}
        seconds = {"total": now - self.clock.began, **seconds}
        return Seconds(**{name: round(value, 2) for name, value in seconds.items()})
