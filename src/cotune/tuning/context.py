"""What the phases of a run have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cotune.data.dataset import Dataset, TrainingData
from cotune.data.preprocessing.preprocess import Preprocessing
from cotune.metrics import METRICS
from cotune.records import Direction
from cotune.runs.directory import RunDirectory
from cotune.runs.options import Options
from cotune.tuning.clock import Clock
from cotune.tuning.observer import Observer
from cotune.workers.base import Executor


@dataclass(frozen=True)
class RunContext:
    """A run: what was asked for, its data, where it is recorded, who trains, who is told.

    Attributes:
        dataset: Its test set is opened once, at the end.
        training: The prepared dataset; the executor has it already.
        preprocessing: What was done to its inputs.
        checkpoint_seconds: From one checkpoint to the next; None for no checkpoints.
        max_disk: Bytes that the run directory may take up.
        is_lockstep: The executor trains in lockstep with the driver.
    """

    options: Options
    dataset: Dataset
    training: TrainingData
    preprocessing: Preprocessing
    directory: RunDirectory
    executor: Executor
    observer: Observer
    clock: Clock
    checkpoint_seconds: float | None = None
    max_disk: float = math.inf
    is_lockstep: bool = False

    @property
    def direction(self) -> Direction:
        """Of the run's metric."""
        return METRICS[self.options.metric].direction
