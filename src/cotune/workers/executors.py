"""Executors by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cotune.workers.base import Executor
from cotune.workers.in_process import InProcessExecutor
from cotune.workers.pool import ProcessExecutor
from cotune.workers.ray.cluster import Cluster
from cotune.workers.ray.executor import RayExecutor


@dataclass(frozen=True)
class Where:
    """Where trials are trained.

    Attributes:
        device: ``cpu`` or ``cuda``.
        workers: Processes; 0 for this one.
        cluster: A Ray cluster, instead of this machine.
        lockstep: Train in lockstep with the driver, where that is possible.
    """

    device: str = "cpu"
    workers: int = 1
    cluster: Cluster | None = None
    lockstep: bool = False

    @property
    def executor(self) -> str:
        """The name of the executor: one of :data:`EXECUTORS`."""
        if self.cluster is not None:
            return "ray"
        return "in-process" if self.device != "cpu" or self.workers == 0 else "processes"


EXECUTORS: Final[dict[str, Callable[[Where], Executor]]] = {
    "processes": lambda where: ProcessExecutor(where.workers, where.lockstep),
    "in-process": lambda where: InProcessExecutor(where.device),
    "ray": lambda where: RayExecutor(where.cluster or Cluster()),
}
"""The executors there are; a further one is a line here."""


def make_executor(where: Where) -> Executor:
    """Make the executor of a run."""
    return EXECUTORS[where.executor](where)
