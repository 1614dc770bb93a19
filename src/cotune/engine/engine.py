"""The engine: trains the trials that it is given, epoch by epoch, and says how they score.

It knows nothing of studies, samplers or pruners: trial specs and verdicts go in, reports come out.
"""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cotune.data.dataset import TrainingData
from cotune.data.uneven import is_uneven
from cotune.engine.cohorts.base import Cohort
from cotune.engine.cohorts.module import why_alone
from cotune.engine.device import device_errors, first_line
from cotune.engine.lane import Lane, Mark, averages, key_of, start
from cotune.engine.lane_count import measure_lanes
from cotune.engine.lane_state import load_lanes, save_lanes
from cotune.engine.memory import Attempt, is_out_of_memory
from cotune.engine.networks import CustomNetwork
from cotune.engine.networks.custom.architecture import CustomArchitecture
from cotune.engine.networks.custom.structure import Structure
from cotune.engine.queue import Scheduler, Ticket
from cotune.engine.step import DeviceData, evaluate, make_cohort, train_epoch
from cotune.engine.whitening import ROWS
from cotune.exceptions import StorageError
from cotune.metrics import METRICS
from cotune.records import EpochReport, TrialSpec, Verdict
from cotune.user_code import locate_error

_DIVERGED = "its loss or weights became NaN or infinite"
_NO_ROOM = "too little memory for this network"
_TRIED_ROWS = 4
_MOST_RANKED = 1_000_000  # probabilities of a lane that are sorted only to tell what has learned
_CHANGED = "in mid-epoch, when its weights had changed already"
_BROKEN_OFF = f"memory ran out {_CHANGED}"


class Engine:
    """Trains lanes on one device.

    A lane trains an epoch, is reported, and waits for its verdict; a verdict to continue puts it
    back in the queue, one to stop drops it. A lane that fails has no verdict to wait for: it is
    dropped with its report.

    Where memory runs out, fewer lanes are trained together from then on; what does not fit alone
    fails.

    Args:
        data: The dataset.
        seed: The run's seed; with the epoch it decides the order of the rows.
        device: ``cpu``, ``cuda`` or ``mps``.
        max_lanes: The most lanes trained together; measured by default.
        precision: ``float32``, or ``bfloat16``, which computes the large products of the
            training in 16 bits, while weights and scores stay float32.
        metric: The run's, which decides what a lane's best weights are. The AUC, which costs more
            than all other scores, is computed where it is the metric, and where that is accuracy
            and classes are uneven: then accuracy may not tell what has learned.

        custom: What makes the networks, where they are the user's own.

    Attributes:
        max_lanes: Likewise; what memory has no room for is left to the engine.
    """

    def __init__(
        self,
        data: TrainingData,
        seed: int,
        device: str = "cpu",
        max_lanes: int | None = None,
        precision: str = "float32",
        metric: str = "accuracy",
        custom: CustomNetwork | None = None,
    ) -> None:
        self._metric = metric
        self._with_auc = metric == "auc" or (metric == "accuracy" and _needs_auc(data))
        self._bfloat16 = precision == "bfloat16"
        self._device = torch.device(device)
        with device_errors(self._device):
            self._data = DeviceData.load(data, self._device, custom=custom)
            self.max_lanes = max_lanes or measure_lanes(self._data)
        self._seed = seed
        self._scheduler = Scheduler(self.max_lanes)
        self._lanes: dict[int, Lane] = {}
        self._cohorts: dict[tuple[int, ...], Cohort] = {}
        self._unreported: list[EpochReport] = []
        self._unjudged: set[int] = set()  # lanes that were reported and have no verdict yet
        self._why_alone: dict[str, str] = {}  # by the structure of a user's network
        self._structures: list[Structure] = []

    def save(self, path: Path) -> None:
        """Write all lanes, those first that can train now, in the order in which they would.

        Raises:
            StorageError: The file cannot be written.
        """
        waiting = self._scheduler.order
        others = [number for number in self._lanes if number not in waiting]
        save_lanes(path, [self._lanes[number] for number in (*waiting, *others)])

    def resume(self, specs: Sequence[TrialSpec], paths: Sequence[Path]) -> None:
        """Resume trials that were saved, and start the others; all can train at once.

        A damaged file is skipped.

        Args:
            paths: Written by :meth:`save`.
        """
        data, wanted = self._data, list(specs)
        for path in paths:
            lanes: list[Lane] = []
            with contextlib.suppress(StorageError):
                lanes = load_lanes(
                    path,
                    wanted,
                    data.input_shape,
                    data.n_classes,
                    self._device,
                    data.dtype,
                    data.custom,
                )
            for lane in lanes:
                self._take(lane)
                wanted.remove(lane.spec)
        self.add(wanted)

    def add(self, specs: Sequence[TrialSpec]) -> None:
        """Take in fresh trials; those that memory has no room for fail at the next step."""
        data = self._data
        for spec in specs:
            reason = _NO_ROOM
            with Attempt() as attempt, device_errors(self._device):
                try:
                    self._take(self._start(spec))
                except Exception as error:
                    if data.custom is None or is_out_of_memory(error):
                        raise
                    reason, attempt.failed = locate_error(error), True
            if attempt.failed:
                self._unreported.append(EpochReport.failed(spec.number, 1, reason))

    def _start(self, spec: TrialSpec) -> Lane:
        data, rows = self._data, None
        if spec.params.get("whitened"):
            rows = data.take(data.training_rows(key_of(spec))[:ROWS]).to(data.dtype)
        shape, classes = data.input_shape, data.n_classes
        return start(spec, shape, classes, self._device, data.dtype, data.custom, rows)

    def _take(self, lane: Lane) -> None:
        """Let a lane wait for its first epoch here; one that cannot be fused, by itself."""
        if isinstance(lane.architecture, CustomArchitecture):
            known = lane.architecture.structure
            if known not in self._why_alone:
                other = self._start(replace(lane.spec, seed=lane.spec.seed + 1)).architecture
                assert isinstance(other, CustomArchitecture)
                rows = self._data.inputs[:_TRIED_ROWS].to(self._device)
                self._why_alone[known] = why_alone(lane.architecture, other, rows)
                # Kept, so that the identities in its key stay unique.
                self._structures.append(lane.architecture.compared)
            if reason := self._why_alone[known]:
                self._set_alone(lane, reason)
        self._lanes[lane.spec.number] = lane
        self._scheduler.add(self._ticket(lane.spec.number))

    def __len__(self) -> int:
        """Count the lanes that are held."""
        return len(self._lanes)

    @property
    def waiting(self) -> int:
        """Lanes that can train now, or that failed before they could."""
        return len(self._scheduler) + len(self._unreported)

    def limit(self, lanes: int) -> None:
        """Limit the lanes that are trained together from now on."""
        self._scheduler.max_lanes = max(1, min(lanes, self.max_lanes))

    def step(
        self,
        cancelled: Callable[[], bool] = lambda: False,
        began: Callable[[Sequence[int]], None] = lambda numbers: None,
    ) -> list[EpochReport]:
        """Train the next cohort for an epoch; nothing to report when none waits.

        Args:
            cancelled: Asked between minibatches; a cohort that is cancelled is dropped, with
                nothing to report.
            began: Told which trials a cohort trains, before it does.
        """
        reports, self._unreported = self._unreported, []
        while not reports and (numbers := self._scheduler.next_cohort()):
            began(numbers)
            marks = {number: self._lanes[number].mark() for number in numbers}
            with Attempt(), device_errors(self._device):
                try:
                    return self._train(self._gather(numbers), cancelled)
                except Exception as error:
                    if is_out_of_memory(error):
                        raise
                    if self._data.custom is not None:
                        reports = self._take_apart(marks, locate_error(error))
                    elif self._data.is_stacked and isinstance(error, (RuntimeError, TypeError)):
                        reports = self._unstack(marks, error)
                    else:
                        raise
                    continue
            reports = self._make_room(marks)
        return reports

    def apply(self, verdicts: Sequence[Verdict]) -> None:
        """Let reported lanes go on, or drop them.

        Dropping one that is gone does nothing, and neither does letting one go on that waits for no
        verdict: it was put back to an earlier epoch.
        """
        for verdict in verdicts:
            if verdict.stop:
                self._drop({verdict.number})
            elif verdict.number in self._unjudged and verdict.epoch in (
                None,
                self._lanes[verdict.number].epoch,
            ):
                self._unjudged.remove(verdict.number)
                if verdict.horizon is not None:
                    self._lanes[verdict.number].horizon = verdict.horizon
                self._scheduler.add(self._ticket(verdict.number))

    def clear(self) -> None:
        """Drop all lanes."""
        self._drop(set(self._lanes))
        self._unreported = []

    def weights(self, number: int, best: bool = False) -> dict[str, NDArray]:  # type: ignore[type-arg]
        """Return a lane's parameters and buffers, named as in its network's module.

        Args:
            best: Those of its epoch with the best score so far, by the run's metric (the first
                of several); those of now where nothing was validated.
        """
        tensors = self._lane(number).state_dict(best)
        return {name: value.numpy() for name, value in tensors.items()}

    def _train(self, cohort: Cohort, cancelled: Callable[[], bool]) -> list[EpochReport]:
        began = time.perf_counter()
        trained = train_epoch(cohort, self._data, self._seed, cancelled)
        if trained is None:
            self._drop({lane.spec.number for lane in cohort.lanes})
            return []
        loss, accuracy, steps = trained
        scores = {}
        if cohort.lanes[0].key.part == "train":
            scores = {name: value.tolist() for name, value in self._evaluate(cohort).items()}
        losses, accuracies = loss.tolist(), accuracy.tolist()  # waits for the device
        finite = cohort.are_finite().tolist()
        elapsed = time.perf_counter() - began
        work = [lane.architecture.work for lane in cohort.lanes]
        reports = []
        for i, lane in enumerate(cohort.lanes):
            lane_scores = {name: values[i] for name, values in scores.items()}
            watched = [losses[i], *lane_scores.values()]
            reports.append(
                EpochReport(
                    number=lane.spec.number,
                    epoch=lane.epoch,
                    train_loss=losses[i],
                    train_accuracy=accuracies[i],
                    scores=lane_scores,
                    seconds=elapsed * work[i] / sum(work),
                    steps=steps,
                    lanes=len(cohort.lanes),
                    alone=lane.alone,
                    horizon=lane.horizon,
                    # A NaN in a gradient stays in the weight. The losses alone would not show
                    # it in the last step when nothing is validated, nor a bias of -inf before
                    # a ReLU.
                    error=None if finite[i] and all(map(math.isfinite, watched)) else _DIVERGED,
                )
            )
            if scores and not reports[-1].error:
                score = lane_scores[self._metric]
                lane.keep_best(METRICS[self._metric].sign * score)
            lane.watch(lane_scores.get("loss", losses[i]))
        self._unjudged.update(report.number for report in reports)
        self._drop({report.number for report in reports if report.error})
        return reports

    def _evaluate(self, cohort: Cohort) -> dict[str, Tensor]:
        with averages(cohort.lanes):
            while cohort.evaluation_rows > 1:
                with Attempt():
                    return evaluate(cohort, self._data, self._with_auc)
                cohort.evaluation_rows //= 2
            return evaluate(cohort, self._data, self._with_auc)

    def _make_room(self, marks: Mapping[int, Mark]) -> list[EpochReport]:
        """Let the lanes wait again, fewer at a time, after memory ran out.

        Returns:
            Failures: a lane that was alone, and lanes that cannot be put back where they stood.
        """
        self._forget(set(marks))
        others, self._cohorts = self._cohorts, {}  # their working memory is given back
        alone = len(marks) == 1 and not others
        # One that does not fit alone may have been the reason why others did not fit with it.
        self._scheduler.max_lanes = self.max_lanes if alone else max(1, len(marks) // 2)
        failures, untouched = [], []
        for number, mark in marks.items():
            lane = self._lanes[number]
            with Attempt():
                lane.leave()
            if not lane.undo(mark):
                failures.append(EpochReport.failed(number, mark.epoch + 1, _BROKEN_OFF))
            elif alone:
                failures.append(EpochReport.failed(number, mark.epoch + 1, _NO_ROOM))
            else:
                untouched.append(self._ticket(number))
        self._scheduler.put_back(untouched)
        self._drop({failure.number for failure in failures})
        return failures

    def _take_apart(self, marks: Mapping[int, Mark], reason: str) -> list[EpochReport]:
        """Let each lane train alone from now on, after a user's network raised an error.

        Returns:
            Failures: a lane that was alone, and lanes that cannot be put back where they stood.
        """
        self._forget(set(marks))
        failures, untouched = [], []
        for number, mark in marks.items():
            lane = self._lanes[number]
            if lane.alone or not lane.undo(mark):
                failures.append(EpochReport.failed(number, mark.epoch + 1, reason))
                continue
            self._why_alone[lane.key.structure] = reason
            self._set_alone(lane, reason)
            untouched.append(self._ticket(number))
        self._scheduler.put_back(untouched)
        self._drop({failure.number for failure in failures})
        return failures

    def _unstack(self, marks: Mapping[int, Mark], error: Exception) -> list[EpochReport]:
        """Train all lanes as on a CPU from now on, after a step of stacked ones failed.

        Returns:
            Failures: lanes that cannot be put back where they stood.
        """
        why = first_line(error)
        warnings.warn(f"training networks one by one, more slowly: {why}", stacklevel=2)
        self._data, self._cohorts = replace(self._data, is_stacked=False), {}
        failures, untouched = [], []
        for lane in self._lanes.values():
            lane.leave()
        for number, mark in marks.items():
            if self._lanes[number].undo(mark):
                untouched.append(self._ticket(number))
            else:
                failures.append(EpochReport.failed(number, mark.epoch + 1, f"{why}, {_CHANGED}"))
        self._scheduler.put_back(untouched)
        self._drop({failure.number for failure in failures})
        return failures

    def _set_alone(self, lane: Lane, reason: str) -> None:
        lane.alone = reason
        lane.key = replace(lane.key, structure=f"alone {lane.spec.number}")

    def _ticket(self, number: int) -> Ticket:
        lane = self._lane(number)
        return Ticket(number, lane.key, lane.epoch)

    def _lane(self, number: int) -> Lane:
        if number not in self._lanes:
            raise KeyError(f"no lane trains trial {number}")
        return self._lanes[number]

    def _gather(self, numbers: Sequence[int]) -> Cohort:
        """Return the cohort of exactly these lanes; split one that has other lanes too."""
        wanted = tuple(sorted(numbers))
        if wanted not in self._cohorts:
            self._forget(set(numbers))
            lanes = [self._lanes[number] for number in wanted]
            self._cohorts[wanted] = make_cohort(lanes, self._data, self._bfloat16)
        return self._cohorts[wanted]

    def _drop(self, numbers: set[int]) -> None:
        self._scheduler.discard(numbers)
        self._unjudged -= numbers
        for number in numbers:
            self._lanes.pop(number, None)
        self._forget(numbers)

    def _forget(self, numbers: set[int]) -> None:
        """Give up cohorts with any of these lanes; what remains of them is put together anew."""
        self._cohorts = {
            members: cohort
            for members, cohort in self._cohorts.items()
            if not numbers.intersection(members)
        }


def _needs_auc(data: TrainingData) -> bool:
    """Return whether accuracy may be too coarse to rank networks; on very many rows it is not."""
    few = (len(data.labels) - data.n_train) * data.n_classes <= _MOST_RANKED
    return few and is_uneven(np.bincount(data.labels, minlength=data.n_classes).tolist())
