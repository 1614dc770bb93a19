"""The interface of every family's cohort."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from cotune.engine.cuda_graph import CapturedStep
    from cotune.engine.lane import Lane


class Cohort(ABC):
    """Lanes that are trained together now: same key, same epoch, same minibatches.

    Attributes:
        lanes: Results are in this order.
        evaluation_rows: Number of rows to evaluate at a time.
        captured: The step as a CUDA graph, on a GPU.
    """

    lanes: list[Lane]
    evaluation_rows: int = 1024
    captured: CapturedStep | None = None

    @abstractmethod
    def step(
        self, rows: Tensor, labels: Tensor, lr_factors: Sequence[float] | Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Make one optimizer step in every lane.

        Args:
            rows: ``[batch, features]``.
            labels: ``[batch]``.
            lr_factors: Factors of the learning rates by the schedules, one a lane; tensors where
                a graph has to find them.

        Returns:
            Loss ``[lanes]`` and number of correctly classified rows ``[lanes]``, before the step.
        """

    @abstractmethod
    def logits(self, rows: Tensor) -> Tensor:
        """Return the logits of every lane without dropout: ``[rows, lanes, classes]``."""
