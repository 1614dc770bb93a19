"""An engine in the driver's own process: for a GPU, and for tests."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import NDArray

from cotune.data.dataset import TrainingData
from cotune.engine import Engine
from cotune.executors.base import Executor
from cotune.results import Report, TrialSpec, Verdict


class InProcessExecutor(Executor):
    """Trains in the calling thread: :meth:`reports` returns after one cohort's epoch.

    Args:
        data: The dataset.
        seed: The run's seed.
        device: ``cpu`` or ``cuda``.
        places: Trials in training at a time.
    """

    def __init__(self, data: TrainingData, seed: int, device: str, places: int = 1) -> None:
        self._engine = Engine(data, seed, device)
        self._places = places

    @property
    def places(self) -> int:
        return self._places

    def submit(self, specs: Sequence[TrialSpec]) -> None:
        self._engine.add(specs)

    def reports(self, timeout: float) -> list[Report]:
        return self._engine.step()

    def apply(self, verdicts: Sequence[Verdict]) -> None:
        self._engine.apply(verdicts)

    def weights(self, number: int) -> dict[str, NDArray]:  # type: ignore[type-arg]
        return self._engine.weights(number)

    def close(self) -> None:
        pass
