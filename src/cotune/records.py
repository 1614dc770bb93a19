"""Plain data between driver, workers and disk.

Every class is frozen, holds only numbers, strings, booleans and containers of them, and goes to
JSON and back without loss (``to_json`` / ``from_json``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import nan
from typing import Any, Final, Literal, Self

from cotune.diagnostics import Calibration, ColumnImportances
from cotune.text import counted

Value = bool | int | float | str
"""What a hyperparameter can be."""

Part = Literal["train", "all"]
"""The rows a trial is fitted on: the training part, or training and validation parts together."""

State = Literal["complete", "pruned", "failed"]
"""How a trial ended, with Optuna's meaning."""

StopCause = Literal["pruned", "out_of_time", "patience", "early_stopped", "failed"]
"""Why a trial ended before it had all its epochs. The pruner, the end of the time or the search's
patience cut it short; or its own early stopping ended it, and it is complete; or it failed."""

CUT_SHORT: Final[dict[StopCause, str]] = {
    "pruned": "pruned",
    "out_of_time": "time was up",
    "patience": "patience was over",
}
"""What the reason of a trial that was cut short begins with."""

Direction = Literal["maximize", "minimize"]

Scores = dict[str, float]
"""Scores by metric."""

_ALWAYS: Final = {"accuracy", "balanced-accuracy", "f1", "loss"}  # scored in every version

COSTS: Final = ("parameters", "latency")
"""What a network costs, as further objectives: its weights, and milliseconds to classify a row."""

FINAL_NUMBER: Final = -1
"""The number of the final model's training."""

SIGNIFICANT: Final = 0.05
"""A p-value below it is called beyond noise."""


class _Json:
    def to_json(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


def check_scores(*scores: Scores | None) -> None:
    """Make sure that scores, where there are any, have what every version scores.

    Raises:
        ValueError: One is missing. (A test set of one class has no AUC.)
    """
    for one in scores:
        if one and not one.keys() >= _ALWAYS:
            raise ValueError("a score is missing")


@dataclass(frozen=True)
class Cluster(_Json):
    """A Ray cluster, and what a run takes of it.

    Attributes:
        address: ``HOST:PORT`` of its head, or ``local`` for one that is started on this machine.
        workers: Actors, each with an engine; None for as many as the cluster has room for, which
            may change.
        cpus, gpus: What each actor takes.
    """

    address: str = "local"
    workers: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0

    @property
    def actors(self) -> str:
        """How many actors there are, for people."""
        return counted(self.workers, "actor") if self.workers else "as many actors as fit"


@dataclass(frozen=True)
class Place(_Json):
    """The place where trials are trained.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        workers: Processes; 0 for the driver's own.
        cluster: A Ray cluster, instead of the driver's machine.
        lockstep: Train in lockstep with the driver, where that is possible.
    """

    device: str = "cpu"
    workers: int = 1
    cluster: Cluster | None = None
    lockstep: bool = False

    @property
    def executor(self) -> str:
        """The name of the executor: ``processes``, ``in-process`` or ``ray``."""
        if self.cluster is not None:
            return "ray"
        return "in-process" if self.device != "cpu" or self.workers == 0 else "processes"


@dataclass(frozen=True)
class TrialSpec(_Json):
    """A trial to train.

    Attributes:
        number: The trial's number in the study; the final model's training has number -1.
        params: Hyperparameters by name, ``epochs`` among them.
        seed: Seeds the weights and the dropout of this trial; the order of the minibatches
            depends on the run's seed and the epoch alone.
        part: The rows to fit. With ``"all"`` there is nothing left to validate on.
        fold: Which rows of the training and validation parts are held out; 0: the validation part.
        averaged: Score and keep a running average of the weights, not those of the last step.
        horizon: Epochs by which its schedule goes until a verdict gives others; None: all.
    """

    number: int
    params: dict[str, Value]
    seed: int
    part: Part = "train"
    fold: int = 0
    averaged: bool = False
    horizon: int | None = None

    @property
    def epochs(self) -> int:
        return int(self.params["epochs"])


@dataclass(frozen=True)
class EpochReport(_Json):
    """One epoch of one lane.

    Attributes:
        number: The trial's number.
        epoch: The epoch that just ended, from 1.
        train_loss: Mean cross-entropy over the epoch's minibatches, dropout on, labels smoothed
            and classes weighted as the trial wants it.
        train_accuracy: Share of the epoch's training rows classified right, 0-1, dropout on.
        scores: By :data:`cotune.metrics.METRICS` on the validation part, all but the loss 0-1;
            ``auc`` only where it is the run's metric, or where that is accuracy and classes are
            uneven. Empty when the trial is fitted on all rows.
        seconds: Wall clock of this epoch, its evaluation included, shared out among the lanes
            trained together by the work that each is.
        steps: Minibatches in the epoch.
        lanes: Lanes that were trained together in this epoch.
        error: Why the lane failed in this epoch, or None.
        alone: Why it cannot be trained together with others, or "".
        horizon: Epochs by which its schedule went, where verdicts say that; None: all.
    """

    number: int
    epoch: int
    train_loss: float
    train_accuracy: float
    scores: dict[str, float]
    seconds: float
    steps: int
    lanes: int = 1
    error: str | None = None
    alone: str = ""
    horizon: int | None = None

    @classmethod
    def failed(cls, number: int, epoch: int, reason: str) -> EpochReport:
        """Return the report of a lane that failed before its epoch ended."""
        return cls(number, epoch, nan, nan, {}, seconds=0.0, steps=0, error=reason)

    @property
    def failure(self) -> str:
        """The error with its epoch, for people."""
        return f"epoch {self.epoch}: {self.error}"


@dataclass(frozen=True)
class Verdict(_Json):
    """The driver's decision on a lane after its report.

    Attributes:
        stop: Free the lane's place.
        epoch: The report's; a lane that was put back to another since waits for its own verdict.
        horizon: Epochs of the whole training, by which its schedule goes from now on; None: as
            before.
    """

    number: int
    stop: bool
    epoch: int | None = None
    horizon: int | None = None


@dataclass(frozen=True)
class TrialResult(_Json):
    """A finished trial: one row of ``trials.csv``.

    Attributes:
        value: The run's metric on the validation part after the last epoch, or after the best
            one where the trial was stopped early; None when failed before the first report.
        epochs: Epochs that were trained.
        reason: What people read of its :attr:`stop_cause`; "" where there is none.
        seconds: Wall clock the engine spent on it.
        costs: What its network costs, by name, where that is an objective: ``parameters``, and
            ``latency`` in milliseconds a row.
    """

    number: int
    state: State
    value: float | None
    epochs: int
    params: dict[str, Value]
    seconds: float
    reason: str = ""
    costs: dict[str, float] = field(default_factory=dict)

    @property
    def stop_cause(self) -> StopCause | None:
        """Why it ended before it had all its epochs; None where it has them."""
        if self.state == "complete":
            return "early_stopped" if self.reason else None
        if self.state == "failed" or self.reason == CUT_SHORT["pruned"]:
            return self.state
        return "patience" if self.reason.startswith(CUT_SHORT["patience"]) else "out_of_time"


@dataclass(frozen=True)
class Finalist(_Json):
    """A trial's configuration, trained again with fresh seeds on other folds.

    Attributes:
        number: The trial's.
        trainings: How many there were.
        value: Mean of the run's metric.
        accuracy: Mean accuracy, 0-1, on rows held out from each training.
        accuracy_sd: Standard deviation of the trainings' accuracies; None for a single one.
        loss: Mean cross-entropy; None in runs of an older Cotune.
        auc: Mean AUC; None where it was not computed.
    """

    number: int
    trainings: int
    value: float
    accuracy: float
    accuracy_sd: float | None
    loss: float | None = None
    auc: float | None = None


@dataclass(frozen=True)
class ObjectiveFinalist(_Json):
    """A trial of an objective that was called again with fresh seeds.

    Attributes:
        number: The trial's.
        runs: How many calls of the objective returned a number.
        failed: How many did not.
        mean: Of what they returned.
        sd: Standard deviation of it; None for a single one.
    """

    number: int
    runs: int
    failed: int
    mean: float
    sd: float | None = None


@dataclass(frozen=True)
class EnsembleResult(_Json):
    """Several trials' networks as one.

    Attributes:
        members: How many shares of the average each trial has, by its number.
        validation_accuracy: On the rows that the members were chosen by, 0-1: optimistic; None
            where they were trained on all rows.
        test_accuracy, test_ci95: In the one look at the test set; None before it.
        calibration: Of the averaged probabilities; None in runs of an older Cotune.
    """

    members: dict[int, int]
    validation_accuracy: float | None
    test_accuracy: float | None = None
    test_ci95: tuple[float, float] | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True)
class FinalResult(_Json):
    """The model that was trained on training + validation data, and its one look at the test set.

    Without a test set, all that is of one is None or empty.

    Attributes:
        test_accuracy: Share of the test rows classified right, 0-1.
        test_ci95: Wilson 95 % interval of that share.
        epochs: Epochs trained.
        parameters: Number of trainable weights.
        curve: Training loss and accuracy of every epoch, ``{"loss": [...], "accuracy": [...]}``.
        confusion: ``[classes][classes]`` counts on the test set, true class by row.
        mistakes: The test rows that were most surely misclassified, worst first: ``{"row",
            "true", "predicted", "probability"}`` with class indices.
        finalists: Best first; none where there was no time for them.
        default_number: The trial of the default configuration; None where it has no score.
        default_test_accuracy, default_test_ci95: What the default, trained on the same rows, came
            to in that same look; those of the final model where it is the default.
        default_p_value: Chance of a difference as large between two models that are equally good
            (McNemar 1947, exact); 1 where the default was chosen.
        ensemble: Beside the single model, where one was asked for.
        test_scores, default_test_scores: All of :data:`cotune.metrics.METRICS` on the test set,
            from the same reading, of the final model and of the default; without ``auc`` where the
            test rows are of one class.
        baseline_test_scores: The same of always predicting the most frequent class of the training
            rows; empty in runs of an older Cotune.
        warning: A line where the final model is not better than that, or "".
        calibration: Of its probabilities; None in runs of an older Cotune.
        columns: Importances of a table's columns; None of images and in runs of an older Cotune.
    """

    test_accuracy: float | None
    test_ci95: tuple[float, float] | None
    epochs: int
    parameters: int
    curve: dict[str, list[float]] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)
    mistakes: list[dict[str, float]] = field(default_factory=list)
    finalists: list[Finalist] = field(default_factory=list)
    default_number: int | None = None
    default_test_accuracy: float | None = None
    default_test_ci95: tuple[float, float] | None = None
    default_p_value: float | None = None
    ensemble: EnsembleResult | None = None
    test_scores: dict[str, float] = field(default_factory=dict)
    default_test_scores: dict[str, float] = field(default_factory=dict)
    baseline_test_scores: dict[str, float] = field(default_factory=dict)
    warning: str = ""
    calibration: Calibration | None = None
    columns: ColumnImportances | None = None

    def __post_init__(self) -> None:
        check_scores(self.test_scores, self.default_test_scores, self.baseline_test_scores)
        if self.test_accuracy is not None and self.test_ci95 is None:
            raise ValueError("test_accuracy without test_ci95")
