"""The interface of Cotune's own pruners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping


class RungPruner(ABC):
    """A pruner that judges all trials that reported together.

    Optuna's own ask one trial at a time, and let pass whichever is asked first.
    """

    @abstractmethod
    def judge(self, values: Mapping[int, tuple[int, float]]) -> set[int]:
        """Return the trials to stop.

        Args:
            values: Epoch, from 1, and value by trial number.
        """
