"""Executors by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cotune.workers.base import Executor
from cotune.workers.in_process import InProcessExecutor
from cotune.workers.pool import ProcessExecutor

MakeExecutor = Callable[[str, int, bool], Executor]
"""Makes an executor, given the device, the number of processes and whether to train in lockstep."""

EXECUTORS: Final[dict[str, MakeExecutor]] = {
    "processes": lambda device, workers, lockstep: ProcessExecutor(workers, lockstep),
    "in-process": lambda device, workers, lockstep: InProcessExecutor(device),
}
"""The executors there are; a further one is a line here."""


def make_executor(device: str, workers: int, lockstep: bool) -> Executor:
    """Make the executor of a run: worker processes on a CPU, else this process.

    Args:
        device: ``cpu`` or ``cuda``.
        workers: Processes; 0 for this one.
        lockstep: Train in lockstep with the driver, where that is possible.
    """
    name = "in-process" if device != "cpu" or workers == 0 else "processes"
    return EXECUTORS[name](device, workers, lockstep)
