"""The engine: trains the trials that it is given, epoch by epoch, and says how they score.

It knows nothing of studies, samplers or pruners: trial specs and verdicts go in, reports come out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from numpy.typing import NDArray

from cotune.data.dataset import TrainingData
from cotune.lanes import Cohort, export, key_of, merge, select, start
from cotune.results import Report, TrialSpec, Verdict
from cotune.runner import DeviceData, all_finite, evaluate, train_epoch
from cotune.scheduler import Scheduler, Ticket


class Engine:
    """Trains lanes on one device.

    A lane trains an epoch, is reported, and waits for its verdict; a verdict to go on puts it back
    in the queue, one to stop drops it. A lane that fails has no verdict to wait for: it is dropped
    with its report.

    Args:
        data: The dataset.
        seed: The run's seed; with the epoch it decides the order of the rows.
        device: ``cpu`` or ``cuda``.
        max_lanes: The most lanes trained together.
    """

    def __init__(
        self, data: TrainingData, seed: int, device: str = "cpu", max_lanes: int = 1
    ) -> None:
        self._device = torch.device(device)
        self._data = DeviceData.load(data, self._device)
        self._seed = seed
        self._scheduler = Scheduler(max_lanes)
        self._cohorts: list[Cohort] = []

    def add(self, specs: Sequence[TrialSpec]) -> None:
        """Take in fresh trials."""
        for spec in specs:
            key = key_of(spec, self._data.inputs.shape[1], self._data.n_classes)
            self._cohorts.append(start(spec, key, self._device, self._data.inputs.dtype))
            self._scheduler.add(Ticket(spec.number, key, 0))

    @property
    def waiting(self) -> int:
        """Lanes that can train now."""
        return len(self._scheduler)

    def step(self, cancelled: Callable[[], bool] = lambda: False) -> list[Report]:
        """Train the next cohort for an epoch; nothing to report when none waits.

        Args:
            cancelled: Asked between minibatches; a cohort that is cancelled is dropped, with
                nothing to report.
        """
        numbers = self._scheduler.next_cohort()
        return self._train(self._gather(numbers), cancelled) if numbers else []

    def apply(self, verdicts: Sequence[Verdict]) -> None:
        """Let reported lanes go on, or drop them; dropping one that is gone does nothing."""
        for verdict in verdicts:
            if verdict.stop:
                self._drop({verdict.number})
            else:
                cohort, _ = self._find(verdict.number)
                self._scheduler.add(Ticket(verdict.number, cohort.key, cohort.epoch))

    def weights(self, number: int) -> dict[str, NDArray]:  # type: ignore[type-arg]
        """A reported lane's parameters and buffers, as its module twin names them."""
        cohort, lane = self._find(number)
        return {name: value.numpy() for name, value in export(cohort, lane).items()}

    def _train(self, cohort: Cohort, cancelled: Callable[[], bool]) -> list[Report]:
        began = time.perf_counter()
        trained = train_epoch(cohort, self._data, self._seed, cancelled)
        if trained is None:
            self._drop({spec.number for spec in cohort.specs})
            return []
        loss, accuracy, steps = trained
        scores = {}
        if cohort.key.part == "train":
            scores = {name: value.tolist() for name, value in evaluate(cohort, self._data).items()}
        finite = all_finite(cohort).tolist()
        losses, accuracies = loss.tolist(), accuracy.tolist()  # waits for the device
        seconds = (time.perf_counter() - began) / len(cohort)
        reports = []
        for lane, spec in enumerate(cohort.specs):
            lane_scores = {name: values[lane] for name, values in scores.items()}
            watched = [losses[lane], *lane_scores.values()]
            reports.append(
                Report(
                    number=spec.number,
                    epoch=cohort.epoch,
                    train_loss=losses[lane],
                    train_accuracy=accuracies[lane],
                    scores=lane_scores,
                    seconds=seconds,
                    steps=steps,
                    # A NaN in a gradient stays in the weight. The losses alone would not show
                    # it in the last step when nothing is validated, nor a bias of -inf before
                    # a ReLU.
                    error=None if finite[lane] and all(map(math.isfinite, watched)) else _DIVERGED,
                )
            )
        self._drop({report.number for report in reports if report.error})
        return reports

    def _gather(self, numbers: Sequence[int]) -> Cohort:
        """One cohort of exactly these lanes; others that were with them stay behind."""
        wanted = set(numbers)
        taken, kept = [], []
        for cohort in self._cohorts:
            inside = [i for i, spec in enumerate(cohort.specs) if spec.number in wanted]
            outside = [i for i in range(len(cohort)) if i not in inside]
            if inside:
                taken.append(select(cohort, inside) if outside else cohort)
            if outside:
                kept.append(select(cohort, outside) if inside else cohort)
        self._cohorts = [*kept, merge(taken)]
        return self._cohorts[-1]

    def _drop(self, numbers: set[int]) -> None:
        self._scheduler.discard(numbers)
        cohorts = []
        for cohort in self._cohorts:
            kept = [i for i, spec in enumerate(cohort.specs) if spec.number not in numbers]
            if len(kept) == len(cohort):
                cohorts.append(cohort)
            elif kept:
                cohorts.append(select(cohort, kept))
        self._cohorts = cohorts

    def _find(self, number: int) -> tuple[Cohort, int]:
        for cohort in self._cohorts:
            for lane, spec in enumerate(cohort.specs):
                if spec.number == number:
                    return cohort, lane
        raise KeyError(f"no lane trains trial {number}")


_DIVERGED = "its loss or weights became NaN or infinite"
