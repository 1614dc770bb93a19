"""A copy of the study in a database, where a team and optuna-dashboard see it grow.

The run directory stays the truth. A thread reads the journal and adds trials that have ended to the
database, every few seconds. The search does not wait for it, and a database that is away for a
while is caught up with.
"""

from __future__ import annotations

import hashlib
import threading
import time
import warnings
from pathlib import Path
from typing import Final

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import create_trial

from cotune.exceptions import UsageError
from cotune.space.quiet_optuna import quiet_optuna
from cotune.study.journal import STUDY_NAME
from cotune.text import without_password

_EVERY_SECONDS: Final = 5.0
_LAST_SECONDS: Final = 10.0  # at the end of a run, for the next trial
_MOST_LAST_SECONDS: Final = 30.0
_NUMBER: Final = "trial"
_RUN: Final = "run"


def check_database(url: str) -> str:
    """Return the URL of a database, if there is a driver for it.

    Raises:
        UsageError: There is none, or it is no URL. The message has no password.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        create_engine(url)
    except ModuleNotFoundError as error:
        extra = "; pip install 'cotune[postgresql]'" if url.startswith("postgresql") else ""
        raise UsageError(f"publish: {error.name} is not installed{extra}") from None
    except (ArgumentError, NoSuchModuleError, AttributeError, TypeError, ValueError):
        raise UsageError(
            "publish: is no URL of a database; give postgresql://USER@HOST/NAME or sqlite:///FILE"
        ) from None
    return url


class Publisher:
    """Copies the ended trials of a run's study into a database.

    Args:
        journal_path: The run's journal.
        url: The database's; anything of Optuna's RDB storage.
        name: The study's there. One of that name that is not of this run is left alone.

    Attributes:
        problem: Why the last attempt failed, or "".
    """

    def __init__(self, journal_path: Path, url: str, name: str) -> None:
        self._journal_path = journal_path
        self._url, self._name = url, name
        self._published: set[int] = set()
        self._ours: optuna.Study | None = None
        self._theirs: optuna.Study | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.problem = ""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Copy what is left, for half a minute at most; warn of what is not copied."""
        self._is_over.set()
        end, known = time.monotonic() + _MOST_LAST_SECONDS, -1
        while self._thread.is_alive() and len(self._published) > known and time.monotonic() < end:
            known = len(self._published)
            self._thread.join(_LAST_SECONDS)
        if self._thread.is_alive() or self.problem:
            why = self.problem or "it is slow"
            warnings.warn(
                f"publish: {without_password(self._url)} does not have all trials: {why}; "
                "cotune resume with --publish adds them",
                stacklevel=2,
            )

    def _work(self) -> None:
        while not self._is_over.wait(_EVERY_SECONDS):
            self._try()
        end = time.monotonic() + _LAST_SECONDS - 1.0
        self._try()
        while self.problem and time.monotonic() < end:
            time.sleep(1.0)
            self._try()

    def _try(self) -> None:
        try:
            with quiet_optuna(optuna.logging.ERROR, ExperimentalWarning):
                self._publish()
            self.problem = ""
        except Exception as error:  # of any driver; the run goes on
            self._theirs = None
            lines = str(getattr(error, "orig", None) or error).strip().splitlines()
            self.problem = f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]

    def _publish(self) -> None:
        if self._ours is None:
            if not self._journal_path.exists() or not self._journal_path.stat().st_size:
                return
            storage = JournalStorage(JournalFileBackend(str(self._journal_path.absolute())))
            self._ours = optuna.load_study(study_name=STUDY_NAME, storage=storage)
        ours = self._ours
        theirs = self._theirs or self._open(ours)
        for trial in ours.get_trials(deepcopy=False):
            if trial.state.is_finished() and trial.number not in self._published:
                theirs.add_trial(
                    create_trial(
                        state=trial.state,
                        values=trial.values,
                        params=trial.params,
                        distributions=trial.distributions,
                        # Numbers there are in the order of arrival.
                        user_attrs={**trial.user_attrs, _NUMBER: trial.number},
                        intermediate_values=trial.intermediate_values,
                    )
                )
                self._published.add(trial.number)

    def _open(self, ours: optuna.Study) -> optuna.Study:
        """Return the study in the database; know what it has."""
        theirs = optuna.create_study(
            study_name=self._name,
            storage=RDBStorage(self._url),
            directions=ours.directions,
            load_if_exists=True,
        )
        trials = theirs.get_trials(deepcopy=False)
        # The first record has a random number of its own.
        with open(self._journal_path, "rb") as file:
            run = hashlib.sha256(file.readline()).hexdigest()
        known = theirs.user_attrs.get(_RUN)
        if known != run:
            if known or trials:
                raise ValueError(f"it has a study named {self._name} that is not of this run")
            theirs.set_user_attr(_RUN, run)
            theirs.set_metric_names(ours.metric_names or [])
        self._published = {int(trial.user_attrs.get(_NUMBER, -1)) for trial in trials}
        self._theirs = theirs
        return theirs
