"""Which lanes train next. Plain Python: it knows lanes by number and key, never tensors."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ticket:
    """A lane that waits for its next epoch.

    Attributes:
        number: The trial's number.
        key: Lanes with the same key and epoch can be trained together.
        epoch: Epochs behind it.
    """

    number: int
    key: Hashable
    epoch: int


class Scheduler:
    """First come, first served; lanes that fit the first one go with it.

    Args:
        max_lanes: The most lanes of a cohort.
    """

    def __init__(self, max_lanes: int = 1) -> None:
        if max_lanes < 1:
            raise ValueError(f"max_lanes must be at least 1, got {max_lanes}")
        self.max_lanes = max_lanes
        self._waiting: list[Ticket] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, ticket: Ticket) -> None:
        """Let a lane wait for its next epoch."""
        self._waiting.append(ticket)

    def discard(self, numbers: Collection[int]) -> None:
        """Forget lanes that are gone; those that do not wait are passed over."""
        self._waiting = [ticket for ticket in self._waiting if ticket.number not in numbers]

    def next_cohort(self) -> list[int]:
        """Take the numbers of the lanes that train the next epoch together, [] when none wait."""
        if not self._waiting:
            return []
        first = self._waiting[0]
        fitting = [
            ticket
            for ticket in self._waiting
            if (ticket.key, ticket.epoch) == (first.key, first.epoch)
        ][: self.max_lanes]
        self._waiting = [ticket for ticket in self._waiting if ticket not in fitting]
        return [ticket.number for ticket in fitting]
