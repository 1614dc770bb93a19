"""The time of a run: when it has to be over, what is left, whether the user wants it to end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Clock:
    """The time of a run.

    Attributes:
        began: When the timeout began to count, in seconds of ``now``.
        deadline: When the search, the finalists and the final model have to be over; infinite
            where there is no limit.
        stop: True once the user wants the run to end.
        earlier: Seconds that the phases took before the run was stopped or killed, by name.
        now: Returns the time in seconds.
    """

    began: float
    deadline: float = math.inf
    stop: Callable[[], bool] = lambda: False
    earlier: Mapping[str, float] = field(default_factory=dict)
    now: Callable[[], float] = time.monotonic

    @property
    def has_limit(self) -> bool:
        """Whether the time of the run is limited."""
        return not math.isinf(self.deadline)

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.deadline - self.now()

    @property
    def stopped(self) -> bool:
        """Whether the user wants the run to end."""
        return bool(self.stop())
