"""The Optuna study of an objective that draws its hyperparameters itself, call by call."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import BaseTrial, FixedTrial, TrialState

from cotune.records import Direction, TrialResult
from cotune.study.journal_study import STATES, JournalStudy
from cotune.study.pruners import PrunerLike, make_pruner
from cotune.study.remote_storage import READS, WRITES, waiting_trial
from cotune.study.samplers import SamplerLike

_METHODS: Final = (
    "suggest_float",
    "suggest_int",
    "suggest_categorical",
    "report",
    "should_prune",
    "set_user_attr",
    "set_constraint",
)
_PROPERTIES: Final = (
    "params",
    "relative_params",
    "distributions",
    "user_attrs",
    "constraints",
    "datetime_start",
)


@dataclass
class _Running:
    trial: optuna.Trial
    sampler: BaseSampler  # of its own: calls of trials side by side come in no fixed order
    steps: dict[int, float] = field(default_factory=dict)
    is_weak: bool = False  # by halving


class ObjectiveStudy(JournalStudy):
    """Asks for trials, answers what objectives ask of them, prunes, and tells how they end.

    Args:
        journal_path: Where the journal is made, or is already.
        direction: ``maximize`` or ``minimize``.
        sampler: One of :data:`SAMPLERS`, or an Optuna sampler.
        pruner: One of :data:`PRUNERS`, or an Optuna pruner. ``asha`` and ``top-k`` count a trial's
            reports, whatever its steps are: they judge it by its first, third, ninth...
        seed: Seeds the sampler; what it draws depends on it, the trial's number and the trials
            before. Of an Optuna sampler that was passed as an object, on what it says.

    Attributes:
        exhausted: A grid has no configuration left, or the objective has stopped the study.
        stopped: The objective has stopped the study.
    """

    def __init__(
        self,
        journal_path: Path,
        direction: Direction,
        sampler: SamplerLike = "tpe",
        pruner: PrunerLike = "asha",
        seed: int = 0,
    ) -> None:
        super().__init__(journal_path, sampler, seed)
        self.stopped = False
        self._running: dict[int, _Running] = {}
        self._fixed: dict[tuple[int, int], FixedTrial] = {}
        self._maximize = direction == "maximize"
        self._rungs, optuna_pruner = make_pruner(pruner, self._maximize)
        with self._timed():
            self._open([direction], optuna_pruner)
            for frozen in self._study.get_trials(deepcopy=False):
                self._judge_again(frozen.number, frozen.intermediate_values)

    def ask(self) -> int:
        """Ask for the next trial's number; it counts as running until :meth:`tell`."""
        with self._timed():
            trials = self._study.get_trials(deepcopy=False)
            waiting = (trial.number for trial in trials if trial.state == TrialState.WAITING)
            number = next(waiting, len(trials))
            sampler = self._make_sampler(number)
            with self._sampling(sampler):
                trial = self._study.ask()
        self._running[trial.number] = _Running(trial, sampler)
        return trial.number

    def begin(
        self,
        enqueued: Iterable[tuple[dict[str, Any], dict[str, Any]]],
        user_attrs: Mapping[str, Any],
    ) -> None:
        """Take over what a script has told its own study: trials to run first, and attributes.

        Args:
            enqueued: Parameters and user attributes of each trial.
            user_attrs: Of the study.
        """
        with self._timed():
            for key, value in user_attrs.items():
                self._study.set_user_attr(key, value)
            for params, attrs in enqueued:
                self._study.add_trial(waiting_trial(params, attrs))

    def reopen(self) -> list[int]:
        """Return trials that were asked for and not told before the journal was opened again.

        They restart with the values they drew; what they report again is ignored.
        """
        with self._timed():
            for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                sampler = self._make_sampler(frozen.number)
                with self._sampling(sampler):
                    trial = optuna.Trial(self._study, frozen._trial_id)
                steps = dict(frozen.intermediate_values)
                self._running[frozen.number] = _Running(trial, sampler, steps)
        return list(self._running)

    def fix(self, number: int, repeat: int) -> None:
        """Prepare another call of the objective with an ended trial's hyperparameters."""
        params = self.params_of_all()[number]
        self._fixed[number, repeat] = FixedTrial(params, number)

    def call(
        self,
        number: int,
        repeat: int,
        name: str,
        arguments: Sequence[Any],
        named: Mapping[str, Any],
    ) -> Any:
        """Answer a call of a trial's method or property, or, with ``study.``, of the study's.

        Raises:
            StorageError: The journal cannot be written.
            Exception: As the trial itself would, where the objective is wrong.
        """
        with self._timed():
            if name == "study.stop":
                self.exhausted = self.stopped = self.stopped or not repeat
                return None
            if name.startswith("storage."):
                return self._call_storage(name.removeprefix("storage."), repeat, arguments, named)
            if name == "trial_id":
                return self._study.get_trials(deepcopy=False)[number]._trial_id
            running = None if repeat else self._running[number]
            if running is not None and name == "report":
                return self._report(number, running, *arguments)
            if running is not None and name == "should_prune" and self._rungs is not None:
                return running.is_weak
            trial: BaseTrial = running.trial if running else self._fixed[number, repeat]
            with self._sampling(running.sampler if running else None):
                if name in _METHODS:
                    return getattr(trial, name)(*arguments, **named)
                if name in _PROPERTIES:
                    return getattr(trial, name, {})
        raise AttributeError(f"a trial has no {name}")

    def _call_storage(
        self, name: str, repeat: int, arguments: Sequence[Any], named: Mapping[str, Any]
    ) -> Any:
        if name in WRITES and repeat:  # a finalist's calls leave nothing in the study
            return 0
        if name not in READS + WRITES:
            raise AttributeError(f"an objective cannot call {name} of its study's storage")
        return getattr(self._study._storage, name)(*arguments, **named)

    def _report(self, number: int, running: _Running, value: Any, step: Any) -> bool:
        """Record a report; return whether the step is new: a restarted trial reports some again."""
        if step in running.steps:
            return False
        running.trial.report(value, step)
        running.steps[step] = value
        running.is_weak = self._judge(number, len(running.steps), value) or running.is_weak
        return True

    def _judge(self, number: int, count: int, value: float) -> bool:
        if self._rungs is None:
            return False
        if math.isnan(value):
            value = -math.inf if self._maximize else math.inf
        return bool(self._rungs.judge({number: (count, value)}))

    def _judge_again(self, number: int, steps: Mapping[int, float]) -> None:
        for count, value in enumerate(steps.values(), start=1):
            self._judge(number, count, value)

    def params(self, number: int) -> dict[str, Any]:
        """Return a running trial's hyperparameters so far."""
        return dict(self._running[number].trial.params)

    def steps(self, number: int) -> dict[int, float]:
        """Return a running trial's reports so far, by step."""
        return dict(self._running[number].steps)

    def params_of_all(self) -> dict[int, dict[str, Any]]:
        """Return hyperparameters of all trials that have begun, by number."""
        return {
            trial.number: dict(trial.params)
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state != TrialState.WAITING
        }

    def tell(self, trial: TrialResult) -> None:
        """End a running trial."""
        running = self._running.pop(trial.number)
        with self._timed(), self._sampling(running.sampler):
            if trial.reason:
                running.trial.set_user_attr("reason", trial.reason)
            # Optuna takes a pruned trial's value from its last report.
            value = trial.value if trial.state == "complete" else None
            self._study.tell(running.trial, value, state=STATES[trial.state])

    def cut(self, reason: str) -> Exception:
        """Return the exception that ends a trial when it is raised in the objective."""
        return optuna.TrialPruned(reason)
