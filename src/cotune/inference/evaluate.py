"""Scores of a run's final model on labelled data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cotune.data.checks import check_same_length
from cotune.data.known_rows import row_digests, splits_of
from cotune.data.readers.arrays import as_labels, match_labels
from cotune.data.reading import Data
from cotune.diagnostics import Reliability
from cotune.engine.networks.custom.given import ModelLike
from cotune.exceptions import DataError
from cotune.inference.baseline import baseline_scores, baseline_warning
from cotune.inference.calibration import reliability
from cotune.inference.predict import Predictor, load_predictor, logits_of, read_rows, run_of
from cotune.inference.scores import wilson_interval
from cotune.metrics import confusion_matrix, scores_of
from cotune.runs.source import recorded_source

_SHOWN = 5  # labels in a message
_MAX_NAME = 40  # characters of one


@dataclass(frozen=True)
class ClassScore:
    """Recall and precision of one class.

    Attributes:
        rows: Rows of this class in the data.
        recall: Share of them that is predicted as this class, 0-1; None without any.
        precision: Share of the rows predicted as this class that is of it, 0-1; None without any.
    """

    name: str
    rows: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class PartScore:
    """Rows of the data that were in one part of the run's data.

    Attributes:
        accuracy: Share of them classified correctly, 0-1.
    """

    rows: int
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """A model's scores on labelled data.

    Attributes:
        rows: Number of rows.
        accuracy: Share of them classified correctly, 0-1.
        ci95: Its Wilson 95 % interval.
        balanced_accuracy: Mean recall of the classes that occur.
        f1: Mean F1 of the classes that occur or are predicted.
        auc: Area under the ROC curve: the second class's where there are two; else the mean over
            the classes that occur, each against the rest. None where there is one only.
        log_loss: Mean cross-entropy.
        reliability: How far the probabilities agree with how often they are right.
        temperature: That scales them, see :class:`cotune.diagnostics.Calibration`.
        baseline: Scores of always predicting the most frequent class of the training rows, on these
            rows: ``accuracy``, ``balanced-accuracy``, ``f1``, ``auc`` (where there is one) and
            ``loss``; empty if that class is unknown, as of a model of an older Cotune.
        warning: A line where the model is no better than that by the run's metric, or "".
        classes: Each class.
        confusion: ``[classes][classes]`` counts, true class by row.
        parts: Scores of rows that the run had, by part: ``train``, ``validation``, ``test``. The
            model was trained on the first two.
        readings: Readings of the run's sealed test set so far, this one included; None if the data
            has no row of it.
    """

    rows: int
    accuracy: float
    ci95: tuple[float, float]
    balanced_accuracy: float
    f1: float
    auc: float | None
    log_loss: float
    classes: list[ClassScore]
    confusion: list[list[int]]
    reliability: Reliability
    temperature: float
    parts: dict[str, PartScore] = field(default_factory=dict)
    readings: int | None = None
    baseline: dict[str, float] = field(default_factory=dict)
    warning: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return numbers, lists and dictionaries."""
        return asdict(self)


def evaluate(
    path: str | Path,
    data: Data,
    *,
    target: str | int | None = None,
    ensemble: bool = False,
    device: str = "cpu",
    model: ModelLike = None,
) -> Evaluation:
    """Score a run's final model on labelled data.

    Training, validation and test rows of the run are recognised by content, in any file. A reading
    of its sealed test set, or of a part of it, is recorded in ``readings.jsonl``.

    Args:
        path: A run directory, or the folder that holds ``model.json``.
        data: A file or folder as in training; or a DataFrame, or a pair of arrays.
        target: Column or array of the labels; by default that of the training.
        ensemble: The run's ensemble instead of its final model.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        model: Maker of the network, as for :func:`run`, where it is one of your own.

    Raises:
        ModelFileError: There is no model, or it is damaged or altered.
        UsageError: It is a network of your own, and ``model`` is not given.
        DataError: The data cannot be read, are not of the model's columns or shape, or have no
            labels or ones that the model does not know.
        StorageError: The reading cannot be recorded.
    """
    predictor = load_predictor(path, ensemble, model)
    run = run_of(path)
    source = recorded_source(run) if run else None
    if target is None and source is not None and _has_columns(data):
        target = source.target
    rows = read_rows(predictor, data, target)
    logits, what = logits_of(predictor, rows, device), rows.what
    if rows.labels is None:
        where = "" if target is None else f" in {str(target)[:_MAX_NAME]!r}"
        advice = "name what holds them with --target"
        if rows.files is not None:
            advice = "put the images of each class into a folder of its own"
        raise DataError(f"{what}: has no labels{where}; {advice}")
    given = as_labels(rows.labels, f"{what}: labels")
    check_same_length(rows.inputs, given, what)
    labels = class_indices(given, predictor.classes, what)
    right = logits.softmax(-1).argmax(1).numpy() == labels
    result = _scores(
        predictor, logits, torch.from_numpy(labels), run.data_config().metric if run else "accuracy"
    )
    if run is None:
        return result
    parts = {
        name: PartScore(int(chosen.sum()), float(right[chosen].mean()))
        for name, chosen in splits_of(run.tables.rows(), row_digests(rows.inputs)).items()
    }
    readings = None
    if "test" in parts:
        run.append_reading(parts["test"].accuracy)
        readings = len(run.readings())
    return Evaluation(**{**vars(result), "parts": parts, "readings": readings})


def class_indices(labels: NDArray[Any], classes: tuple[str, ...], what: str) -> NDArray[np.int64]:
    """Return labels as indices into a model's classes.

    Args:
        labels: ``[rows]``: names of classes, where true and false are also 1 and 0; or whole
            numbers, which are indices if no class has a number for a name.
        what: Beginning of a message.

    Raises:
        DataError: Some are no class of the model; they are named.
    """
    labels, _ = match_labels(labels, np.array(classes, np.str_))
    distinct, codes = np.unique(labels, return_inverse=True)
    known = {name: index for index, name in enumerate(classes)}
    if distinct.dtype.kind in "iu" and not any(name.lstrip("-").isdecimal() for name in classes):
        known = {str(index): index for index in range(len(classes))}
    unknown = [name for name in map(str, distinct) if name not in known]
    if unknown:
        raise DataError(
            f"{what}: labels {_listed(unknown)} are no classes of the model; it knows "
            f"{_listed(list(known))}"
        )
    indices: NDArray[np.int64] = np.array([known[str(name)] for name in distinct])[codes]
    return indices


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:_MAX_NAME]) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _scores(model: Predictor, logits: Tensor, labels: Tensor, metric: str) -> Evaluation:
    confusion = confusion_matrix(logits.softmax(-1).argmax(1), labels, len(model.classes))
    hits, rows = confusion.diagonal(), confusion.sum(1)
    scores, trained = scores_of(logits, labels), model.class_counts
    return Evaluation(
        rows=len(labels),
        accuracy=scores["accuracy"],
        ci95=wilson_interval(int(hits.sum()), len(labels)),
        balanced_accuracy=scores["balanced-accuracy"],
        f1=scores["f1"],
        auc=scores.get("auc"),
        log_loss=scores["loss"],
        classes=[
            ClassScore(name, int(rows[i]), _share(hits[i], rows[i]), _share(hits[i], predicted))
            for i, (name, predicted) in enumerate(zip(model.classes, confusion.sum(0), strict=True))
        ],
        confusion=confusion.tolist(),
        reliability=reliability(logits, labels),
        temperature=model.temperature,
        baseline=baseline_scores(trained, labels) if trained else {},
        warning=(
            baseline_warning(metric, logits, labels, trained, model.classes, part="")
            if trained
            else ""
        ),
    )


def _share(hits: Tensor, rows: Tensor) -> float | None:
    return int(hits) / int(rows) if rows else None


def _has_columns(data: Data) -> bool:
    """Return whether the labels can be a column or array of the data, as in training."""
    return isinstance(data, str | Path) or hasattr(data, "__arrow_c_stream__")
