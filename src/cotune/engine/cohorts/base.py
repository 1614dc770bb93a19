"""What every family's cohort does, and making the right one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from cotune.engine.lane import Lane

if TYPE_CHECKING:
    from cotune.engine.cuda_graph import CapturedStep


class Cohort(ABC):
    """Lanes that are trained together now: same key, same epoch, same minibatches.

    Attributes:
        lanes: Results are in this order.
        evaluation_rows: Rows that are evaluated at a time.
        captured: On a GPU, its step as a graph.
    """

    lanes: list[Lane]
    evaluation_rows: int = 1024
    captured: CapturedStep | None = None

    @abstractmethod
    def step(
        self, rows: Tensor, labels: Tensor, lr_factors: Sequence[float] | Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """One optimizer step of every lane.

        Args:
            rows: ``[batch, features]``.
            labels: ``[batch]``.
            lr_factors: What the schedules multiply the rates by, one a lane; tensors
                where a graph has to find them.

        Returns:
            Loss ``[lanes]`` and number of rows classified right ``[lanes]``, before the step.
        """

    @abstractmethod
    def logits(self, rows: Tensor) -> Tensor:
        """Outputs of every lane without dropout: ``[rows, lanes, classes]``."""
