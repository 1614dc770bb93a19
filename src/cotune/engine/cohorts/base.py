"""The interface of every family's cohort."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
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
        draws: Steps draw random numbers from the lanes' generators.
    """

    lanes: list[Lane]
    evaluation_rows: int = 1024
    captured: CapturedStep | None = None
    draws: bool = True

    @abstractmethod
    def step(
        self, rows: Tensor, labels: Tensor, lr_factors: Sequence[float] | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Make one optimizer step in every lane.

        Args:
            rows: ``[batch, features]``.
            labels: ``[batch]``.
            lr_factors: Factors of the learning rates by the schedules, one a lane; a tensor where
                a graph has to find them.

        Returns:
            Loss ``[lanes]`` and number of correctly classified rows ``[lanes]``, before the step.
        """

    @abstractmethod
    def logits(self, rows: Tensor) -> Tensor:
        """Return the logits of every lane without dropout: ``[rows, lanes, classes]``."""

    def accumulate(self) -> None:
        """Take the weights of now into the averages of the lanes that have one."""
        for lane in self.lanes:
            if lane.average:
                lane.accumulate()

    def are_finite(self) -> Tensor:
        """Return which lanes have no weight or statistic that is NaN or infinite: ``[lanes]``."""
        return torch.stack([lane.is_finite() for lane in self.lanes])


def autocast(rows: Tensor, bfloat16: bool) -> AbstractContextManager[object]:
    """Return a context in which large products are computed in 16 bits, if asked for."""
    return torch.autocast(rows.device.type, torch.bfloat16) if bfloat16 else nullcontext()
