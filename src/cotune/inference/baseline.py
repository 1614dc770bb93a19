"""The baseline: a model that always predicts the most frequent class of its training rows.

Where classes are uneven, a network that has learned nothing scores as well. So the baseline's
scores stand beside the model's, on the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cotune.data.dataset import TrainingData
from cotune.data.uneven import OTHER_METRICS, is_uneven
from cotune.metrics import CHANCE, METRICS, scores_of
from cotune.records import SIGNIFICANT
from cotune.standard_error import SURE, mcnemar, standard_error
from cotune.text import shown_class, shown_score


def baseline_scores(trained: Sequence[int], labels: Tensor) -> dict[str, float]:
    """Score the baseline.

    Its probabilities are the classes' shares of the training rows, so its AUC is 0.5 and its loss
    that of the base rate.

    Args:
        trained: Training rows of each class; a class without one is taken to have one.
        labels: ``[rows]``, at least one.

    Returns:
        As :func:`cotune.metrics.scores_of`.
    """
    return scores_of(_logits(trained, len(labels)), labels)


def validation_baseline(training: TrainingData) -> dict[str, float]:
    """Score the baseline of the training part on the validation part."""
    trained = np.bincount(training.labels[: training.n_train], minlength=training.n_classes)
    return baseline_scores(trained.tolist(), torch.from_numpy(training.labels[training.n_train :]))


def baseline_warning(
    metric: str,
    logits: Tensor,
    labels: Tensor,
    trained: Sequence[int],
    classes: Sequence[str],
    part: str = "test ",
) -> str:
    """Return a line that warns of a model no better than the baseline, or "".

    A score a hair above the baseline's is chance, so the rule is a test at 5 % on the same rows:

    - accuracy: McNemar's, on the rows that model and baseline classify differently;
    - loss: the mean difference of the rows' losses;
    - AUC: the standard error of a model without skill;
    - F1 and balanced accuracy: their own standard errors.

    Args:
        metric: The metric of the run.
        logits: ``[rows, classes]``, the model's.
        labels: ``[rows]`` class indices.
        trained: Training rows of each class.
        classes: Names.
        part: Name of the rows in the line, with a space after it.
    """
    base = _logits(trained, len(labels))
    ours, theirs = scores_of(logits, labels), scores_of(base, labels)
    counts = labels.bincount(minlength=len(trained)).tolist()
    if "auc" not in ours:
        return ""  # rows of one class: there is nothing to tell apart
    if _is_beyond(metric, logits.double(), base, labels, counts):
        return ""
    line = _lead(metric, ours[metric], theirs[metric], trained, classes, part)
    predicted = logits.argmax(1).unique().tolist()
    if len(predicted) == 1:
        line += f"; it predicts {shown_class(classes[predicted[0]])} for every row"
    if metric != "auc":
        line += _ranking(ours["auc"], _is_beyond("auc", logits.double(), base, labels, counts))
    return f"{line}; {_advice(metric, trained)}"


def mean_warning(
    metric: str,
    value: float,
    baseline: Mapping[str, float],
    held_out: Sequence[int],
    trained: Sequence[int],
    classes: Sequence[str],
    auc: float | None = None,
) -> str:
    """Return such a line for a score whose predictions are not known, or "".

    Args:
        metric: The metric of the run.
        value: Its score on held-out rows.
        baseline: The baseline's scores, as :func:`baseline_scores`.
        held_out: Rows of each class in the score.
        trained: Training rows of each class.
        classes: Names.
        auc: The model's on these rows, where it was computed.
    """
    sign = METRICS[metric].sign
    at = baseline["auc"] if metric == "auc" else value
    margin = SURE * standard_error(metric, at, held_out)
    if sign * (value - baseline[metric]) > margin:
        return ""
    line = _lead(metric, value, baseline[metric], trained, classes, "validation ")
    if metric != "auc" and auc is not None:
        noise = SURE * standard_error("auc", CHANCE, held_out)
        line += _ranking(auc, auc - CHANCE > noise)
    return f"{line}; {_advice(metric, trained)}"


def _logits(trained: Sequence[int], rows: int) -> Tensor:
    return torch.tensor(trained, dtype=torch.float64).clamp(min=1.0).log().expand(rows, -1)


def _is_beyond(
    metric: str, logits: Tensor, base: Tensor, labels: Tensor, counts: Sequence[int]
) -> bool:
    ours, theirs = scores_of(logits, labels)[metric], scores_of(base, labels)[metric]
    if metric == "accuracy":
        right, other = (each.argmax(1) == labels for each in (logits, base))
        return ours > theirs and mcnemar(right.numpy(), other.numpy()) < SIGNIFICANT
    if metric == "loss":
        gains = F.cross_entropy(base, labels, reduction="none") - F.cross_entropy(
            logits, labels, reduction="none"
        )
        if len(gains) < 2:
            return False
        return float(gains.mean()) > SURE * float(gains.std()) / math.sqrt(len(gains))
    at = theirs if metric == "auc" else ours
    return ours - theirs > SURE * standard_error(metric, at, counts)


def _lead(
    metric: str,
    ours: float,
    theirs: float,
    trained: Sequence[int],
    classes: Sequence[str],
    part: str,
) -> str:
    most = shown_class(classes[trained.index(max(trained))])
    return (
        f"the final model is not better than the baseline by more than noise: {part}{metric} "
        f"{shown_score(metric, ours)}, always predicting {most} {shown_score(metric, theirs)}"
    )


def _ranking(auc: float, is_beyond: bool) -> str:
    verb = "but it does rank" if is_beyond else "nor does it rank"
    return f"; {verb} the rows (AUC {auc:.4f})"


def _advice(metric: str, trained: Sequence[int]) -> str:
    if not is_uneven(trained):
        return "try more time, more rows or other columns"
    if metric in ("accuracy", "loss"):
        return f"try another metric ({OTHER_METRICS}), class weights (class_weight 1) or more time"
    return "try class weights (class_weight 1), more time or more rows"
