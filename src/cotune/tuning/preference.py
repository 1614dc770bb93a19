"""Which of several models to prefer where accuracy cannot tell them apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cotune.metrics import CHANCE

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
    sure of it, have larger ones, and nearly constant ones smaller. So those come first whose AUC is
    beyond chance and within noise of the largest, and among them the smaller loss decides.
    Networks whose training was cut short come after the others, as their first epochs often
    predict one class.

    Args:
        ranked: The best by the metric first.
        measured: Scores of one of them.
        margin: How far from the best counts as within noise, 0 or more.
        chance: The largest AUC that a model without skill may have: 0.5 and the noise of an AUC.

    Returns:
        Those within noise, then the others as they were.
    """
    best = measured(ranked[0]).value if ranked else None
    if best is None:
        return list(ranked)

    def is_close(one: T) -> bool:
        value = measured(one).value
        return value is not None and best - value <= margin

    close = list(filter(is_close, ranked))
    areas = [s.auc for s in map(measured, close) if s.is_complete and s.auc is not None]
    floors = chance, max(areas, default=chance) - (chance - CHANCE)

    def order(one: T) -> tuple[bool, int, float]:
        scores = measured(one)
        auc = CHANCE if scores.auc is None else scores.auc
        loss = math.inf if scores.loss is None else scores.loss
        return not scores.is_complete, -sum(auc > floor for floor in floors), loss

    close.sort(key=order)
    return close + [one for one in ranked if not is_close(one)]
