"""The choice of finalists and of the final model's configuration, by what scores can tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cotune.data.dataset import TrainingData
from cotune.inference.baseline import mean_warning, validation_baseline
from cotune.metrics import CHANCE, METRICS
from cotune.records import Finalist, TrialResult
from cotune.standard_error import SURE, standard_error
from cotune.tuning.ledger import Ledger
from cotune.tuning.play_off import prefer, prefer_learned
from cotune.tuning.preference import Measured, learned_first


class Choice:
    """Orders trials and finalists of a run.

    Where classes are uneven, accuracy may be blind: always predicting the most frequent class is
    within noise of the best. There it decides by what networks have learned, and elsewhere by the
    metric.

    Args:
        doubt: How unlikely a trial was to be good before anything was measured, by its number.

    Attributes:
        baseline: Scores of always predicting the most frequent class, on the validation part.
    """

    def __init__(
        self, metric: str, training: TrainingData, ledger: Ledger, doubt: Callable[[int], int]
    ) -> None:
        self._metric = metric
        self._maximize = METRICS[metric].direction == "maximize"
        self._ledger = ledger
        self._doubt = doubt
        self._held_out = held_out_counts(training)
        self._trained: list[int] = np.bincount(
            training.labels, minlength=training.n_classes
        ).tolist()
        self.baseline = validation_baseline(training)

    def of_trials(self, ranked: list[TrialResult]) -> list[TrialResult]:
        """Return trials in the order in which they are worth another training.

        Args:
            ranked: At least one, the best by the metric first.
        """
        best = ranked[0].value
        if best is None or not self._is_blind(best):
            return ranked
        ledger = self._ledger
        return learned_first(
            ranked,
            lambda trial: Measured(
                trial.value,
                ledger.areas.get(trial.number),
                ledger.losses.get(trial.number),
                trial.state == "complete",
            ),
            standard_error(self._metric, best, self._held_out),
            CHANCE + self._auc_noise(),
        )

    def of_finalists(self, finalists: list[Finalist]) -> list[Finalist]:
        """Return finalists with the one to choose first.

        Args:
            finalists: The best by the metric first.
        """
        if not finalists:
            return []
        best = finalists[0].value
        noise = standard_error(self._metric, best, self._held_out)
        if self._is_blind(best):
            areas = self._ledger.areas
            return prefer_learned(finalists, areas, noise, self._auc_noise(), self._maximize)
        return prefer(finalists, self._doubt, noise, self._maximize)

    def warning(
        self, trial: TrialResult, finalists: Sequence[Finalist], classes: Sequence[str]
    ) -> str:
        """Say in a line that the chosen trial is not better than the baseline, or return "".

        For runs without a test set, where held-out rows of the search are all there is.

        Args:
            classes: Names.
        """
        value, trainings, auc = trial.value, 1, self._ledger.areas.get(trial.number)
        for one in finalists:
            if one.number == trial.number:
                value, trainings, auc = one.value, one.trainings, one.auc
        if value is None:
            return ""
        held_out = [trainings * count for count in self._held_out]
        return mean_warning(
            self._metric, value, self.baseline, held_out, self._trained, classes, auc
        )

    def _is_blind(self, accuracy: float) -> bool:
        """Return whether the best accuracy is within noise of the baseline's, with AUCs known."""
        if self._metric != "accuracy" or not self._ledger.areas:
            return False
        noise = standard_error(self._metric, accuracy, self._held_out)
        return accuracy - self.baseline["accuracy"] <= SURE * noise

    def _auc_noise(self) -> float:
        """Return the standard error of the AUC of a network without skill."""
        return standard_error("auc", CHANCE, self._held_out)


def held_out_counts(training: TrainingData) -> list[int]:
    """Count the rows of each class of the validation part."""
    labels = training.labels[training.n_train :]
    counts: list[int] = np.bincount(labels, minlength=training.n_classes).tolist()
    return counts
