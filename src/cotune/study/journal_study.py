"""An Optuna study in a run's journal: opening it, its time, its errors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from cotune.exceptions import StorageError
from cotune.records import Direction, State
from cotune.space.quiet_optuna import quiet_optuna
from cotune.study.journal import STUDY_NAME, Journal, open_storage
from cotune.study.samplers import SamplerLike, make_sampler

STATES: Final[dict[State, TrialState]] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
"""What a trial's end is called in a study."""


class JournalStudy:
    """An Optuna study in a run's journal.

    Args:
        journal_path: Where the journal is made, or is already.
        sampler: One of :data:`SAMPLERS`, or an Optuna sampler.
        seed: Seeds the sampler.

    Attributes:
        exhausted: No configuration is left.
        seconds: Wall clock spent in Optuna and in the journal.
    """

    _study: optuna.Study

    def __init__(self, journal_path: Path, sampler: SamplerLike, seed: int) -> None:
        self.seconds = 0.0
        with _storage_errors():
            self._journal = Journal(journal_path)
        self.exhausted = False
        self._sampler = sampler
        self._seed = seed

    def _open(
        self,
        directions: Sequence[Direction],
        pruner: BasePruner,
    ) -> None:
        """Make the study, or load it where the journal is there already."""
        self._study = optuna.create_study(
            study_name=STUDY_NAME,
            storage=open_storage(self._journal),
            directions=directions,
            sampler=RandomSampler() if isinstance(self._sampler, str) else self._sampler,
            pruner=pruner,
            load_if_exists=True,
        )
        # BruteForceSampler ends a search by study.stop(), which Optuna allows in optimize() only.
        self._study.stop = self._exhaust  # type: ignore[method-assign]

    def _exhaust(self) -> None:
        self.exhausted = True

    def _make_sampler(self, number: int) -> BaseSampler:
        """Return the sampler that draws the trial of that number: one of its own, or the user's."""
        if isinstance(self._sampler, str):
            return make_sampler(self._sampler, self._seed, number)
        return self._sampler

    @contextmanager
    def _sampling(self, sampler: BaseSampler | None) -> Iterator[None]:
        """Use a sampler; None: the study's own."""
        before = self._study.sampler
        self._study.sampler = sampler or before
        try:
            yield
        finally:
            self._study.sampler = before

    def sync(self) -> None:
        """Make what was recorded survive a power loss."""
        with self._timed(quiet=False):
            self._journal.sync()

    @contextmanager
    def _timed(self, quiet: bool = True) -> Iterator[None]:
        """Write all that Optuna records at once, and count the time; the journal's errors are ours.

        Args:
            quiet: Silence Optuna, which takes a tenth of a millisecond.

        Raises:
            StorageError: The journal cannot be written.
        """
        began = time.perf_counter()
        try:
            with (
                _storage_errors(),
                quiet_optuna(optuna.logging.WARNING, ExperimentalWarning)
                if quiet
                else nullcontext(),
                self._journal.operation(),
            ):
                yield
        finally:
            self.seconds += time.perf_counter() - began


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"the study's journal cannot be written: {error}") from error
