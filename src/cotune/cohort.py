"""What every family's cohort does, and making the right one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from cotune.lanes import Lane


class Cohort(ABC):
    """Lanes that are trained together now: same key, same epoch, same minibatches.

    Attributes:
        lanes: Results are in this order.
        evaluation_rows: Rows that are evaluated at a time.
    """

    lanes: list[Lane]
    evaluation_rows: int = 1024

    @abstractmethod
    def step(
        self, rows: Tensor, labels: Tensor, lr_factors: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """One optimizer step of every lane.

        Args:
            rows: ``[batch, features]``.
            labels: ``[batch]``.
            lr_factors: What the schedules multiply the rates by, one a lane.

        Returns:
            Loss ``[lanes]`` and number of rows classified right ``[lanes]``, before the step.
        """

    @abstractmethod
    def logits(self, rows: Tensor) -> Tensor:
        """Outputs of every lane without dropout: ``[rows, lanes, classes]``."""
