"""Executors by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cotune.records import Cluster, Place
from cotune.workers.base import Executor
from cotune.workers.in_process import InProcessExecutor
from cotune.workers.pool import ProcessExecutor
from cotune.workers.ray.executor import RayExecutor

EXECUTORS: Final[dict[str, Callable[[Place], Executor]]] = {
    "processes": lambda place: ProcessExecutor(place.workers, place.lockstep),
    "in-process": lambda place: InProcessExecutor(place.device),
    "ray": lambda place: RayExecutor(place.cluster or Cluster()),
}
"""The executors there are; a further one is a line here."""


def make_executor(place: Place) -> Executor:
    """Make the executor of a run."""
    return EXECUTORS[place.executor](place)
