"""Networks of finalists, and the rows that each was not trained on.

The final model is trained on all rows but the test set's, so its own outputs do not tell how sure
it may be, nor what it makes of a column. Networks of the same configuration do, on the folds that
they did not see.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cotune.diagnostics import Calibration, ColumnImportances
from cotune.inference.calibration import calibrate
from cotune.inference.column_importances import Judged, column_importances
from cotune.inference.scores import compute_logits
from cotune.records import TrialSpec
from cotune.tuning.checkpointer import Weights
from cotune.tuning.context import RunContext
from cotune.tuning.final_model import make_classifier
from cotune.tuning.full_training import Training
from cotune.tuning.training_key import TrainingKey

MOST_ROWS: Final = 5_000  # that a temperature is fitted on; it is one number
_MOST_BYTES: Final = 128 << 20  # of all networks together
_COLUMN_SECONDS: Final = 3.0
_COLUMN_SHARE: Final = 0.02  # of the time of a run, at most
_NONE: Final = "no network of as many epochs was kept that had other rows held out"


def is_alike(epochs: int, wanted: int) -> bool:
    """Return whether a training has enough of the epochs for a network that is about as sure."""
    return 3 * epochs >= 2 * wanted


class HeldOut:
    """The networks of finalists; of several trainings with the same fold, the first.

    Attributes:
        weights: By the finalist's number; names begin with the fold and a stroke. Checkpoints
            keep them.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._specs: dict[tuple[int, int], TrialSpec] = {}
        self._is_trial_alike = False
        self.weights: Weights = {}

    def plan(self, specs: Sequence[TrialSpec]) -> None:
        """Note what is trained next."""
        for spec in specs:
            self._specs.setdefault((spec.number, spec.fold), spec)

    def keep(self, training: Training) -> None:
        """Keep the network of a training that has just ended, while its lane is there."""
        spec = training.spec
        if self._specs.get((spec.number, spec.fold)) != spec:
            return
        if not is_alike(training.reports[-1].epoch, spec.epochs):
            return
        weights = self._context.executor.weights(spec.number)
        taken = sum(one.nbytes for named in self.weights.values() for one in named.values())
        if taken + sum(one.nbytes for one in weights.values()) <= _MOST_BYTES:
            self._put(spec, weights)

    def add_trial(
        self, spec: TrialSpec, weights: Mapping[str, NDArray[Any]], is_alike: bool
    ) -> None:
        """Add the network of the chosen trial, which the validation part was held out from.

        It stands in where there is no finalist.

        Args:
            is_alike: It has about as many epochs as the final model; one with fewer is less sure,
                and no temperature is fitted on it.
        """
        spec = replace(spec, number=TrainingKey("finalist", spec.number).number)
        self.plan([spec])
        self._put(spec, weights)
        self._is_trial_alike = is_alike

    def _put(self, spec: TrialSpec, weights: Mapping[str, NDArray[Any]]) -> None:
        named = {f"{spec.fold}/{name}": value for name, value in weights.items()}
        self.weights.setdefault(spec.number, {}).update(named)

    @property
    def column_seconds(self) -> float:
        """How long the importances of columns may take; 0 where there are no columns."""
        if not self._context.dataset.has_features:
            return 0.0
        clock = self._context.clock
        return min(_COLUMN_SECONDS, _COLUMN_SHARE * (clock.deadline - clock.began))

    def calibration(self, counts: Mapping[int, int]) -> Calibration:
        """Fit the temperature of a model, or of an average of several.

        Args:
            counts: Shares of the average, by trial.
        """
        logits, labels = list[Tensor](), list[NDArray[np.int64]]()
        total = sum(counts.values())
        folds = set.intersection(*(self._folds(number) for number in counts))
        folds = folds - {0} or (folds if self._is_trial_alike else set())
        for fold in sorted(folds):
            rows = self.rows(fold, MOST_ROWS // len(folds))
            logs = []
            for number, count in counts.items():
                one = self._judged(number, fold, rows)
                shares = compute_logits(one.model, one.inputs).log_softmax(-1)
                logs.append(shares + math.log(count / total))
            logits.append(torch.stack(logs).logsumexp(0))
            labels.append(self._context.dataset.labels[rows])
        if not folds:
            return Calibration(reason=_NONE)
        truth = torch.from_numpy(np.concatenate(labels))
        found = calibrate(torch.cat(logits), truth, len(folds))
        return replace(found, chose=folds == {0})

    def columns(self, number: int) -> ColumnImportances | None:
        """Measure what a trial's configuration makes of each column; None of images.

        Args:
            number: The trial's.
        """
        context, options = self._context, self._context.options
        if not context.dataset.has_features:
            return None
        folds = self._folds(number)
        judged = [
            self._judged(number, fold, self.rows(fold)) for fold in sorted(folds - {0} or folds)
        ]
        if not judged:
            return ColumnImportances(metric=options.metric, reason=_NONE)
        columns = context.dataset.columns
        names = [one.name for one in columns]
        names = names or [f"column {i}" for i in range(context.dataset.input_shape[0])]
        return column_importances(judged, names, options.metric, options.seed, self.column_seconds)

    def rows(self, fold: int, most: int | None = None) -> NDArray[np.int64]:
        """Return the dataset's rows that are held out in a fold, or a sample of them.

        Args:
            fold: 0 for the validation part.
        """
        training = self._context.training
        assert training.order is not None
        rows = training.order[training.n_train :]
        if fold:
            rows = training.order[: training.n_train][training.fold_of == fold]
        rng = np.random.default_rng(self._context.options.seed)
        return np.sort(rng.permutation(rows)[:most])

    def _folds(self, number: int) -> set[int]:
        """Return the folds that there is a network of a trial for."""
        finalist = TrainingKey("finalist", number).number
        kept = {int(name.partition("/")[0]) for name in self.weights.get(finalist, ())}
        return {fold for fold in kept if (finalist, fold) in self._specs}

    def _judged(self, number: int, fold: int, rows: NDArray[np.int64]) -> Judged:
        context, finalist = self._context, TrainingKey("finalist", number).number
        lead = f"{fold}/"
        training = Training(
            self._specs[finalist, fold],
            weights={
                name.removeprefix(lead): value
                for name, value in self.weights[finalist].items()
                if name.startswith(lead)
            },
        )
        dataset, custom = context.dataset, context.options.custom
        model = make_classifier(training, dataset, context.preprocessing, custom)
        return Judged(model, dataset.inputs[rows], dataset.labels[rows])
