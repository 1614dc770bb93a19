"""What trainings of trials' configurations cost, and what a search has to leave for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cotune.data.dataset import TrainingData
from cotune.records import EpochReport, TrialResult, TrialSpec, Value
from cotune.space.hyperparameters import is_annealed, is_averaged
from cotune.space.space import Space
from cotune.tuning.forecast import forecast_error
from cotune.tuning.lineup import Lineup
from cotune.tuning.time_plan import FINAL_SHARE, Plan

_ENOUGH_ROWS: Final = 400  # to judge finalists by before some go out
# Where an epoch is a part of a pass over the rows, trials are cheap, and the final model gets the
# time: it is what the score depends on most. A trial's share of the time falls with the root of the
# time, so that there are longer trials and more of them.
_TRIAL_SHARE: Final = 0.15
_SHARED_SECONDS: Final = 150.0
_LEAST_TRIAL_SHARE: Final = 0.05
_FEWEST_EPOCHS: Final = 2  # of a trial; a network that has no time for them is not begun
# Epochs until the first has told how long one takes; a trial may take twice its share for them.
_FIRST_HORIZON: Final = 4
_DEAR_FINAL_SHARE: Final = 0.55
_LEAST_SHOWN: Final = 0.25  # of the longest trial's seconds; sooner cut short, one shows little
_ENSEMBLE_SHARE: Final = 1 / 7  # of the time, at most, for networks beside the final model


class Budget:
    """Divides a run's time between trials, finalists and final models, by what trials took.

    Args:
        n_test: Rows of the test set.
        workers: Trainings that go on side by side.
        total: Seconds for everything from now on; None for no limit.
        ensemble: Networks of an ensemble of finalists; 0 for none.
    """

    def __init__(
        self,
        space: Space,
        training: TrainingData,
        n_test: int,
        workers: int,
        total: float | None,
        lineup: Lineup,
        ensemble: int = 0,
    ) -> None:
        growth = len(training.labels) / training.n_train
        held_out = len(training.labels) - training.n_train
        # Of few rows, a single fold says too little to send a finalist home by.
        self.stage = min(max(1, training.n_folds - 1), -(-_ENOUGH_ROWS // held_out))
        self._plan = Plan(total, workers, growth, training.n_folds - 1, self.stage)
        self._space = space
        self._n_test, self._n_train = n_test, training.n_train
        self._default = lineup.default
        # It is retrained on all rows only to be compared with the final model in the test.
        self._compared = lineup.default if n_test else None
        self._enqueued = len(lineup)
        self._ensemble = ensemble
        self._is_dear = bool(space.constants.get("epoch_rows")) and total is not None
        self._alone: dict[int, float] = {}  # seconds of an epoch by itself, as was measured

    def most_epochs(self, seconds_per_epoch: float) -> int | None:
        """Return the epochs that a trial has time for, at least 1; None for any number."""
        if not self._is_dear:
            return self._plan.most_epochs(seconds_per_epoch)
        total = max(self._plan.total or 0.0, _SHARED_SECONDS)
        share = _TRIAL_SHARE * math.sqrt(_SHARED_SECONDS / total)
        shares = [max(_LEAST_TRIAL_SHARE, share) * factor for factor in (1, 2)]
        most, twice = (self._plan.most_epochs(seconds_per_epoch, one) or 1 for one in shares)
        # A rate that has no time to rise and fall tells nothing.
        return max(most, min(_FIRST_HORIZON, twice))

    def trial_spec(self, spec: TrialSpec) -> TrialSpec:
        """Return a trial of the search as it is trained.

        Where final models have the time, the rate of some falls to zero by the end of the little
        time that their trials have, as it does in their final training: at a constant rate, those
        that learn best with a high one would look worse than they are.
        """
        if not (self._is_dear and is_annealed(spec.params)):
            return spec
        return short(spec, _FIRST_HORIZON)

    def is_too_slow(self, seconds_per_epoch: float) -> bool:
        """Return whether a trial whose rate falls to zero has no time for a second epoch."""
        most = self.most_epochs(seconds_per_epoch)
        return most is not None and most < _FEWEST_EPOCHS

    def by_forecast(self, ranked: Sequence[TrialResult], metric: str) -> list[TrialResult]:
        """Return trials, the one first that would be the best final model by a forecast.

        Where trials have as many epochs as final models, that is the one that ranks first. Those
        that the end of the time cut short soon come last: the forecast flatters them.

        Args:
            ranked: Trials with a value.
        """
        plan = self._plan
        if not self._is_dear or plan.total is None:
            return list(ranked)
        epoch_rows = int(self._space.constants["epoch_rows"])
        seconds = _DEAR_FINAL_SHARE * plan.total * plan.workers

        longest = max((trial.seconds for trial in ranked), default=0.0)

        def error(trial: TrialResult) -> tuple[bool, float]:
            rows = trial.epochs * epoch_rows
            final_rows = rows * max(1.0, seconds / max(trial.seconds, 1e-9))
            is_short = trial.state != "complete" and trial.seconds < _LEAST_SHOWN * longest
            return is_short, forecast_error(metric, trial.value or 0.0, rows, final_rows)

        return sorted(ranked, key=error)

    def measure(self, number: int, reports: Sequence[EpochReport]) -> None:
        """Learn from a finalist's training what an epoch of its trial's configuration takes.

        In the search, lanes that are trained together share the time; a small network alone takes
        nearly as long as all of them.
        """
        longest = max((report.seconds * report.lanes for report in reports), default=0.0)
        self._alone[number] = max(longest, self._alone.get(number, 0.0))

    def params(self, trial: TrialResult) -> dict[str, Value]:
        """Return a trial's complete hyperparameters, with the epochs that a final model wants.

        A trial that had no time for all its epochs may have more of them later; the average of the
        weights is good whenever the time is up. One that was stopped early has as many as it had
        at its best.
        """
        params = self._space.complete(trial.params)
        if trial.stop_cause == "early_stopped":
            return {**params, "epochs": trial.epochs - int(params["early_stopping"])}
        if self._is_dear and is_annealed(params):
            return {**params, "epochs": self._most_searched(int(params["epochs"]))}
        if self._plan.total is None or not is_averaged(params):
            params["epochs"] = trial.epochs
        return params

    def _most_searched(self, epochs: int) -> int:
        """Return the most epochs that a trial could have; no trial has had time for its own."""
        searched = self._space.searched.get("epochs")
        return int(getattr(searched.distribution, "high", epochs)) if searched else epochs

    def final_params(self, trial: TrialResult) -> dict[str, Value]:
        """Return a trial's hyperparameters for a finalist or final model, as time allows.

        The rate of some falls to zero at their end, so they have no more epochs than fit; images
        are mirrored in predictions where they were in training.
        """
        params = self.params(trial)
        if is_annealed(params):
            params |= {"schedule": "linear", "epochs": self.epochs(trial)}
        if params.get("model") == "cnn" and params.get("flip") and "mirrored" not in trial.params:
            params["mirrored"] = self._space.constants.get("mirrored", True)
        return params

    def epochs(self, trial: TrialResult) -> int:
        """Return the epochs that a finalist has time for."""
        wanted = int(self.params(trial)["epochs"])
        if trial.stop_cause == "early_stopped":
            return wanted
        share = _DEAR_FINAL_SHARE if self._is_dear else FINAL_SHARE
        most = self._plan.most_epochs(trial.seconds / trial.epochs, share)
        return max(trial.epochs, wanted if most is None else min(wanted, most))

    def promising(self, ranked: Sequence[TrialResult]) -> list[TrialResult]:
        """Return trials in the order in which they become finalists.

        The default and the two best; then what was enqueued, which was likely to be good before
        the search began; then the others.
        """
        first = [trial for trial in ranked if trial.number == self._default]
        others = [trial for trial in ranked if trial.number != self._default]
        enqueued = [trial for trial in others[2:] if trial.number < self._enqueued]
        rest = [trial for trial in others[2:] if trial.number >= self._enqueued]
        return [*first, *others[:2], *enqueued, *rest]

    def finalists(self, ranked: Sequence[TrialResult], spent: float) -> tuple[int, int, float]:
        """Plan finalists as :meth:`Plan.finalists` does.

        Args:
            spent: Epochs of all trials.
        """
        return self._plan.finalists([self._cost(t) for t in self.promising(ranked)], spent)

    def final_seconds(self, trial: TrialResult, ranked: Sequence[TrialResult]) -> float:
        """Return about the seconds of the final trainings if this trial is chosen."""
        others = [self._cost(t) for t in ranked if t.number == self._compared != trial.number]
        return self._plan.final(self._cost(trial), sum(others))

    def members(self, trial: TrialResult, wanted: int) -> int:
        """Return how many networks an ensemble of finalists has time for, at least 1."""
        if self._plan.total is None:
            return wanted
        each = self._plan.final(self._cost(trial), 0.0)
        return max(1, min(wanted, int(_ENSEMBLE_SHARE * self._plan.total / max(each, 1e-9))))

    def test_seconds(self, trial: TrialResult) -> float:
        """Return the seconds to classify the test set."""
        return self.classifying_seconds(trial, self._n_test)

    def classifying_seconds(self, trial: TrialResult, rows: int) -> float:
        """Return the seconds to classify so many rows: a third of training on them."""
        return trial.seconds / trial.epochs * rows / self._n_train / 3

    def reserve(self, ranked: Sequence[TrialResult]) -> float:
        """Return the seconds to leave for finalists, final models and their test."""
        if not ranked:
            return 0.0
        _, _, finalists = self.finalists(ranked, 0.0)
        return finalists + self.seconds_after_finalists(ranked[0], ranked)

    def seconds_after_finalists(self, trial: TrialResult, ranked: Sequence[TrialResult]) -> float:
        """Return the seconds that follow the finalists if this trial is chosen, about."""
        return (
            self.final_seconds(trial, ranked)
            + self.ensemble_seconds(trial)
            + 2 * self.test_seconds(trial)
        )

    def ensemble_seconds(self, trial: TrialResult) -> float:
        """Return the seconds that an ensemble takes beside the final model, about."""
        further = self.members(trial, self._ensemble) - 1 if self._ensemble else 0
        return further * self._plan.final(self._cost(trial), 0.0)

    def _cost(self, trial: TrialResult) -> float:
        """Return the cost of training a trial's configuration again: seconds, or epochs.

        Where the time has no limit it is epochs: a choice that depended on the clock could not be
        repeated.
        """
        if self._plan.total is None:
            return float(self.epochs(trial))
        epoch = max(trial.seconds / trial.epochs, self._alone.get(trial.number, 0.0))
        return epoch * self.epochs(trial)


def short(spec: TrialSpec, horizon: int) -> TrialSpec:
    """Return a trial whose rate falls to zero by an epoch that verdicts change."""
    params = {**spec.params, "schedule": "linear"}
    return replace(spec, params=params, averaged=False, horizon=horizon)
