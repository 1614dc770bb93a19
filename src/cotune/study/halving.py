"""Successive halving, a whole rung of lanes at a time."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping

from cotune.study.rung_pruner import RungPruner


class Halving(RungPruner):
    """Successive halving: at each rung, all but the best 1/``reduction`` seen so far are stopped.

    Asynchronous successive halving (Li et al. 2020, algorithm 2). Values that come together are
    entered before any of them is judged, so that lanes trained together do not depend on the order
    in which they are looked at.

    With a single rung it is the simple scheme that does as well as more elaborate ones at a part
    of their cost (Egele et al. 2024): train all for some epochs, and only the best to the end.

    Args:
        maximize: Whether larger values are better.
        reduction: At least 2.
        rung: The only rung, an epoch; None for epochs 1, ``reduction``, its square and so on.
    """

    def __init__(self, maximize: bool, reduction: int = 3, rung: int | None = None) -> None:
        self._rung = rung
        self._sign = 1.0 if maximize else -1.0
        self._reduction = reduction
        self._rungs: dict[int, list[float]] = {}  # sorted

    def judge(self, values: Mapping[int, tuple[int, float]]) -> set[int]:
        at_rungs = {
            number: (epoch, self._sign * value)
            for number, (epoch, value) in values.items()
            if self._is_rung(epoch)
        }
        for epoch, value in at_rungs.values():
            insort(self._rungs.setdefault(epoch, []), value)
        return {
            number
            for number, (epoch, value) in at_rungs.items()
            if value < self._bar(self._rungs[epoch])
        }

    def _is_rung(self, epoch: int) -> bool:
        if self._rung is not None:
            return epoch == self._rung
        while epoch % self._reduction == 0:
            epoch //= self._reduction
        return epoch == 1

    def _bar(self, seen: list[float]) -> float:
        """Return the worst value that survives: of n, the best n / reduction, rounded up."""
        keep = -(-len(seen) // self._reduction)
        return seen[len(seen) - keep]
