"""The Optuna study of a run: asks for trials, takes their reports, prunes, tells how they end."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
)
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    GPSampler,
    PartialFixedSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import TrialState

from cotune.exceptions import StorageError
from cotune.halving import Halving
from cotune.hyperparameters import SHARED, is_averaged
from cotune.results import DIRECTIONS, State, TrialSpec, Value
from cotune.space import Space
from cotune.storage import STUDY_NAME, Journal, open_storage

SAMPLERS: Final = ("tpe", "random", "grid", "qmc", "gp")
PRUNERS: Final = ("asha", "top-k", "median", "hyperband", "none")
SamplerLike = str | BaseSampler
"""A name in :data:`SAMPLERS`, or an Optuna sampler."""

PrunerLike = str | BasePruner
"""A name in :data:`PRUNERS`, or an Optuna pruner."""

OPTUNA_VERSION: Final = optuna.__version__

_STATES: Final[dict[State, TrialState]] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class Study:
    """The search's memory: an Optuna study in the run's journal.

    Args:
        journal_path: Where the journal is made.
        space: What is searched; finite for a grid.
        sampler: One of :data:`SAMPLERS`, or an Optuna sampler.
        pruner: One of :data:`PRUNERS`, or an Optuna pruner.
        metric: One of :data:`DIRECTIONS`.
        costs: Of :data:`COSTS`: further objectives, all to be small. Pruning is by the metric.
        seed: Seeds the sampler and the trials.

    Attributes:
        seconds: Wall clock spent in Optuna and in the journal.
        exhausted: A grid has no configuration left.
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
    ) -> None:
        self.seconds = 0.0
        self._costs = tuple(costs)
        self.exhausted = False
        self._seed = seed
        self._space = space
        self._running: dict[int, optuna.Trial] = {}
        self._enqueued: deque[dict[str, Value]] = deque()
        # Optuna's own asks one trial at a time, and lets pass whichever it asks first.
        maximize = DIRECTIONS[metric] == "maximize"
        self._halving: Halving | None = None
        if pruner == "asha":
            self._halving = Halving(maximize)
        elif pruner == "top-k":
            self._halving = Halving(maximize, reduction=10, rung=3)
        directions = [DIRECTIONS[metric]]
        directions += ["minimize" for _ in costs]
        with self._timed():
            self._journal = Journal(journal_path)
            self._study = optuna.create_study(
                study_name=STUDY_NAME,
                storage=open_storage(self._journal),
                directions=directions,
                sampler=make_sampler(sampler, seed) if isinstance(sampler, str) else sampler,
                pruner=make_pruner(pruner) if isinstance(pruner, str) else pruner,
            )
            self._study.set_metric_names([metric, *costs])
        # BruteForceSampler ends a search by study.stop(), which Optuna allows in optimize() only.
        self._study.stop = self._exhaust  # type: ignore[method-assign]

    def enqueue(self, params: Mapping[str, Value]) -> None:
        """Try this configuration, or part of one, before the sampler's own."""
        # Given to Optuna when its turn comes: it would stay in the study, as a trial that waits
        # for ever, if the search ended before.
        self._enqueued.append(dict(params))

    def ask(self, count: int = 1) -> list[TrialSpec]:
        """The next trials; they count as running until :meth:`tell`.

        Those after the first share its values of the hyperparameters that lanes of a cohort must
        have in common; the sampler draws the others. A grid, which may not repeat itself, draws
        all of them.
        """
        first = self._ask({})
        held = {name: value for name, value in self.params(first.number).items() if name in SHARED}
        if isinstance(self._study.sampler, BruteForceSampler):
            held = {}
        specs = [first]
        while len(specs) < count and not self.exhausted:
            specs.append(self._ask(held))
        return specs

    def _ask(self, held: dict[str, Value]) -> TrialSpec:
        sampler = self._study.sampler
        with self._timed():
            if held:
                self._study.sampler = PartialFixedSampler(held, sampler)
            if self._enqueued:
                self._study.enqueue_trial(self._enqueued.popleft())
            try:
                trial = self._study.ask()
                params = self._space.suggest(trial)
            finally:
                self._study.sampler = sampler
        self._running[trial.number] = trial
        return trial_spec(self._space, params, trial.number, self._seed)

    def params(self, number: int) -> dict[str, Value]:
        """A running trial's searched hyperparameters."""
        return dict(self._running[number].params)

    def report(self, values: Mapping[int, tuple[int, float]]) -> set[int]:
        """Record what running trials came to, and judge them together.

        Args:
            values: Epoch, from 1, and value by trial number.

        Returns:
            The trials that the pruner wants stopped.
        """
        with self._timed():
            if not self._costs:  # with several objectives, Optuna takes no reports
                for number, (epoch, value) in values.items():
                    self._running[number].report(value, epoch)
            if self._halving is not None:
                return self._halving.judge(values)
            if self._costs:
                return set()
            return {number for number in values if self._running[number].should_prune()}

    def tell(
        self,
        number: int,
        state: State,
        value: float | None,
        reason: str = "",
        costs: Sequence[float] = (),
    ) -> None:
        """End a running trial; a complete one has its ``costs``."""
        with self._timed():
            trial = self._running.pop(number)
            if reason:
                trial.set_user_attr("reason", reason)
            # Optuna takes a pruned trial's value from its last report.
            values = None if value is None else [value, *costs]
            self._study.tell(trial, values if state == "complete" else None, state=_STATES[state])
            self._journal.sync()

    def pareto_front(self) -> list[int]:
        """Complete trials that no other one beats in every objective, by number."""
        with self._timed():
            return [trial.number for trial in self._study.best_trials] if self._costs else []

    def _exhaust(self) -> None:
        self.exhausted = True

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                yield
        except OSError as error:
            raise StorageError(f"the study's journal cannot be written: {error}") from error
        finally:
            optuna.logging.set_verbosity(verbosity)
            self.seconds += time.perf_counter() - began


def trial_spec(space: Space, params: Mapping[str, Value], number: int, seed: int) -> TrialSpec:
    """What is trained of a trial in the search.

    Args:
        space: The searched space.
        params: The trial's searched hyperparameters.
        number: The trial's.
        seed: The run's; the trial's own is made of it and the number.
    """
    # Large odd factors keep the seeds of neighbouring runs and trials apart.
    own = (seed * 1_000_003 + number * 7_919 + 1) % 2**63
    complete = space.complete(params)
    return TrialSpec(number, complete, own, averaged=is_averaged(complete))


def make_sampler(name: str, seed: int) -> BaseSampler:
    """An Optuna sampler by its name in :data:`SAMPLERS`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if name == "tpe":
            return TPESampler(seed=seed)
        if name == "random":
            return RandomSampler(seed=seed)
        if name == "grid":
            return BruteForceSampler(seed=seed)
        if name == "qmc":
            return QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
        if name == "gp":
            return GPSampler(seed=seed)
    raise ValueError(f"sampler: {name!r} is not one of {', '.join(SAMPLERS)}")


def make_pruner(name: str) -> BasePruner:
    """An Optuna pruner by its name in :data:`PRUNERS`."""
    if name == "median":
        return MedianPruner(n_startup_trials=4, n_warmup_steps=1)
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=50, reduction_factor=3)
    if name in ("asha", "top-k", "none"):  # the first two are judged by Halving
        return NopPruner()
    raise ValueError(f"pruner: {name!r} is not one of {', '.join(PRUNERS)}")
