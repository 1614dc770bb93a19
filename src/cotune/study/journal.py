"""The study's journal on disk, with a single writer.

Optuna's default lock is a symbolic link that outlives a killed holder. A run has one writer, which
holds the lock of its run directory, so the journal itself needs none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
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
    """Optuna's journal, written by one operation of a study at a time.

    A record is with the operating system once it is written, so it survives a killed process;
    :meth:`sync` makes it survive a power loss. Synced at each of a trial's dozens of records, the
    journal took a quarter of the wall clock of a search over small networks. Written and read back
    one by one, they took more time than the sampler.
    """

    def __init__(self, path: Path) -> None:
        path = path.absolute()
        super().__init__(str(path), lock_obj=_HeldByRunDirectory(str(path)))
        self._path = path
        self._is_read = False
        self._unread: list[dict[str, Any]] = []  # written since, and not read back
        self._unwritten: list[str] | None = None  # lines of an operation
        self._failed: OSError | None = None

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield records from a number on; the file is read only once."""
        if self._is_read:
            records, self._unread = self._unread, []
            yield from records
        else:
            self._is_read = True
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records, one JSON object a line; where there is no room, none of them."""
        lines = [json.dumps(log, separators=(",", ":")) for log in logs]
        if self._unwritten is None:
            self._write(lines)
        else:
            self._unwritten += lines
        if self._is_read:
            self._unread += map(json.loads, lines)

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Write what is recorded meanwhile at its end, at once.

        Raises:
            OSError: There is no room. What the study has in memory is then no longer what is in the
                journal, which takes nothing more.
        """
        if self._unwritten is not None:
            yield
            return
        self._unwritten = []
        try:
            yield
        finally:
            lines, self._unwritten = self._unwritten, None
            if lines:
                self._write(lines)

    def _write(self, lines: Sequence[str]) -> None:
        if self._failed:
            raise self._failed
        with open(self._path, "ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            left = memoryview("".join(f"{line}\n" for line in lines).encode())
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError as error:
                self._failed = error
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
