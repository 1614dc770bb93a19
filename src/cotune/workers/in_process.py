"""An engine in the driver's own process: for a GPU, and for work too small for processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from numpy.typing import NDArray

from cotune.engine.engine import Engine
from cotune.records import EpochReport, TrialSpec, Verdict
from cotune.workers.base import EngineJob, Executor, worth_filling


class InProcessExecutor(Executor):
    """Trains in the calling thread: :meth:`reports` returns after one cohort's epoch.

    On a CPU, PyTorch then computes as in a worker process: on one thread.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
    """

    _engine: Engine

    def __init__(self, device: str) -> None:
        self._device = device
        self._stack = ExitStack()
        self._saved: list[Path] | None = None

    def load(self, job: EngineJob) -> None:
        if self._device == "cpu":
            self._stack.enter_context(one_thread())
        self._engine = Engine(
            job.data, job.seed, self._device, job.lanes, job.precision, job.metric, job.custom
        )

    @property
    def lanes(self) -> int:
        return self._engine.max_lanes

    def openings(self) -> list[int]:
        return worth_filling([(self.lanes - len(self._engine), self.lanes)])

    def submit(self, specs: Sequence[TrialSpec], saved: Sequence[Path] = ()) -> None:
        if len(specs) > self.lanes - len(self._engine):
            raise ValueError(f"trial {specs[0].number}: there is no room for {len(specs)} trials")
        self._engine.resume(specs, saved)

    def reports(self, timeout: float) -> list[EpochReport]:
        return self._engine.step()

    def apply(self, verdicts: Sequence[Verdict]) -> None:
        self._engine.apply(verdicts)

    def settle(self, timeout: float) -> bool:
        return True

    def pending(self) -> list[EpochReport]:
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
        self._stack.close()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute as in a worker: on one thread, with subnormal numbers as 0.

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
