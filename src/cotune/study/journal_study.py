"""An Optuna study in a run's journal: opening it, its time, its errors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from cotune.exceptions import StorageError
from cotune.records import Direction, State
from cotune.space.quiet_optuna import quiet_optuna
from cotune.study.journal import STUDY_NAME, Journal, open_storage
from cotune.study.samplers import SamplerLike

STATES: Final[dict[State, TrialState]] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
"""What a trial's end is called in a study."""


class JournalStudy:
    """An Optuna study in a run's journal.

    Attributes:
        seconds: Wall clock spent in Optuna and in the journal.
    """

    _journal: Journal
    _study: optuna.Study

    def __init__(self) -> None:
        self.seconds = 0.0

    def _open(
        self,
        journal_path: Path,
        directions: Sequence[Direction],
        sampler: SamplerLike,
        pruner: BasePruner,
    ) -> None:
        """Make the study, or load it where the journal is there already."""
        self._journal = Journal(journal_path)
        self._study = optuna.create_study(
            study_name=STUDY_NAME,
            storage=open_storage(self._journal),
            directions=directions,
            sampler=None if isinstance(sampler, str) else sampler,
            pruner=pruner,
            load_if_exists=True,
        )

    def sync(self) -> None:
        """Make what was recorded survive a power loss."""
        with self._timed():
            self._journal.sync()

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            with in_optuna():
                yield
        finally:
            self.seconds += time.perf_counter() - began


@contextmanager
def in_optuna() -> Iterator[None]:
    """Call Optuna quietly, with errors of the journal as ours.

    Raises:
        StorageError: The journal cannot be written.
    """
    try:
        with quiet_optuna(optuna.logging.WARNING, ExperimentalWarning):
            yield
    except OSError as error:
        raise StorageError(f"the study's journal cannot be written: {error}") from error
