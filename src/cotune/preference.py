"""Which of several models to prefer where accuracy cannot tell them apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """Scores of a model on held-out rows.

    Attributes:
        value: Of the run's metric, larger ones better; None where there is none.
        auc: Area under its ROC curve; None where that was not computed.
        loss: Mean cross-entropy.
        is_complete: Trained to its end, so that the final model will be like it.
    """

    value: float | None
    auc: float | None
    loss: float | None
    is_complete: bool = True


def learned_first(
    ranked: Sequence[T], measured: Callable[[T], Measured], margin: float, chance: float
) -> list[T]:
    """Put those within noise of the best in the order of what they have learned.

    Where classes are uneven, a network that always predicts the most frequent one can be the most
    accurate by chance. Nor does the loss alone show it: networks that rank the rows, but are too
    sure of it, have larger ones. So those that rank rows beyond chance come first, and among them
    the smaller loss decides. Networks whose training was cut short come after the others, as their
    first epochs often predict one class.

    Args:
        ranked: The best by the metric first.
        measured: Scores of one of them.
        margin: How far from the best counts as within noise, 0 or more.
        chance: The largest AUC that a model without skill may have.

    Returns:
        Those within noise, then the others as they were.
    """
    best = measured(ranked[0]).value if ranked else None
    if best is None:
        return list(ranked)

    def is_close(one: T) -> bool:
        value = measured(one).value
        return value is not None and best - value <= margin

    def order(one: T) -> tuple[bool, bool, float]:
        scores = measured(one)
        ranks = scores.auc is not None and scores.auc > chance
        loss = math.inf if scores.loss is None else scores.loss
        return not scores.is_complete, not ranks, loss

    close = sorted(filter(is_close, ranked), key=order)
    return close + [one for one in ranked if not is_close(one)]
