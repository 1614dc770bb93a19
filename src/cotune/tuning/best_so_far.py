"""The best score so far: of one search as a staircase, of several as a median within a band."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

Steps = list[tuple[float, float]]
"""Where a search got better: ``(x, best score from there on)``, x rising."""


@dataclass(frozen=True)
class Band:
    """Several searches at each place where one of them got better.

    Attributes:
        x: Rising; from where all of them have a score to the end.
        low, median, high: ``[len(x)]``: smallest, median and largest of their best scores.
    """

    x: list[float]
    low: list[float]
    median: list[float]
    high: list[float]


def best_so_far(points: Iterable[tuple[float, float | None]], maximize: bool) -> Steps:
    """Return the best score so far as a staircase.

    Args:
        points: ``(x, score)`` of its trials, x rising; None for those without a score.
        maximize: Whether larger scores are better.
    """
    steps: Steps = []
    for x, score in points:
        if score is not None and (not steps or is_better(score, steps[-1][1], maximize)):
            steps.append((x, score))
    return steps


def is_better(score: float, other: float, maximize: bool) -> bool:
    return score > other if maximize else score < other


def reached(steps: Steps, target: float, maximize: bool) -> float:
    """Return the first x with a best score as good as the target; infinite where there is none."""
    for x, score in steps:
        if not is_better(target, score, maximize):
            return x
    return math.inf


def band(searches: Sequence[Steps], end: float) -> Band:
    """Return the median and the range of searches; one that has ended keeps its best.

    Args:
        searches: Those without a score are left out.
        end: The last x.
    """
    searches = [steps for steps in searches if steps]
    if not searches:
        return Band([], [], [], [])
    begin = max(steps[0][0] for steps in searches)
    places = sorted({x for steps in searches for x, _ in steps if x >= begin} | {max(begin, end)})
    columns = [sampled([x for x, _ in s], [y for _, y in s], places)[1] for s in searches]
    scores = [sorted(own) for own in zip(*columns, strict=True)]
    return Band(
        places,
        [own[0] for own in scores],
        [median(own) for own in scores],
        [own[-1] for own in scores],
    )


def sampled(
    x: Sequence[float], y: Sequence[float], places: Iterable[float]
) -> tuple[list[float], list[float]]:
    """Sample a staircase at places: their x, and the scores there."""
    reached = [place for place in places if x and place >= x[0]]
    return reached, [y[bisect_right(x, place) - 1] for place in reached]
