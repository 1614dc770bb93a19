"""Training given configurations to their end: finalists and final models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cotune.engine.lane import key_of
from cotune.engine.lane_state import saved_specs
from cotune.records import EpochReport, TrialSpec, Verdict
from cotune.runs.training_log import Round, TrainingLog
from cotune.tuning.checkpointer import STOP_SECONDS, Checkpoints, Weights
from cotune.tuning.clock import Clock
from cotune.workers.base import Executor

_POLL_SECONDS = 0.1


@dataclass
class Training:
    """The result of a training.

    Attributes:
        reports: One for each epoch; fewer than the configuration has where time was up.
        weights: Those at the end, as the module twin names them; empty where it failed.
        error: Why it failed, or None.
    """

    spec: TrialSpec
    reports: list[EpochReport] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    error: str | None = None


@dataclass
class FullTraining:
    """Trains configurations to their end: finalists, final models.

    Attributes:
        executor: Without other trials.
        clock: The run's time.
        tick: Called about ten times a second.
        log: Where reports are recorded; trainings resume from what it has of them.
        checkpoints: Saves the lanes.
        lanes: Files of a checkpoint to resume from.
    """

    executor: Executor
    clock: Clock
    tick: Callable[[], None] = lambda: None
    log: TrainingLog | None = None
    checkpoints: Checkpoints | None = None
    lanes: Sequence[Path] = ()

    def run(
        self,
        specs: Sequence[TrialSpec],
        reported: Callable[[EpochReport], None],
        deadline: float = math.inf,
        kept: Weights | None = None,
    ) -> list[Training] | None:
        """Train all of them, those together that fit.

        Args:
            specs: What is trained.
            reported: Told of every epoch.
            deadline: By the clock. Training ends early rather than go past it, but for a first
                epoch of the first; what was not begun by then has no reports.
            kept: Where weights are put, and those that are there already are taken from; None: no
                weights are wanted.

        Returns:
            In the order of the specs, or None when the user stopped it.
        """
        known = self.log.round(specs) if self.log else Round(list(specs))
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

        def handle(reports: Sequence[EpochReport]) -> None:
            verdicts = []
            for report in reports:
                training = trainings[report.number]
                is_new = report.epoch > len(training.reports)
                if is_new and self.log:
                    self.log.report(known, report)
                if report.error:
                    training.error = _failure(report)
                    running.remove(report.number)
                    continue
                if is_new:
                    training.reports.append(report)
                    reported(report)
                # An epoch takes as long as all lanes trained together.
                next_end = self.clock.now() + report.seconds * report.lanes
                over = report.epoch >= len(training.reports) and (
                    report.epoch >= training.spec.epochs or (next_end > deadline)
                )
                if over and kept is not None:
                    training.weights = self.executor.weights(report.number)
                    over = bool(training.weights)
                    if over:
                        kept[report.number] = training.weights
                if over:
                    running.remove(report.number)
                verdicts.append(Verdict(report.number, over, report.epoch))
            self.executor.apply(verdicts)

        groups = _groups(specs, self.executor)
        for path in self.lanes:
            if saved := [s for s in saved_specs(path) if s.number in left and s in specs]:
                self.executor.submit(saved, self.lanes)
                running |= {spec.number for spec in saved}
                left -= running
        groups = [rest for group in groups if (rest := [s for s in group if s.number in left])]
        begun = bool(running)
        while groups or running:
            if self.clock.stopped:
                if self.checkpoints:
                    self.checkpoints.finish(handle, STOP_SECONDS)
                self.executor.clear()
                return None
            late = self.clock.now() > deadline
            if late and begun and not running:
                break
            for places in self.executor.openings():
                if groups and len(groups[0]) <= places:
                    group = groups.pop(0)
                    self.executor.submit(group)
                    running.update(spec.number for spec in group)
                    begun = True
            handle(self.executor.reports(_POLL_SECONDS))
            if self.checkpoints:
                self.checkpoints.step(handle)
            self.tick()
        if self.log:
            self.log.end(known)
        return list(trainings.values())


def _failure(report: EpochReport) -> str:
    return f"epoch {report.epoch}: {report.error}"


def _groups(specs: Sequence[TrialSpec], executor: Executor) -> list[list[TrialSpec]]:
    """Group specs that train together, at least one group per engine, large ones first."""
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
