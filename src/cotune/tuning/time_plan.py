"""How the time of a run is divided: search, finalists, final models.

Plain Python: it knows costs, and nothing of what they are the costs of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FINAL_SHARE: Final = 0.35
# Finalists, rounds and the share of the time that they may take, the most wanted first. Where a
# training is dear, trials and the final model are worth more than a second look at few finalists.
_CHOICES: Final = (
    (12, 8, 0.4),
    (8, 8, 0.4),
    (8, 6, 0.4),
    (8, 4, 0.4),
    (6, 4, 0.4),
    (6, 3, 0.4),
    (4, 3, 0.4),
    (4, 2, 0.4),
    (3, 2, 0.2),
    (2, 2, 0.2),
    (2, 1, 0.3),
)


MOST_ROUNDS: Final = max(rounds for _, rounds, _ in _CHOICES)


def survivors(count: int) -> int:
    """Return how many finalists reach the next round: half, but at least two."""
    return min(count, max(2, -(-count // 2)))


@dataclass(frozen=True)
class Plan:
    """The parts of a run.

    Attributes:
        total: Seconds for everything, or None where there is no limit.
        workers: Trainings that go on side by side.
        growth: Rows of the final training divided by those of a trial.
        folds: Ways to hold out other rows than the search did; without one there are no finalists.
        stage: Rounds from one to the next after which finalists go out, where there is time.
    """

    total: float | None
    workers: int
    growth: float
    folds: int
    stage: int = 1

    def most_epochs(self, seconds_per_epoch: float, share: float = FINAL_SHARE) -> int | None:
        """Return the epochs that a final training has time for, at least 1; None for any number.

        Args:
            share: Of the time, what a training may take.
        """
        if self.total is None:
            return None
        seconds = seconds_per_epoch * self.growth
        return max(1, int(share * self.total / max(seconds, 1e-9)))

    def final(self, best: float, default: float) -> float:
        """Return the cost of the final trainings of the best and the default configuration.

        Args:
            best, default: What their trials cost; 0 for the default where it is the best.
        """
        together = max(best, default) if self.workers > 1 else best + default
        return together * self.growth

    def finalists(self, costs: Sequence[float], spent: float) -> tuple[int, int, float]:
        """Return how many finalists there are, in how many rounds, and what that costs.

        Args:
            costs: Of one training of each trial, in the order in which they would be finalists.
            spent: What all trials cost; it counts where the time has no limit.

        Returns:
            Finalists, rounds and their cost, side by side; ``(0, 0, 0.0)`` where there is no time.
        """
        for stage in dict.fromkeys((self.stage, 1)):
            for count, rounds, share in _CHOICES:
                limit = spent / self.workers if self.total is None else share * self.total
                cost = stage * self._cost(list(costs[:count]), rounds)
                if self.folds > 0 and costs and cost <= limit:
                    return min(count, len(costs)), rounds * stage, cost
        return 0, 0, 0.0

    def _cost(self, costs: list[float], rounds: int) -> float:
        """Sum the cost of a round a stage, side by side, if the dearest survive."""
        total, costs = 0.0, sorted(costs, reverse=True)
        for _ in range(rounds):
            total += max(costs[0], sum(costs) / self.workers) if costs else 0.0
            costs = costs[: survivors(len(costs))]
        return total
