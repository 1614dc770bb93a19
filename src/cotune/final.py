"""The final model: the chosen configuration on training + validation data, tested once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cotune.data.dataset import Dataset
from cotune.data.preprocess import Standardize
from cotune.executors.base import Executor
from cotune.modelfile import Classifier, module_from_weights
from cotune.models import dropout_rates, make_shape
from cotune.observer import Observer
from cotune.results import FinalResult, Report, TrialSpec, Verdict

FINAL_NUMBER = -1
_POLL_SECONDS = 0.1
_TEST_ROWS = 2048
_MISTAKES = 16


class DivergedError(Exception):
    """The final model of a trial failed in training; another trial's may not."""


def train_final(
    spec: TrialSpec,
    executor: Executor,
    dataset: Dataset,
    preprocessing: Standardize,
    observer: Observer,
    deadline: float | None,
    stopped: Callable[[], bool],
) -> tuple[Classifier, list[Report]] | None:
    """Train a configuration on all rows but the test set's.

    Args:
        deadline: By ``time.monotonic()``. Training ends early rather than go past it; the
            reports then show fewer epochs than the configuration has.
        stopped: Whether the user wants the run to end.

    Returns:
        The model and a report for each epoch, or None when the user stopped it.

    Raises:
        DivergedError: Its loss or weights became NaN or infinite.
    """
    executor.submit([spec])
    reports: list[Report] = []
    while not stopped():
        for report in executor.reports(_POLL_SECONDS):
            if report.error:
                raise DivergedError(f"epoch {report.epoch} of its final model: {report.error}")
            reports.append(report)
            observer.final_reported(report)
            too_late = deadline is not None and time.monotonic() + report.seconds > deadline
            if report.epoch < spec.epochs and not too_late:
                executor.apply([Verdict(spec.number, stop=False)])
                continue
            weights = executor.weights(spec.number)
            executor.apply([Verdict(spec.number, stop=True)])
            shape = make_shape(spec.params, preprocessing.input_shape, len(dataset.classes))
            network = module_from_weights(shape, dropout_rates(spec.params), weights)
            return Classifier(network, preprocessing, dataset.classes).eval(), reports
        observer.tick()
    return None


@dataclass(frozen=True)
class TestReading:
    """What the one reading of the sealed test set gave.

    Attributes:
        accuracy: Share of the rows classified right, 0-1.
        ci95: Its Wilson 95 % interval.
        confusion: ``[classes][classes]`` counts, true class by row.
        mistakes: The surest misclassifications, worst first; see ``FinalResult.mistakes``.
        images: The inputs of those rows.
    """

    __test__ = False  # not a test class, whatever its name says

    accuracy: float
    ci95: tuple[float, float]
    confusion: list[list[int]]
    mistakes: list[dict[str, float]]
    images: NDArray[np.generic]


def read_test_set(model: Classifier, dataset: Dataset) -> TestReading:
    """Open the sealed test set and score the model on it. Called once in a run."""
    from scipy.stats import binomtest
    from sklearn.metrics import confusion_matrix

    inputs, labels = dataset.open_test()
    with torch.no_grad():
        chunks = [
            model(torch.from_numpy(inputs[i : i + _TEST_ROWS])).softmax(-1)
            for i in range(0, len(inputs), _TEST_ROWS)
        ]
    probabilities = torch.cat(chunks).numpy()
    predicted = probabilities.argmax(1)
    hits = int((predicted == labels).sum())
    # Wilson's interval (Wilson 1927, eq. 4) keeps to 0-1 and holds for shares near 1.
    interval = binomtest(hits, len(labels)).proportion_ci(0.95, method="wilson")
    sureness = np.where(predicted == labels, -1.0, probabilities.max(1))
    worst = [int(row) for row in np.argsort(-sureness, kind="stable")[:_MISTAKES]]
    worst = [row for row in worst if sureness[row] >= 0]
    return TestReading(
        accuracy=hits / len(labels),
        ci95=(float(interval.low), float(interval.high)),
        confusion=confusion_matrix(labels, predicted, labels=range(len(dataset.classes))).tolist(),
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
    )


def final_result(model: Classifier, reports: list[Report], reading: TestReading) -> FinalResult:
    """The final model's training and test as one record."""
    return FinalResult(
        test_accuracy=reading.accuracy,
        test_ci95=reading.ci95,
        epochs=reports[-1].epoch,
        parameters=sum(p.numel() for p in model.parameters()),
        curve={
            "loss": [report.train_loss for report in reports],
            "accuracy": [report.train_accuracy for report in reports],
        },
        confusion=reading.confusion,
        mistakes=reading.mistakes,
    )
