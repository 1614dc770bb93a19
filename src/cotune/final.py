"""The final model: the chosen configuration on training + validation data, tested once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cotune.data.dataset import Dataset
from cotune.data.preprocess import Preprocessing
from cotune.data.row_digests import Digests, row_digests
from cotune.ensemble import Ensemble
from cotune.hyperparameters import is_averaged
from cotune.metrics import balanced_accuracy, macro_auc, macro_f1
from cotune.modelfile import Classifier, trained_network
from cotune.models import OwnNetwork
from cotune.results import EnsembleResult, Finalist, FinalResult, TrialSpec, Value
from cotune.retrain import Training
from cotune.scoring import compute_logits, wilson_interval

DEFAULT_NUMBER = -2
_MISTAKES = 16


MEMBER_NUMBER = -10_000_000
"""The number of the first further training for an ensemble of finalists; the others count down."""


def final_spec(params: Mapping[str, Value], number: int, seed: int) -> TrialSpec:
    """A configuration, to be trained on all rows but the test set's.

    Args:
        params: Its complete hyperparameters.
        number: ``FINAL_NUMBER``, :data:`DEFAULT_NUMBER` or from :data:`MEMBER_NUMBER` down.
        seed: The run's seed.
    """
    if number <= MEMBER_NUMBER:
        seed = (seed * 1_000_003 + (MEMBER_NUMBER - number + 1) * 32_452_843) % 2**63
    return TrialSpec(number, dict(params), seed, part="all", averaged=is_averaged(params))


def make_classifier(
    training: Training,
    dataset: Dataset,
    preprocessing: Preprocessing,
    own: OwnNetwork | None = None,
) -> Classifier:
    """The trained network with its preprocessing and classes."""
    network = trained_network(
        training.spec.params,
        training.weights,
        preprocessing.input_shape,
        len(dataset.classes),
        own,
        training.spec.seed,
    )
    return Classifier(network, preprocessing, dataset.classes).eval()


@dataclass(frozen=True)
class TestReading:
    """What the one reading of the sealed test set gave for one model.

    Attributes:
        accuracy: Share of the rows classified right, 0-1.
        ci95: Its Wilson 95 % interval.
        confusion: ``[classes][classes]`` counts, true class by row.
        mistakes: The surest misclassifications, worst first; see ``FinalResult.mistakes``.
        images: The inputs of those rows.
        right: ``[rows]``: whether each was classified right.
        scores: By :data:`cotune.results.DIRECTIONS`.
        digests: ``[rows]``, see :func:`cotune.data.row_digests.row_digests`.
    """

    __test__ = False  # not a test class, whatever its name says

    accuracy: float
    ci95: tuple[float, float]
    confusion: list[list[int]]
    mistakes: list[dict[str, float]]
    images: NDArray[np.generic]
    right: NDArray[np.bool_]
    scores: dict[str, float]
    digests: Digests


def read_test_set(models: Sequence[Classifier | Ensemble], dataset: Dataset) -> list[TestReading]:
    """Open the sealed test set and score the models on it. Called once in a run."""
    inputs, labels = dataset.read_test()
    digests = row_digests(inputs)
    return [_score(model, inputs, labels, digests) for model in models]


def _score(
    model: Classifier | Ensemble,
    inputs: NDArray[np.generic],
    labels: NDArray[np.int64],
    digests: Digests,
) -> TestReading:
    from sklearn.metrics import confusion_matrix

    logits = compute_logits(model, inputs)
    probabilities = logits.softmax(-1).numpy()
    predicted = probabilities.argmax(1)
    confusion = confusion_matrix(labels, predicted, labels=range(len(model.classes)))
    hits = int((predicted == labels).sum())
    sureness = np.where(predicted == labels, -1.0, probabilities.max(1))
    worst = [int(row) for row in np.argsort(-sureness, kind="stable")[:_MISTAKES]]
    worst = [row for row in worst if sureness[row] >= 0]
    return TestReading(
        accuracy=hits / len(labels),
        ci95=wilson_interval(hits, len(labels)),
        confusion=confusion.tolist(),
        mistakes=[
            {
                "row": row,
                "true": int(labels[row]),
                "predicted": int(predicted[row]),
                "probability": float(sureness[row]),
            }
            for row in worst
        ],
        images=inputs[worst],
        right=predicted == labels,
        scores=_scores(logits, torch.from_numpy(labels), torch.from_numpy(confusion)),
        digests=digests,
    )


def _scores(logits: Tensor, labels: Tensor, confusion: Tensor) -> dict[str, float]:
    scores = {
        "accuracy": (logits.argmax(1) == labels).double().mean(),
        "balanced-accuracy": balanced_accuracy(confusion[None]),
        "f1": macro_f1(confusion[None]),
        "auc": macro_auc(logits.softmax(-1)[:, None], labels),
        "loss": F.cross_entropy(logits, labels),
    }
    return {name: float(value) for name, value in scores.items()}


def p_value(one: TestReading, other: TestReading) -> float:
    """Chance of a difference as large between two models that are equally good.

    McNemar's test (McNemar 1947), exact: of the rows that one model alone gets right, each model
    has half on average.
    """
    from scipy.stats import binomtest

    only_one = int((one.right & ~other.right).sum())
    only_other = int((other.right & ~one.right).sum())
    if only_one == only_other:
        return 1.0
    return float(binomtest(only_one, only_one + only_other).pvalue)


def final_result(
    model: Classifier,
    training: Training,
    reading: TestReading | None,
    default: TestReading | None,
    default_number: int | None,
    finalists: Sequence[Finalist],
    ensemble: EnsembleResult | None,
) -> FinalResult:
    """The final model's training and test as one record.

    Args:
        reading: Its own; None where there is no test set.
        default: The default's reading; None where it was not trained in time.
        default_number: Its trial, where it has a score.
    """
    reports = training.reports
    return FinalResult(
        test_accuracy=reading.accuracy if reading else None,
        test_ci95=reading.ci95 if reading else None,
        epochs=reports[-1].epoch,
        parameters=sum(p.numel() for p in model.parameters()),
        curve={
            "loss": [report.train_loss for report in reports],
            "accuracy": [report.train_accuracy for report in reports],
        },
        confusion=reading.confusion if reading else [],
        mistakes=reading.mistakes if reading else [],
        finalists=list(finalists),
        default_number=default_number,
        default_test_accuracy=default.accuracy if default else None,
        default_test_ci95=default.ci95 if default else None,
        default_p_value=p_value(reading, default) if reading and default else None,
        ensemble=ensemble,
        test_scores=reading.scores if reading else {},
        default_test_scores=default.scores if default else {},
    )


def beside(final: FinalResult, chosen: int | None) -> dict[str, object]:
    """What a run's summary tells beside the final model's test score.

    Args:
        chosen: The number of the trial that it was made of.
    """
    means = [one for one in final.finalists if one.number == chosen]
    told: dict[str, object] = {
        "validation_accuracy_mean": means[0].accuracy if means else None,
        "validation_accuracy_sd": means[0].accuracy_sd if means else None,
        "default_test_accuracy": final.default_test_accuracy,
        "default_test_ci95": final.default_test_ci95 and list(final.default_test_ci95),
        "default_p_value": final.default_p_value,
        "default_chosen": chosen is not None and chosen == final.default_number,
        "test_scores": final.test_scores or None,
        "default_test_scores": final.default_test_scores or None,
    }
    if final.ensemble is not None and final.ensemble.test_ci95 is not None:
        told |= {
            "ensemble_test_accuracy": final.ensemble.test_accuracy,
            "ensemble_test_ci95": list(final.ensemble.test_ci95),
            "ensemble_members": len(final.ensemble.members),
        }
    return told
