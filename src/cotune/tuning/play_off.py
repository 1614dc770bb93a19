"""Finalists: the best trials and the default, trained again with fresh seeds on other folds.

The best value of a search is the luckiest of many. A finalist's values are of new trainings, judged
by rows that did not help to choose it, so their mean is nearly free of that luck. In each round all
are trained on the same fold; the better half by the mean so far reaches the next.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cotune.metrics import CHANCE
from cotune.records import Direction, EpochReport, Finalist, TrialSpec, Value
from cotune.space.hyperparameters import is_averaged
from cotune.tuning.full_training import Training
from cotune.tuning.preference import Measured, learned_first
from cotune.tuning.time_plan import survivors
from cotune.tuning.training_key import TrainingKey

Train = Callable[[Sequence[TrialSpec]], list[Training] | None]
"""Trains specs to the end; None when the user stopped it."""


@dataclass(frozen=True)
class PlayOff:
    """A play-off of finalists, in rounds.

    Attributes:
        rounds: How many trainings the last two get.
        folds: Ways to hold out other rows; the rounds go through them in turn.
        metric: A key of a report's scores.
        stage: Rounds from one to the next after which the worse half goes out.
    """

    rounds: int
    folds: int
    seed: int
    metric: str
    direction: Direction
    stage: int = 1

    def run(
        self,
        params: Mapping[int, Mapping[str, Value]],
        train: Train,
        has_time: Callable[[float, Sequence[int]], bool],
    ) -> list[Finalist] | None:
        """Judge finalists round by round.

        Args:
            params: Their complete hyperparameters by number, ``epochs`` as many as there is time
                for.
            has_time: Whether so many seconds are left for a round of these trials; asked before
                each but the first.

        Returns:
            Those with a mean, those that got furthest first, the best mean first among them; None
            when the user stopped it. One that fails comes last, and one without any training not
            at all. A round that the time cut short decides nothing.
        """
        ends: dict[int, list[EpochReport]] = {number: [] for number in params}
        sign = -1.0 if self.direction == "maximize" else 1.0

        def rank(numbers: Sequence[int]) -> list[int]:
            """Rank by the folds that all were trained on: some folds are easier than others."""
            common = min((len(ends[number]) for number in numbers), default=0)
            return sorted(
                numbers, key=lambda number: sign * _mean(ends[number][:common], self.metric)
            )

        playing, out, seconds_each = list(params), list[int](), 0.0
        for i in range(self.rounds):
            if i > 0 and not has_time(seconds_each * len(playing), playing):
                break
            began = time.monotonic()
            trainings = train([self._spec(number, params[number], i) for number in playing])
            if trainings is None:
                return None
            seconds_each = (time.monotonic() - began) / len(playing)
            for number, training in zip(playing, trainings, strict=True):
                if _counts(training, first=i == 0):
                    ends[number].append(training.reports[-1])
                elif training.error or i == 0:
                    playing = [other for other in playing if other != number]
            if any(len(ends[number]) <= i for number in playing):
                break  # time was up in mid-round
            playing = rank(playing)
            if (i + 1) % self.stage:
                continue
            stay = survivors(len(playing))
            playing, out = playing[:stay], playing[stay:] + out
        failed = [number for number in params if ends[number] and number not in (*playing, *out)]
        order = [*rank(playing), *out, *rank(failed)]
        return [_finalist(number, ends[number], self.metric) for number in order]

    def _spec(self, number: int, params: Mapping[str, Value], round_: int) -> TrialSpec:
        return TrialSpec(
            number=TrainingKey("finalist", number).number,
            params=dict(params),
            # Apart from the seeds of the search, whose last term is smaller.
            seed=(self.seed * 1_000_003 + number * 7_919 + (round_ + 1) * 15_485_863) % 2**63,
            fold=round_ % self.folds + 1,
            averaged=is_averaged(params),
        )


def prefer(
    finalists: Sequence[Finalist], doubt: Callable[[int], int], noise: float, maximize: bool
) -> list[Finalist]:
    """Put one first that was likelier to be good before anything was measured, if it is close.

    Args:
        finalists: The best first.
        doubt: How unlikely a trial was to be good, by its number.
        noise: The standard error of one training's value. Close is a mean within its own standard
            error of the best.
    """
    sign = -1.0 if maximize else 1.0
    margin = noise / math.sqrt(finalists[0].trainings) if finalists else 0.0
    close = _close(finalists, margin, maximize)
    first = min(close, key=lambda one: (doubt(one.number), sign * one.value), default=None)
    return [] if first is None else [first, *(one for one in finalists if one is not first)]


def prefer_learned(
    finalists: Sequence[Finalist],
    areas: Mapping[int, float],
    noise: float,
    auc_noise: float,
    maximize: bool,
) -> list[Finalist]:
    """Put those that are close in the order of what they have learned.

    More trainings do not narrow what is close here: a network that ranks is worth as much accuracy
    as one training cannot tell. Of AUCs, which are noisier, the trial's own counts as one more.

    Args:
        finalists: The best first.
        areas: AUCs of their trials, by number.
        noise: The standard error of one training's value.
        auc_noise: The standard error of the AUC of one training that has learned nothing. What is
            above 0.5 by more has learned something.
    """
    close = _close(finalists, noise, maximize)
    chance = CHANCE + (auc_noise / math.sqrt(close[0].trainings + 1) if close else 0.0)
    scores = {
        one.number: Measured(one.value, _mean_area(one, areas.get(one.number)), one.loss)
        for one in close
    }
    first = learned_first(close, lambda one: scores[one.number], math.inf, chance)
    return [*first, *(one for one in finalists if one not in close)]


def _mean_area(finalist: Finalist, of_trial: float | None) -> float | None:
    """Return the mean AUC of all trainings of a finalist and of its trial."""
    if finalist.auc is None or of_trial is None:
        return finalist.auc
    return (finalist.trainings * finalist.auc + of_trial) / (finalist.trainings + 1)


def _close(finalists: Sequence[Finalist], margin: float, maximize: bool) -> list[Finalist]:
    """Return finalists within a margin of the best, with at least half as many trainings."""
    if not finalists:
        return []
    best, sign = finalists[0], -1.0 if maximize else 1.0
    return [
        one
        for one in finalists
        if 2 * one.trainings >= best.trainings and sign * (one.value - best.value) <= margin
    ]


def _counts(training: Training, first: bool) -> bool:
    """Return whether a training counts; one cut short only counts in the first round."""
    if not training.reports or training.error:
        return False
    return first or training.reports[-1].epoch == training.spec.epochs


def _mean(ends: Sequence[EpochReport], metric: str) -> float:
    return statistics.fmean(report.scores[metric] for report in ends)


def _finalist(number: int, ends: Sequence[EpochReport], metric: str) -> Finalist:
    accuracies = [report.scores["accuracy"] for report in ends]
    return Finalist(
        number=number,
        trainings=len(ends),
        value=_mean(ends, metric),
        accuracy=statistics.fmean(accuracies),
        accuracy_sd=statistics.stdev(accuracies) if len(ends) > 1 else None,
        auc=_mean(ends, "auc") if all("auc" in report.scores for report in ends) else None,
        loss=_mean(ends, "loss"),
    )
