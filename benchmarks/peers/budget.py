"""How a peer's time is shared out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from benchmarks.peers import BEGAN

RESERVE: Final = 0.2
"""Share of the budget that is kept for the final training."""

_CLOSING_SECONDS: Final = 1.0  # test and exit


class Budget:
    """Seconds for everything, from the start of the process.

    Args:
        seconds: What was given.
        began: When the process began, by ``time.monotonic()``.
    """

    def __init__(self, seconds: float, began: float = BEGAN) -> None:
        self._search_ends = began + seconds * (1 - RESERVE)
        self._ends = began + seconds - _CLOSING_SECONDS

    @property
    def search_seconds(self) -> float:
        """What is left for the search; above 0, as the tools' own time limits have to be."""
        return max(0.1, self._search_ends - time.monotonic())

    @property
    def search_is_over(self) -> bool:
        return time.monotonic() >= self._search_ends

    def train(self, epochs: Iterable[object]) -> None:
        """Go through the epochs of the final training until another would be too late."""
        before = time.monotonic()
        for _ in epochs:
            now = time.monotonic()
            if self.is_too_late(now - before):
                return
            before = now

    def is_too_late(self, seconds: float) -> bool:
        """Whether work that takes so long would go past the end."""
        return time.monotonic() + seconds > self._ends
