"""An engine in the driver's own process: for a GPU, and for work too small for processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from numpy.typing import NDArray

from cotune.data.dataset import TrainingData
from cotune.engine.engine import Engine
from cotune.engine.networks import OwnNetwork
from cotune.records import Report, TrialSpec, Verdict
from cotune.workers.base import Executor, worth_filling


class InProcessExecutor(Executor):
    """Trains in the calling thread: :meth:`reports` returns after one cohort's epoch.

    Args:
        data: The dataset.
        seed: The run's seed.
        device: ``cpu`` or ``cuda``.
        lanes: Trials in training at a time; measured by default.
        precision, metric, own: As for :class:`Engine`.
    """

    def __init__(
        self,
        data: TrainingData,
        seed: int,
        device: str,
        lanes: int | None = None,
        precision: str = "float32",
        metric: str = "accuracy",
        own: OwnNetwork | None = None,
    ) -> None:
        self._engine = Engine(data, seed, device, lanes, precision, metric, own)
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


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it PyTorch computes as in a worker: on one thread, and subnormal numbers as 0.

    With several threads, sums would be added up in another order on another machine.
    """
    threads, tiny = torch.get_num_threads(), torch.tensor([1e-310], dtype=torch.float64)
    had_subnormals = bool((tiny + tiny).item())
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(not had_subnormals)
        torch.set_num_threads(threads)
