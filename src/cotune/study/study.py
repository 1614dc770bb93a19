"""The Optuna study of a run: asks for trials, takes their reports, prunes, tells how they end."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, BruteForceSampler, PartialFixedSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from cotune.exceptions import UsageError
from cotune.metrics import METRICS
from cotune.records import TrialResult, TrialSpec, Value
from cotune.space.hyperparameters import is_averaged
from cotune.space.quiet_optuna import quiet_optuna
from cotune.space.space import Space
from cotune.study.bounded_tpe import STARTUP, BoundedTPE
from cotune.study.journal_study import STATES, JournalStudy
from cotune.study.pruners import PrunerLike, make_pruner
from cotune.study.samplers import SamplerLike
from cotune.text import shown_value

OPTUNA_VERSION: Final = optuna.__version__

_IDENTITY: Final = "cotune"
_EXHAUSTED: Final = "exhausted"
_ENDS: Final = {ended: state for state, ended in STATES.items()}
NOT_DETERMINISTIC: Final = "disturbed"  # the name in older studies too
"""The user attribute of a study of which trials would not come again bit for bit."""


class Study(JournalStudy):
    """The search's memory: an Optuna study in the run's journal.

    Args:
        journal_path: Where the journal is made, or is already.
        space: What is searched; finite for a grid.
        sampler: One of :data:`SAMPLERS`, or an Optuna sampler.
        pruner: One of :data:`PRUNERS`, or an Optuna pruner.
        metric: One of :data:`cotune.metrics.METRICS`.
        costs: Of :data:`COSTS`: further objectives, all to be small. Pruning is by the metric.
        seed: Seeds the sampler and the trials. What the sampler draws depends on it, the trial's
            number and the trials before, not on what the process drew; of an Optuna sampler that
            was passed as an object, on what it says.
        identity: What must not change when an existing journal is resumed.

    Raises:
        UsageError: It is not the same.

    Attributes:
        exhausted: A grid has no configuration left.
        asked: Trials that were asked for.
        is_deterministic: Trials would come again bit for bit.
    """

    def __init__(
        self,
        journal_path: Path,
        space: Space,
        sampler: SamplerLike = "tpe",
        pruner: PrunerLike = "asha",
        metric: str = "accuracy",
        costs: Sequence[str] = (),
        seed: int = 0,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(journal_path, sampler, seed)
        self._costs = tuple(costs)
        self._space = space
        self._running: dict[int, _Running] = {}
        self._enqueued: deque[dict[str, Value]] = deque()
        self._rungs, optuna_pruner = make_pruner(pruner, METRICS[metric].direction == "maximize")
        directions = [METRICS[metric].direction]
        directions += ["minimize" for _ in costs]
        with self._timed():
            self._open(directions, optuna_pruner)
            if _IDENTITY not in self._study.user_attrs:
                self._study.set_metric_names([metric, *costs])
                self._study.set_user_attr(_IDENTITY, dict(identity or {}))
            _check_identity(self._study.user_attrs[_IDENTITY], dict(identity or {}))
            trials = self._study.get_trials(deepcopy=False)
        self._own: BoundedTPE | None = None  # without it, Optuna's samplers draw
        if sampler in ("tpe", "random") and not costs:
            startup = math.inf if sampler == "random" else STARTUP
            self._own = BoundedTPE(space, directions[0] == "maximize", seed, n_startup=startup)
            for trial in trials:
                _take_in(self._own, trial)
        self._distributions = {name: one.distribution for name, one in space.searched.items()}
        self.exhausted = bool(self._study.user_attrs.get(_EXHAUSTED))
        self.is_deterministic = not self._study.user_attrs.get(NOT_DETERMINISTIC)
        self.asked = sum(trial.state != TrialState.WAITING for trial in trials)
        self._waiting = len(trials) - self.asked
        self._known = len(trials)
        self._grid = space.configurations() if sampler == "grid" else None
        self._grid_points = 0  # of the grid, as far as it was gone through
        self._drawn = {_point(t.params) for t in trials if t.state != TrialState.WAITING}
        self._look_for_the_end()

    def enqueue(self, params: Sequence[Mapping[str, Value]]) -> None:
        """Try these configurations, or parts of them, before the sampler's own.

        In a journal that was there already, as many as it has trials came first.
        """
        # Given to Optuna when its turn comes: it would stay in the study, as a trial that waits
        # for ever, if the search ended before.
        self._enqueued.extend(dict(one) for one in params[self._known :])

    def ask(
        self, count: int = 1, alone: Callable[[TrialSpec], bool] = lambda spec: False
    ) -> list[TrialSpec]:
        """Ask for the next trials; they count as running until :meth:`tell`.

        Those after the first share its values of the hyperparameters that lanes of a cohort must
        have in common; the sampler draws the others. A grid, which may not repeat itself, draws
        all of them.

        Args:
            count: How many at most.
            alone: Whether a trial wants no others beside it; it is the last of the group.
        """
        with self._timed(quiet=self._own is None or self._waiting > 0):
            (first,) = self._begin(1, {})
            held = {
                name: value
                for name, value in self.params(first.number).items()
                if name in self._space.shared
            }
            if self._sampler == "grid" or isinstance(self._sampler, BruteForceSampler):
                held = {}
            specs = [first]
            while len(specs) < count and not self.exhausted and not alone(specs[-1]):
                for spec in self._begin(count - len(specs), held):
                    specs.append(spec)
                    if alone(spec):
                        break
        return specs

    def _begin(self, count: int, held: dict[str, Value]) -> Iterator[TrialSpec]:
        """Begin trials as they are asked for: at least one, and at most so many."""
        number = self.asked
        if self._waiting or self._own is None:
            trial, params = self._ask_optuna(held)
            yield self._take(trial.number, trial._trial_id, params)
        elif self._enqueued:
            (params,) = self._own.draw(number, held={**held, **self._enqueued.popleft()})
            yield self._take(number, self._create(params), params)
        else:
            for i, params in enumerate(self._own.draw(number, count, held)):
                yield self._take(number + i, self._create(params), params)

    def _ask_optuna(self, held: dict[str, Value]) -> tuple[optuna.Trial, dict[str, Value]]:
        """Have one of Optuna's samplers draw a trial; return it and what was drawn."""
        with self._sampling(self._sampler_of(self.asked, held)):
            if self._waiting:  # enqueued just before a run was killed
                self._waiting -= 1
                trial = self._study.ask()
            else:
                enqueued = self._enqueued.popleft() if self._enqueued else None
                trial = optuna.Trial(self._study, self._create({}, enqueued))
            return trial, self._space.suggest(trial)

    def _create(
        self, params: Mapping[str, Value], enqueued: Mapping[str, Value] | None = None
    ) -> int:
        """Create a trial and return its ID; ``Study.ask`` would look for one that waits first."""
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions={name: self._distributions[name] for name in params},
            system_attrs={"fixed_params": dict(enqueued)} if enqueued else {},
        )
        return self._study._storage.create_new_trial(self._study._study_id, template)

    def _take(self, number: int, trial_id: int, params: dict[str, Value]) -> TrialSpec:
        """Note that a trial is in training."""
        self.asked = max(self.asked, number + 1)
        self._running[number] = _Running(trial_id, params)
        if self._own is not None:
            self._own.begin(number, params)
        self._drawn.add(_point(params))
        self._look_for_the_end()
        return trial_spec(self._space, params, number, self._seed)

    def _look_for_the_end(self) -> None:
        """Look whether all of a grid was drawn; Optuna finds out when the last has ended."""
        while self._grid and not self.exhausted and self._grid_points <= len(self._drawn):
            if next(self._grid, None) is None:
                self._exhaust()
            self._grid_points += 1

    def _sampler_of(self, number: int, held: dict[str, Value]) -> BaseSampler:
        """Return the sampler that draws the trial of that number, with some values held."""
        sampler = self._make_sampler(number)
        return PartialFixedSampler(held, sampler) if held else sampler

    def reopen(self) -> list[TrialSpec]:
        """Return trials that were asked for and not told before the journal was opened again.

        One that was not drawn to its end is now.
        """
        specs = []
        with self._timed():
            for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                with self._sampling(self._make_sampler(frozen.number)):
                    trial = optuna.Trial(self._study, frozen._trial_id)
                    params = self._space.suggest(trial)
                specs.append(self._take(frozen.number, frozen._trial_id, params))
        return specs

    def recall(self, reports: Mapping[int, Mapping[int, float]]) -> None:
        """Know again what trials reported before: values by trial and epoch.

        Of running trials, the journal gets what it lacks.
        """
        with self._timed():
            for number in self._running:
                known = self._study.get_trials(deepcopy=False)[number].intermediate_values
                for epoch, value in reports.get(number, {}).items():
                    if epoch not in known and not self._costs:
                        self._record(number, epoch, value)
        if self._rungs is not None:
            for number, values in reports.items():
                for epoch, value in values.items():
                    self._rungs.judge({number: (epoch, value)})

    def params_of_all(self) -> dict[int, dict[str, Value]]:
        """Return searched hyperparameters of all trials, by number."""
        return {
            trial.number: dict(trial.params) for trial in self._study.get_trials(deepcopy=False)
        }

    def params(self, number: int) -> dict[str, Value]:
        """Return a running trial's searched hyperparameters."""
        return dict(self._running[number].params)

    def report(self, values: Mapping[int, tuple[int, float]]) -> set[int]:
        """Record what running trials came to, and judge them together.

        Args:
            values: Epoch, from 1, and value by trial number.

        Returns:
            The trials that the pruner wants stopped.
        """
        with self._timed(quiet=False):
            if not self._costs:  # with several objectives, Optuna takes no reports
                for number, (epoch, value) in values.items():
                    self._record(number, epoch, value)
            if self._rungs is not None:
                return self._rungs.judge(values)
            if self._costs:
                return set()
            with quiet_optuna(optuna.logging.WARNING, ExperimentalWarning):
                return {number for number in values if self._is_weak(number)}

    def _record(self, number: int, epoch: int, value: float) -> None:
        storage = self._study._storage
        storage.set_trial_intermediate_value(self._running[number].trial_id, epoch, value)

    def _is_weak(self, number: int) -> bool:
        """Return whether Optuna's pruner wants a trial stopped."""
        frozen = self._study._storage.get_trial(self._running[number].trial_id)
        return self._study.pruner.prune(self._study, frozen)

    def tell(self, trial: TrialResult) -> None:
        """End a running trial."""
        with self._timed(quiet=self._own is None):
            trial_id, storage = self._running.pop(trial.number).trial_id, self._study._storage
            if trial.reason:
                storage.set_trial_user_attr(trial_id, "reason", trial.reason)
            state = STATES[trial.state]
            values: list[float] | None = None
            if trial.state != "failed" and trial.value is not None and not math.isnan(trial.value):
                values = [trial.value, *trial.costs.values()]
            if self._own is not None:
                self._own.end(trial.number, trial.state, trial.epochs, trial.value)
                # What Study.tell does, without its copies.
                storage.set_trial_state_values(trial_id, state, values)
                return
            if trial.state == "pruned":
                values = None  # Optuna takes it from the last report
            with self._sampling(self._make_sampler(trial.number)):  # a grid counts what has ended
                self._study.tell(trial.number, values, state=state)

    def mark_not_deterministic(self) -> None:
        """Record that trials no longer come again bit for bit."""
        if self.is_deterministic:
            self.is_deterministic = False
            with self._timed():
                self._study.set_user_attr(NOT_DETERMINISTIC, True)
                self._journal.sync()

    def pareto_front(self) -> list[int]:
        """Complete trials that no other one beats in every objective, by number."""
        with self._timed():
            return [trial.number for trial in self._study.best_trials] if self._costs else []

    def _exhaust(self) -> None:
        if not self.exhausted:
            self.exhausted = True
            self._study.set_user_attr(_EXHAUSTED, True)


@dataclass(frozen=True)
class _Running:
    trial_id: int
    params: dict[str, Value]  # Optuna copies a trial to show them


def _take_in(tpe: BoundedTPE, trial: FrozenTrial) -> None:
    """Let a sampler know a trial of an earlier process that has ended."""
    if trial.state not in _ENDS:
        return
    value = trial.value
    tpe.begin(trial.number, trial.params)
    tpe.end(trial.number, _ENDS[trial.state], trial.last_step or 0, value)


def _point(params: Mapping[str, Value]) -> frozenset[tuple[str, Value]]:
    return frozenset(params.items())


def _check_identity(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    for name in sorted({*recorded, *asked}):
        then, now = recorded.get(name), asked.get(name)
        if isinstance(then, dict) and isinstance(now, dict):
            for key in sorted({*then, *now}):
                if then.get(key) != now.get(key):
                    raise UsageError(
                        f"{name}: {key} was {shown_value(then.get(key))} when the run began and is "
                        f"{shown_value(now.get(key))} now; start another run"
                    )
        if then != now:
            raise UsageError(
                f"{name}: was {shown_value(then)} when the run began and is {shown_value(now)} "
                "now; start another run"
            )


def trial_spec(space: Space, params: Mapping[str, Value], number: int, seed: int) -> TrialSpec:
    """Return the spec of a trial of the search.

    Args:
        space: The searched space.
        params: The trial's searched hyperparameters.
        number: The trial's.
        seed: The run's; the trial's own is made of it and the number.
    """
    complete = space.complete(params)
    return TrialSpec(number, complete, trial_seed(seed, number), averaged=is_averaged(complete))


def trial_seed(seed: int, number: int) -> int:
    """Return a trial's own seed, made of the run's and its number."""
    # Large odd factors keep the seeds of neighbouring runs and trials apart.
    return (seed * 1_000_003 + number * 7_919 + 1) % 2**63
