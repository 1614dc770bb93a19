"""An engine in the driver's own process: for a GPU, and for tests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from numpy.typing import NDArray

from cotune.data.dataset import TrainingData
from cotune.engine import Engine
from cotune.executors.base import Executor, worth_filling
from cotune.results import Report, TrialSpec, Verdict


class InProcessExecutor(Executor):
    """Trains in the calling thread: :meth:`reports` returns after one cohort's epoch.

    Args:
        data: The dataset.
        seed: The run's seed.
        device: ``cpu`` or ``cuda``.
        lanes: Trials in training at a time; measured by default.
        precision, metric: As for :class:`Engine`.
    """

    def __init__(
        self,
        data: TrainingData,
        seed: int,
        device: str,
        lanes: int | None = None,
        precision: str = "float32",
        metric: str = "accuracy",
    ) -> None:
        self._engine = Engine(data, seed, device, lanes, precision, metric)
        self._saved: list[Path] | None = None

    @property
    def lanes(self) -> int:
        return self._engine.max_lanes

    def openings(self) -> list[int]:
        return worth_filling([self.lanes - len(self._engine)], self.lanes)

    def submit(self, specs: Sequence[TrialSpec], saved: Sequence[Path] = ()) -> None:
        if len(specs) > self.lanes - len(self._engine):
            raise ValueError(f"trial {specs[0].number}: there is no room for {len(specs)} trials")
        self._engine.resume(specs, saved)

    def reports(self, timeout: float) -> list[Report]:
        return self._engine.step()

    def apply(self, verdicts: Sequence[Verdict]) -> None:
        self._engine.apply(verdicts)

    def settle(self, timeout: float) -> bool:
        return True

    def pending(self) -> list[Report]:
        return []

    def save(self, folder: Path) -> None:
        began = time.monotonic()
        self._saved = [folder / "lanes.safetensors"]
        self._engine.save(self._saved[0])
        self.saving_seconds += time.monotonic() - began

    def saved(self, timeout: float) -> list[Path] | None:
        return self._saved

    def keep(self, saved: Sequence[Path]) -> None:
        pass  # what ends this engine ends the driver

    def weights(self, number: int, best: bool = False) -> dict[str, NDArray]:  # type: ignore[type-arg]
        return self._engine.weights(number, best)

    def clear(self) -> None:
        self._engine.clear()

    def close(self) -> None:
        pass
