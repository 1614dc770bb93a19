"""The final model: the chosen configuration on training + validation data, tested once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cotune.data.dataset import Dataset
from cotune.data.known_rows import Digests, row_digests
from cotune.data.preprocessing.preprocess import Preprocessing
from cotune.diagnostics import Reliability
from cotune.engine.networks import CustomNetwork
from cotune.inference.baseline import baseline_scores, baseline_warning
from cotune.inference.calibration import reliability
from cotune.inference.ensemble import Ensemble
from cotune.inference.model_file import Classifier, trained_network
from cotune.inference.scores import compute_logits, wilson_interval
from cotune.metrics import confusion_matrix, scores_of
from cotune.records import FinalResult, TrialSpec, Value
from cotune.runs.summary import FinalSummary
from cotune.space.hyperparameters import is_averaged
from cotune.tuning.full_training import Training
from cotune.tuning.training_key import TrainingKey

_MISTAKES = 16


def final_spec(params: Mapping[str, Value], key: TrainingKey, seed: int) -> TrialSpec:
    """Return the spec of a configuration on all rows but the test set's.

    Args:
        key: Of the final model, the default or a member of an ensemble.
    """
    if key.role == "member":
        seed = (seed * 1_000_003 + (key.index + 1) * 32_452_843) % 2**63
    return TrialSpec(key.number, dict(params), seed, part="all", averaged=is_averaged(params))


def make_classifier(
    training: Training,
    dataset: Dataset,
    preprocessing: Preprocessing,
    custom: CustomNetwork | None = None,
) -> Classifier:
    """Return the trained network with its preprocessing and classes."""
    network = trained_network(
        training.spec.params,
        training.weights,
        preprocessing.input_shape,
        len(dataset.classes),
        custom,
        training.spec.seed,
    )
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes)).tolist()
    return Classifier(network, preprocessing, dataset.classes, counts).eval()


@dataclass(frozen=True)
class TestReading:
    """The scores of one model from the one reading of the sealed test set.

    Attributes:
        accuracy: Share of the rows classified right, 0-1.
        ci95: Its Wilson 95 % interval.
        confusion: ``[classes][classes]`` counts, true class by row.
        mistakes: The surest misclassifications, worst first; see ``FinalResult.mistakes``.
        images: The inputs of those rows.
        right: ``[rows]``: whether each was classified right.
        scores: By :data:`cotune.metrics.METRICS`; without ``auc`` where there is one class only.
        baseline: The same of always predicting the most frequent class of the training rows;
            empty where that is not known.
        warning: A line where the model is not better than that, or "".
        digests: ``[rows]``, see :func:`cotune.data.known_rows.row_digests`.
        reliability: Of its probabilities, before its temperature scales them and after that.
    """

    __test__ = False  # not a test class, whatever its name says

    accuracy: float
    ci95: tuple[float, float]
    confusion: list[list[int]]
    mistakes: list[dict[str, float]]
    images: NDArray[np.generic]
    right: NDArray[np.bool_]
    scores: dict[str, float]
    baseline: dict[str, float]
    warning: str
    digests: Digests
    reliability: tuple[Reliability, Reliability]


def read_test_set(
    models: Sequence[Classifier | Ensemble], dataset: Dataset, metric: str
) -> list[TestReading]:
    """Open the sealed test set and score the models on it. Called once in a run."""
    inputs, labels = dataset.read_test()
    digests = row_digests(inputs)
    return [_score(model, inputs, labels, digests, metric) for model in models]


def _score(
    model: Classifier | Ensemble,
    inputs: NDArray[np.generic],
    labels: NDArray[np.int64],
    digests: Digests,
    metric: str,
) -> TestReading:
    logits = compute_logits(model, inputs)
    probabilities = logits.softmax(-1).numpy()
    predicted = probabilities.argmax(1)
    truth, trained = torch.from_numpy(labels), model.class_counts
    confusion = confusion_matrix(torch.from_numpy(predicted), truth, len(model.classes))
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
        scores=scores_of(logits, truth),
        baseline=baseline_scores(trained, truth) if trained else {},
        warning=(
            baseline_warning(metric, logits, truth, trained, model.classes) if trained else ""
        ),
        digests=digests,
        reliability=(
            reliability(logits * model.temperature, truth),
            reliability(logits, truth),
        ),
    )


def summarize_final(final: FinalResult, chosen: int | None) -> FinalSummary:
    """Summarize the final model for the run's summary.

    Args:
        chosen: The number of the trial that it was made of.
    """
    means = [one for one in final.finalists if one.number == chosen]
    ensemble = final.ensemble if final.ensemble and final.ensemble.test_ci95 else None
    return FinalSummary(
        test_accuracy=final.test_accuracy,
        test_ci95=final.test_ci95,
        epochs=final.epochs,
        parameters=final.parameters,
        validation_accuracy_mean=means[0].accuracy if means else None,
        validation_accuracy_sd=means[0].accuracy_sd if means else None,
        default_test_accuracy=final.default_test_accuracy,
        default_test_ci95=final.default_test_ci95,
        default_p_value=final.default_p_value,
        default_chosen=chosen is not None and chosen == final.default_number,
        test_scores=final.test_scores or None,
        default_test_scores=final.default_test_scores or None,
        baseline_test_scores=final.baseline_test_scores or None,
        warning=final.warning,
        ensemble_test_accuracy=ensemble.test_accuracy if ensemble else None,
        ensemble_test_ci95=ensemble.test_ci95 if ensemble else None,
        ensemble_members=len(ensemble.members) if ensemble else None,
    )
