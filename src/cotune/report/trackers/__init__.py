"""Trackers: runs as other tools show them. Nothing is sent anywhere unless one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cotune.exceptions import UsageError
from cotune.report.trackers.tracker import Tracker
from cotune.text import shown
from cotune.tuning.observer import Observer, Observers


def _tensorboard(where: str) -> Tracker:
    from cotune.report.trackers.tensorboard import TensorBoardTracker

    return TensorBoardTracker(where)


def _mlflow(where: str) -> Tracker:
    from cotune.report.trackers.mlflow import MLflowTracker

    return MLflowTracker(where)


TRACKERS: Final[dict[str, Callable[[str], Tracker]]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}
"""Makers of trackers by name, given what stands after ``=``, or ""; a further one is a line here.
``csv`` is not among them: a run always has ``trials.csv`` and ``curves.csv``."""


def with_trackers(observer: Observer, names: str | Sequence[str]) -> Observer:
    """Return an observer that trackers listen beside.

    Args:
        names: ``tensorboard``, ``mlflow`` or ``csv``, or ``mlflow=URI``.

    Raises:
        UsageError: A name is unknown, or its package is not installed.
    """
    trackers = list[Observer]()
    for given in [names] if isinstance(names, str) else names:
        name, _, where = str(given).partition("=")
        if name == "csv":
            continue
        if name not in TRACKERS:
            known = ", ".join((*TRACKERS, "csv"))
            raise UsageError(f"log: {shown(name)} is unknown; choose one of {known}")
        trackers.append(TRACKERS[name](where))
    return Observers([observer, *trackers]) if trackers else observer
