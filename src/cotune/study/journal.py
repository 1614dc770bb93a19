"""The study's journal on disk, with a single writer.

Optuna's default lock is a symbolic link that outlives a killed holder. A run has one writer, which
holds the lock of its run directory, so the journal itself needs none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

from cotune.exceptions import StorageError
from cotune.space.quiet_optuna import quiet_optuna

OptunaStudy = optuna.Study

STUDY_NAME = "cotune"


class _HeldByRunDirectory(JournalFileOpenLock):
    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class Journal(JournalFileBackend):
    """Optuna's journal, synced to the disk when asked to instead of at every record.

    A record is with the operating system once it is written, so it survives a killed process;
    :meth:`sync` makes it survive a power loss. Synced at each of a trial's dozens of records, the
    journal took a quarter of the wall clock of a search over small networks.
    """

    def __init__(self, path: Path) -> None:
        path = path.absolute()
        super().__init__(str(path), lock_obj=_HeldByRunDirectory(str(path)))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records, one JSON object a line; where there is no room, none of them."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with open(self._path, "ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            left = memoryview(lines.encode())
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                # Or the next record would be glued to the half of this one.
                file.truncate(size)
                raise

    def sync(self) -> None:
        """Make what was written survive a power loss."""
        with open(self._path, "ab") as file:
            os.fsync(file.fileno())


def open_storage(journal: Journal) -> JournalStorage:
    """Open the storage on a journal and replay its records.

    Raises:
        StorageError: It is damaged.
    """
    try:
        return JournalStorage(journal)
    except OSError:
        raise
    except Exception as error:  # Optuna takes its records for what they ought to be
        raise StorageError(f"the study's journal is damaged: {error!r}") from error


def load_study(journal_path: Path) -> OptunaStudy:
    """Load the study of a run for reading.

    Raises:
        StorageError: There is no journal, it is damaged, or it holds no study.
    """
    if not journal_path.is_file():
        raise StorageError(f"{journal_path}: there is no study")
    try:
        storage = open_storage(Journal(journal_path))
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{journal_path}: cannot be read: {error.strerror}") from error
    names = [study.study_name for study in storage.get_all_studies()]
    if not names:
        raise StorageError(f"{journal_path}: holds no study")
    return optuna.load_study(study_name=names[0], storage=storage)


def study_in_memory(study: OptunaStudy) -> OptunaStudy:
    """Copy a study into memory."""
    with quiet_optuna(optuna.logging.WARNING, ExperimentalWarning):
        storage = optuna.storages.InMemoryStorage()
        optuna.copy_study(
            from_study_name=study.study_name,
            from_storage=study._storage,
            to_storage=storage,
            to_study_name=study.study_name,
        )
        return optuna.load_study(study_name=study.study_name, storage=storage)
