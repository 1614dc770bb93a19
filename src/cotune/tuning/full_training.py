"""Training given configurations to their end: finalists and final models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cotune.engine.lane import key_of
from cotune.records import EpochReport, TrialSpec, Verdict
from cotune.runs.training_log import Round, TrainingLog
from cotune.tuning.checkpointer import Checkpoints, Weights, resume_lanes
from cotune.tuning.clock import Clock
from cotune.tuning.trial_runner import POLL_SECONDS
from cotune.workers.base import Executor


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
        log: Where reports are recorded; trainings resume from what it has of them.
        tick: Called about ten times a second.
        lanes: Files of a checkpoint to resume from.
    """

    executor: Executor
    clock: Clock
    log: TrainingLog
    tick: Callable[[], None] = lambda: None
    checkpoints: Checkpoints | None = None
    lanes: Sequence[Path] = ()

    def run(
        self,
        specs: Sequence[TrialSpec],
        reported: Callable[[EpochReport], None],
        deadline: float = math.inf,
        kept: Weights | None = None,
        most: Mapping[int, int] | None = None,
        ended: Callable[[Training], None] = lambda training: None,
    ) -> list[Training] | None:
        """Train all of them, those together that fit.

        Args:
            reported: Told of every epoch.
            deadline: By the clock. Training ends early rather than go past it, but for a first
                epoch of the first; what was not begun by then has no reports.
            kept: Where weights are put, and those that are there already are taken from; None: no
                weights are wanted.
            most: Epochs by number, for trainings whose rate falls to zero at their end: they take
                as many as there is time for by the deadline.
            ended: Told of each training that is over, while the executor still has its weights.

        Returns:
            In the order of the specs, or None when the user stopped it.
        """
        known = self.log.round(specs)
        trainings = _begun_before(known, kept)
        if known.is_over and kept is None:
            return list(trainings.values())
        left = {
            number: training.spec
            for number, training in trainings.items()
            if training.error is None
            and not training.weights
            and (kept is not None or len(training.reports) < training.spec.epochs)
            and not (known.is_over and not training.reports)
        }

        def handle(reports: Sequence[EpochReport]) -> None:
            verdicts = []
            for report in reports:
                training = trainings[report.number]
                is_new = report.epoch > len(training.reports)
                if is_new:
                    self.log.report(known, report)
                if report.error:
                    training.error = report.failure
                    running.remove(report.number)
                    continue
                if is_new:
                    training.reports.append(report)
                    reported(report)
                # An epoch takes as long as all lanes trained together.
                seconds = report.seconds * report.lanes
                left = (deadline - self.clock.now()) / max(seconds, 1e-9)
                horizon = None
                if most and report.number in most and not math.isinf(left):
                    horizon = min(most[report.number], report.epoch + int(left))
                over = report.epoch >= len(training.reports) and (
                    report.epoch >= (horizon or training.spec.epochs) or left < 1
                )
                if over and kept is not None:
                    training.weights = self.executor.weights(report.number)
                    over = bool(training.weights)
                    if over:
                        kept[report.number] = training.weights
                if over:
                    ended(training)
                    running.remove(report.number)
                verdicts.append(Verdict(report.number, over, report.epoch, horizon))
            self.executor.apply(verdicts)

        groups = _groups(specs, self.executor)
        running = resume_lanes(self.executor, self.lanes, left)
        waiting = left.keys() - running
        groups = [rest for one in groups if (rest := [s for s in one if s.number in waiting])]
        begun = bool(running)
        while groups or running:
            if self.clock.stopped:
                if self.checkpoints:
                    self.checkpoints.finish(handle)
                self.executor.clear()
                return None
            if begun and not running and self.clock.now() > deadline:
                break
            for places in self.executor.openings():
                if groups and len(groups[0]) <= places:
                    group = groups.pop(0)
                    self.executor.submit(group)
                    running.update(spec.number for spec in group)
                    begun = True
            handle(self.executor.reports(POLL_SECONDS))
            if self.checkpoints:
                self.checkpoints.step(handle)
            self.tick()
        self.log.end(known)
        return list(trainings.values())


def _begun_before(known: Round, kept: Weights | None) -> dict[int, Training]:
    """Return trainings as they were left, by number; weights of other ones leave ``kept``."""
    trainings = {}
    for spec in known.specs:
        training = Training(spec, list(known.reports.get(spec.number, ())))
        trainings[spec.number] = training
        if training.reports and training.reports[-1].error:
            training.error = training.reports.pop().failure
        if kept and spec.number in kept:
            if training.reports:
                training.weights = kept[spec.number]
            else:
                del kept[spec.number]
    return trainings


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
