"""Metrics of classifiers: the one list of them, each defined once.

The engine scores several lanes at once from their confusion matrices; :func:`scores_of` scores one
model, wherever its logits come from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cotune.records import Direction

if TYPE_CHECKING:  # PyTorch takes seconds to import, and names need none of it
    from torch import Tensor

CHANCE = 0.5
"""The AUC of a model that ranks rows at random."""


@dataclass(frozen=True)
class Metric:
    """A score of a classifier.

    Attributes:
        name: What users call it.
        direction: Which way is better.
        label: What reports call it on the validation part.
        of_confusion: Computes it, ``float64 [lanes]``, from counts ``[lanes, true, predicted]``;
            None where these do not tell it.
    """

    name: str
    direction: Direction
    label: str
    of_confusion: Callable[[Tensor], Tensor] | None = None

    @property
    def sign(self) -> float:
        """1 where larger is better, else -1."""
        return 1.0 if self.direction == "maximize" else -1.0


def accuracy(confusion: Tensor) -> Tensor:
    """Return the share of the rows that are classified right, ``float64 [lanes]``.

    Args:
        confusion: Counts, ``[lanes, true, predicted]``.
    """
    return confusion.diagonal(dim1=1, dim2=2).sum(1).double() / confusion.sum((1, 2))


def balanced_accuracy(confusion: Tensor) -> Tensor:
    """Return the mean recall of the classes that occur, ``float64 [lanes]``.

    Args:
        confusion: Counts, ``[lanes, true, predicted]``.
    """
    hits, rows = confusion.diagonal(dim1=1, dim2=2).double(), confusion.sum(2)
    return (hits / rows.clamp(min=1)).sum(1) / (rows > 0).sum(1).clamp(min=1)


def macro_f1(confusion: Tensor) -> Tensor:
    """Return the mean F1 of the classes that occur or are predicted, ``float64 [lanes]``.

    F1 = 2 TP / (2 TP + FP + FN). A class that neither occurs nor is predicted has none and is left
    out, as in scikit-learn's ``f1_score(average="macro")``.

    Args:
        confusion: Counts, ``[lanes, true, predicted]``.
    """
    hits = confusion.diagonal(dim1=1, dim2=2)
    both = confusion.sum(1) + confusion.sum(2)
    return (2 * hits.double() / both.clamp(min=1)).sum(1) / (both > 0).sum(1).clamp(min=1)


def macro_auc(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the area under the ROC curve, each class against the rest, ``float64 [lanes]``.

    A class's area is the chance that one of its rows has a higher probability of it than one of
    the others has; equal ones count half (Mann and Whitney 1947). Of two classes it is the
    second's; of more the mean over those that occur. Where there is one class only, it is 0.5.

    Args:
        probabilities: ``[rows, lanes, classes]``.
        labels: ``[rows]``.
    """
    import torch

    n_classes = probabilities.shape[2]
    areas = []
    for c in (1,) if n_classes == 2 else range(n_classes):
        own = labels == c
        positive = probabilities[own, :, c].t().contiguous()
        negative = probabilities[~own, :, c].t().contiguous().sort(1).values
        pairs = positive.shape[1] * negative.shape[1]
        if pairs:
            below = torch.searchsorted(negative, positive)
            not_above = torch.searchsorted(negative, positive, right=True)
            areas.append((below + not_above).sum(1).double() / (2 * pairs))
    if not areas:
        return probabilities.new_full(probabilities.shape[1:2], CHANCE, dtype=torch.float64)
    return torch.stack(areas).mean(0)


def confusion_matrix(predicted: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Count the rows by true and predicted class, ``int64 [true, predicted]``.

    Args:
        predicted, labels: ``[rows]`` class indices.
    """
    import torch

    cells = torch.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    return cells.view(n_classes, n_classes)


METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "maximize", "validation accuracy", accuracy),
        Metric("balanced-accuracy", "maximize", "validation balanced accuracy", balanced_accuracy),
        Metric("f1", "maximize", "validation F1", macro_f1),
        Metric("auc", "maximize", "validation AUC"),
        Metric("loss", "minimize", "validation loss"),
    )
}
"""The metrics there are; a further one that a confusion matrix tells is a line here.

F1 and AUC are means over the classes, and balanced accuracy is the mean of their recalls.
"""


def scores_of_confusion(confusion: Tensor) -> dict[str, Tensor]:
    """Return all scores that confusion matrices tell, ``float64 [lanes]`` by name.

    Args:
        confusion: Counts, ``[lanes, true, predicted]``.
    """
    return {
        name: metric.of_confusion(confusion)
        for name, metric in METRICS.items()
        if metric.of_confusion is not None
    }


def scores_of(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Score a model on some rows by every metric, as the engine scores trials.

    Args:
        logits: ``[rows, classes]``, at least one row.
        labels: ``[rows]`` class indices.

    Returns:
        By :data:`METRICS`; without ``auc`` where all rows are of one class, as
        there is then nothing to tell apart.
    """
    import torch.nn.functional as F

    logits = logits.double()
    probabilities = logits.softmax(-1)
    predicted = probabilities.argmax(1)
    confusion = confusion_matrix(predicted, labels, logits.shape[1])[None]
    scores = {
        **scores_of_confusion(confusion),
        "auc": macro_auc(probabilities[:, None], labels),
        "loss": F.cross_entropy(logits, labels),
    }
    if bool((labels == labels[0]).all()):
        del scores["auc"]
    return {name: float(value) for name, value in scores.items()}
