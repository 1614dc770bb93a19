"""Which lanes train next. Plain Python: it knows lanes by number and key, never tensors."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
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
    """The lanes with the most epochs behind them go first; what fits the first goes with it.

    So what has survived the most rungs is completed soonest, and the sampler learns from it. Where
    the lanes with the fewest epochs went first, to catch up and merge with older ones, a stream of
    fresh lanes kept the promising ones from being completed at all.

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

    @property
    def order(self) -> list[int]:
        """The lanes that wait, by number, in the order in which they came."""
        return [ticket.number for ticket in self._waiting]

    def put_back(self, tickets: Sequence[Ticket]) -> None:
        """Let lanes that were taken and not trained wait again, ahead of those that are as far."""
        self._waiting = [*tickets, *self._waiting]

    def discard(self, numbers: Collection[int]) -> None:
        """Forget lanes that are gone; those that do not wait are ignored."""
        self._waiting = [ticket for ticket in self._waiting if ticket.number not in numbers]

    def next_cohort(self) -> list[int]:
        """Take the numbers of the lanes that train the next epoch together, [] when none wait."""
        if not self._waiting:
            return []
        first = max(self._waiting, key=lambda ticket: ticket.epoch)
        fitting = [
            ticket
            for ticket in self._waiting
            if (ticket.key, ticket.epoch) == (first.key, first.epoch)
        ][: self.max_lanes]
        self._waiting = [ticket for ticket in self._waiting if ticket not in fitting]
        return [ticket.number for ticket in fitting]
