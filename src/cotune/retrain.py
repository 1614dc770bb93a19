"""Training given configurations to their end: finalists and final models."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from cotune.executors.base import Executor
from cotune.lanes import key_of
from cotune.results import Report, TrialSpec, Verdict

_POLL_SECONDS = 0.1


@dataclass
class Training:
    """What came of one.

    Attributes:
        reports: One for each epoch; fewer than the configuration has where time was up.
        weights: Those at the end, as the module twin names them; empty where it failed.
        error: Why it failed, or None.
    """

    spec: TrialSpec
    reports: list[Report] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    error: str | None = None


def retrain(
    executor: Executor,
    specs: Sequence[TrialSpec],
    reported: Callable[[Report], None],
    tick: Callable[[], None],
    deadline: float | None,
    stopped: Callable[[], bool],
) -> list[Training] | None:
    """Train all of them, those together that fit.

    Args:
        executor: Without other trials.
        reported: Told of every epoch.
        tick: Called about ten times a second.
        deadline: By ``time.monotonic()``. Training ends early rather than go past it, but for
            a first epoch of the first; what was not begun by then has no reports.
        stopped: Whether the user wants the run to end.

    Returns:
        In the order of the specs, or None when the user stopped it.
    """
    trainings = {spec.number: Training(spec) for spec in specs}
    groups = _groups(specs, executor)
    running: set[int] = set()
    begun = False
    while groups or running:
        if stopped():
            executor.clear()
            return None
        late = deadline is not None and time.monotonic() > deadline
        if late and begun and not running:
            break
        for places in executor.openings():
            if groups and len(groups[0]) <= places:
                group = groups.pop(0)
                executor.submit(group)
                running.update(spec.number for spec in group)
                begun = True
        verdicts = []
        for report in executor.reports(_POLL_SECONDS):
            training = trainings[report.number]
            if report.error:
                training.error = f"epoch {report.epoch}: {report.error}"
                running.remove(report.number)
                continue
            training.reports.append(report)
            reported(report)
            # An epoch takes as long as all lanes trained together.
            next_end = time.monotonic() + report.seconds * report.lanes
            over = report.epoch >= training.spec.epochs or (
                deadline is not None and next_end > deadline
            )
            if over:
                training.weights = executor.weights(report.number)
                running.remove(report.number)
            verdicts.append(Verdict(report.number, stop=over))
        executor.apply(verdicts)
        tick()
    return list(trainings.values())


def _groups(specs: Sequence[TrialSpec], executor: Executor) -> list[list[TrialSpec]]:
    """What is trained together, as many groups at least as there are engines, large ones first."""
    openings = executor.openings()
    most = min(max(openings), -(-len(specs) // len(openings)))
    by_key: dict[object, list[TrialSpec]] = {}
    for spec in specs:
        by_key.setdefault(key_of(spec), []).append(spec)
    groups = [
        members[i : i + most] for members in by_key.values() for i in range(0, len(members), most)
    ]
    return sorted(groups, key=len, reverse=True)
