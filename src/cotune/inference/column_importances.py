"""Permutation importances of a table's columns: the fall of a score where one is shuffled."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from cotune.diagnostics import ColumnImportance, ColumnImportances
from cotune.inference.model_file import Classifier
from cotune.inference.scores import compute_logits
from cotune.metrics import METRICS, scores_of

_REPEATS: Final = 5
_FEWEST_ROWS: Final = 500  # of a sample
# Rows that are predicted, times weights: about two seconds. A bound by the clock alone would give
# equal runs unequal numbers.
_MOST_WORK: Final = 3e10


@dataclass(frozen=True)
class Judged:
    """A network and rows that it was not trained on.

    Attributes:
        inputs: ``[rows, columns]`` as they are in the data.
        labels: ``[rows]`` class indices.
    """

    model: Classifier
    inputs: NDArray[np.generic]
    labels: NDArray[np.int64]


def column_importances(
    judged: Sequence[Judged], names: Sequence[str], metric: str, seed: int, seconds: float
) -> ColumnImportances:
    """Shuffle each column of held-out rows in turn, and see how much the score falls.

    Of many rows a sample is used, and of large networks or many columns fewer shuffles.

    Args:
        judged: At least one.
        names: Of the columns.
        metric: One of :data:`cotune.metrics.METRICS`.
        seed: Decides the sample and the shuffles.
        seconds: A round of shuffles that is not over after them does not count.
    """
    end = time.monotonic() + seconds
    all_rows = sum(len(one.labels) for one in judged)
    weights = sum(weight.numel() for weight in judged[0].model.parameters())
    affordable = int(_MOST_WORK / ((weights + len(names)) * len(names)))  # rows times repeats
    rows = min(all_rows, max(_FEWEST_ROWS, affordable // _REPEATS))
    rng = np.random.default_rng(seed)
    sampled = [_sample(one, rows / all_rows, rng) for one in judged]
    # Where rows are of one class, there is no AUC.
    scored = [one for one in sampled if metric in _scores(one, one.inputs)]
    rounds: list[list[list[float]]] = []
    while scored and len(rounds) < min(_REPEATS, affordable // rows):
        falls = [_falls(one, metric, rng, end) for one in scored]
        if time.monotonic() > end:
            break
        rounds.append(falls)
    columns = []
    for i, name in enumerate(names if rounds else ()):
        values = [falls[i] for falls_of_each in rounds for falls in falls_of_each]
        sd = statistics.stdev(values) if len(values) > 1 else None
        columns.append(ColumnImportance(name, statistics.fmean(values), sd))
    return ColumnImportances(
        columns=sorted(columns, key=lambda one: -one.mean),
        metric=metric,
        rows=sum(len(one.labels) for one in scored),
        all_rows=all_rows,
        trainings=len(scored),
        repeats=len(rounds),
        reason="" if rounds else f"shuffling {len(names):,} columns takes too long",
    )


def _sample(judged: Judged, share: float, rng: np.random.Generator) -> Judged:
    """Return a share of the rows, in their order."""
    rows = len(judged.labels)
    chosen = np.sort(rng.permutation(rows)[: max(1, round(share * rows))])
    return Judged(judged.model, judged.inputs[chosen], judged.labels[chosen])


def _falls(judged: Judged, metric: str, rng: np.random.Generator, end: float) -> list[float]:
    """Return the fall of the score for each column, shuffled once; fewer after the end."""
    whole, sign = _scores(judged, judged.inputs)[metric], METRICS[metric].sign
    falls = []
    for column in range(judged.inputs.shape[1]):
        if time.monotonic() > end:
            break
        shuffled = judged.inputs.copy()
        shuffled[:, column] = rng.permutation(shuffled[:, column])
        falls.append(sign * (whole - _scores(judged, shuffled)[metric]))
    return falls


def _scores(judged: Judged, inputs: NDArray[np.generic]) -> dict[str, float]:
    return scores_of(compute_logits(judged.model, inputs), torch.from_numpy(judged.labels))
