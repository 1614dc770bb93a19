"""Finalists: the best trials and the default, trained again with fresh seeds on other folds.

The best value of a search is the luckiest of many. A finalist's values are of new trainings, judged
by rows that did not help to choose it, so their mean is nearly free of that luck.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from cotune.hyperparameters import is_averaged
from cotune.results import Finalist, TrialResult, TrialSpec, Value
from cotune.retrain import Training

FIRST_NUMBER = -3
"""The number of the first training; the others count down. Final models have -1 and -2."""


def finalist_specs(
    trials: Sequence[TrialResult],
    params: Sequence[Mapping[str, Value]],
    repeats: int,
    seed: int,
) -> list[TrialSpec]:
    """What to train: each configuration ``repeats`` times, on the folds 1 to ``repeats``.

    On one fold all have the same rows in the same order, so their differences are not the fold's.

    Args:
        trials: The finalists.
        params: Their complete hyperparameters, ``epochs`` as many as there is time for.
        seed: The run's seed.
    """
    return [
        TrialSpec(
            number=FIRST_NUMBER - i * repeats - fold,
            params=dict(params[i]),
            # Apart from the seeds of the search, whose last term is at most a few thousands.
            seed=(seed * 1_000_003 + trial.number * 7_919 + (fold + 1) * 15_485_863) % 2**63,
            fold=fold + 1,
            averaged=is_averaged(params[i]),
        )
        for i, trial in enumerate(trials)
        for fold in range(repeats)
    ]


def judge(
    trials: Sequence[TrialResult], trainings: Sequence[Training], metric: str
) -> list[Finalist]:
    """Means over each finalist's trainings, in the order of the trials.

    One that failed in any training, or for which there was no time, is left out.
    """
    repeats = len(trainings) // len(trials)
    finalists = []
    for i, trial in enumerate(trials):
        own = [t for t in trainings[i * repeats : (i + 1) * repeats] if t.reports and not t.error]
        if len(own) < repeats:
            continue
        scores = [training.reports[-1].scores for training in own]
        accuracies = [score["accuracy"] for score in scores]
        finalists.append(
            Finalist(
                number=trial.number,
                trainings=repeats,
                value=statistics.fmean(score[metric] for score in scores),
                accuracy=statistics.fmean(accuracies),
                accuracy_sd=statistics.stdev(accuracies) if repeats > 1 else None,
            )
        )
    return finalists
