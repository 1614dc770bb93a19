"""Training given configurations to their end: finalists and final models."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cotune.engine.lane import key_of
from cotune.engine.lane_state import saved_specs
from cotune.records import Report, TrialSpec, Verdict
from cotune.runs.training_log import Round, TrainingLog
from cotune.tuning.checkpointer import STOP_SECONDS, Checkpoints, Weights
from cotune.workers.base import Executor

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
    log: TrainingLog | None = None,
    checkpoints: Checkpoints | None = None,
    lanes: Sequence[Path] = (),
    kept: Weights | None = None,
) -> list[Training] | None:
    """Train all of them, those together that fit.

    Args:
        executor: Without other trials.
        reported: Told of every epoch.
        tick: Called about ten times a second.
        deadline: By ``time.monotonic()``. Training ends early rather than go past it, but for
            a first epoch of the first; what was not begun by then has no reports.
        stopped: Whether the user wants the run to end.
        log: Where reports are recorded; what it has of these trainings already is gone on from.
        checkpoints: Saves the lanes.
        lanes: Files of a checkpoint.
        kept: Where weights are put, and those that are there already are taken from; None: no
            weights are wanted.

    Returns:
        In the order of the specs, or None when the user stopped it.
    """
    known = log.round(specs) if log else Round(list(specs))
    trainings = {s.number: Training(s, list(known.reports.get(s.number, []))) for s in specs}
    for training in trainings.values():
        if training.reports and training.reports[-1].error:
            training.error = _failure(training.reports.pop())
    for number, training in trainings.items():
        if kept and number in kept:
            if training.reports:
                training.weights = kept[number]
            else:
                del kept[number]  # of another configuration
    if known.is_over and kept is None:
        return list(trainings.values())
    left = {
        number
        for number, training in trainings.items()
        if training.error is None
        and not training.weights
        and (kept is not None or len(training.reports) < training.spec.epochs)
        and not (known.is_over and not training.reports)
    }
    running: set[int] = set()

    def handle(reports: Sequence[Report]) -> None:
        verdicts = []
        for report in reports:
            training = trainings[report.number]
            is_new = report.epoch > len(training.reports)
            if is_new and log:
                log.report(known, report)
            if report.error:
                training.error = _failure(report)
                running.remove(report.number)
                continue
            if is_new:
                training.reports.append(report)
                reported(report)
            # An epoch takes as long as all lanes trained together.
            next_end = time.monotonic() + report.seconds * report.lanes
            over = report.epoch >= len(training.reports) and (
                report.epoch >= training.spec.epochs
                or (deadline is not None and next_end > deadline)
            )
            if over and kept is not None:
                training.weights = executor.weights(report.number)
                over = bool(training.weights)
                if over:
                    kept[report.number] = training.weights
            if over:
                running.remove(report.number)
            verdicts.append(Verdict(report.number, over, report.epoch))
        executor.apply(verdicts)

    groups = _groups(specs, executor)
    for path in lanes:
        if saved := [s for s in saved_specs(path) if s.number in left and s in specs]:
            executor.submit(saved, lanes)
            running |= {spec.number for spec in saved}
            left -= running
    groups = [rest for group in groups if (rest := [s for s in group if s.number in left])]
    begun = bool(running)
    while groups or running:
        if stopped():
            if checkpoints:
                checkpoints.finish(handle, STOP_SECONDS)
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
        handle(executor.reports(_POLL_SECONDS))
        if checkpoints:
            checkpoints.step(handle)
        tick()
    if log:
        log.end(known)
    return list(trainings.values())


def _failure(report: Report) -> str:
    return f"epoch {report.epoch}: {report.error}"


def _groups(specs: Sequence[TrialSpec], executor: Executor) -> list[list[TrialSpec]]:
    """What is trained together, as many groups at least as there are engines, large ones first."""
    openings = executor.openings()
    most = min(max(openings), -(-len(specs) // len(openings)))
    by_key: dict[object, list[TrialSpec]] = {}
    for spec in specs:
        key = ("alone", spec.number) if executor.alone(spec) else key_of(spec)
        by_key.setdefault(key, []).append(spec)
    groups = [
        members[i : i + most] for members in by_key.values() for i in range(0, len(members), most)
    ]
    return sorted(groups, key=len, reverse=True)
