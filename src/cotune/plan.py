"""How the time of a run is divided: search, finalists, final models.

Plain Python: it knows costs, and nothing of what they are the costs of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_FINALISTS_SHARE: Final = 0.25
_FINAL_SHARE: Final = 0.25
# Configurations (the default not counted) and trainings of each, the most wanted first: judging
# few of them well is worth more than judging many badly.
_CHOICES: Final = ((6, 4), (4, 4), (3, 4), (3, 3), (2, 3), (2, 2), (1, 2), (1, 1))


@dataclass(frozen=True)
class Plan:
    """The parts of a run.

    Attributes:
        total: Seconds for everything, or None where there is no limit.
        workers: Trainings that go on side by side.
        growth: Rows of the final training divided by those of a trial.
        folds: Trainings of a finalist there can be at most.
    """

    total: float | None
    workers: int
    growth: float
    folds: int

    def most_epochs(self, seconds_per_epoch: float) -> int | None:
        """Epochs that a final training on all rows has time for, at least 1; None: any number."""
        if self.total is None:
            return None
        seconds = seconds_per_epoch * self.growth
        return max(1, int(_FINAL_SHARE * self.total / max(seconds, 1e-9)))

    def final(self, best: float, default: float) -> float:
        """Cost of the final trainings, of the best and of the default configuration.

        Args:
            best, default: What their trials cost; 0 for the default where it is the best.
        """
        together = max(best, default) if self.workers > 1 else best + default
        return together * self.growth

    def finalists(
        self, costs: Sequence[float], default: float, spent: float
    ) -> tuple[int, int, float]:
        """How many configurations are trained again, how many times each, and what that costs.

        Args:
            costs: Of the trials, the best first, the default's left out.
            default: Of the default's trial; 0 where there is none.
            spent: What all trials cost; it counts where the time has no limit.

        Returns:
            Configurations besides the default, trainings of each and their cost, side by side;
            ``(0, 0, 0.0)`` where there is no time for any.
        """
        limit = spent / 2 if self.total is None else _FINALISTS_SHARE * self.total * self.workers
        for count, repeats in _CHOICES:
            repeats = min(repeats, self.folds)
            cost = repeats * (sum(costs[:count]) + default)
            if repeats and cost <= limit:
                return min(count, len(costs)), repeats, cost / self.workers
        return 0, 0, 0.0
