"""A script's own study, kept from being run and from its database while the script is imported."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages import journal as optuna_journal
from optuna.trial import FrozenTrial, TrialState

Reached = Callable[[optuna.Study | None, Any], None]
"""``reached(study, function)``: the script has come to the line that runs its study."""

_FILE_BACKEND = optuna_journal.JournalFileBackend


class OwnStudies:
    """The Optuna calls of a script's top level, without lasting effects.

    Studies in a database that is a file are read from a copy of it; on a server, they are empty
    ones in memory. The first call of ``optimize`` or ``ask`` goes to ``reached``.

    Args:
        reached: Told of that call; it need not return.
    """

    def __init__(self, reached: Reached) -> None:
        self._reached = reached
        self._made: list[tuple[optuna.Study, dict[str, Any]]] = []
        self._added: list[tuple[optuna.Study, FrozenTrial]] = []
        self._run_with: dict[str, Any] = {}
        self._open: dict[str, BaseStorage] = {}
        self._are_empty: list[BaseStorage] = []  # of servers, which are not asked
        self._unknown: list[optuna.Study] = []  # that a server has
        self._stack = ExitStack()
        self._folder = Path()
        self._is_on = False  # a script may keep what it has imported, and call it later

    def install(self) -> None:
        """Answer in Optuna's place until :meth:`remove`."""
        folder = tempfile.TemporaryDirectory(prefix="cotune-")
        self._folder = Path(self._stack.enter_context(folder))
        storages, journal = optuna.storages, optuna_journal
        patches: list[tuple[Any, str, Any]] = [
            (storages, "get_storage", self._get_storage(storages.get_storage)),
            (storages, "RDBStorage", self._made_by(RDBStorage, self._database)),
            *[
                (package, "JournalStorage", self._made_by(JournalStorage, self._journal))
                for package in (storages, journal)
            ],
            (journal, "JournalFileBackend", self._unopened(_FILE_BACKEND)),
            (storages, "JournalFileStorage", self._unopened(storages.JournalFileStorage)),
            (storages, "GrpcStorageProxy", self._made_by(storages.GrpcStorageProxy, self._server)),
            (optuna.Study, "optimize", lambda study, *a, **n: self._optimize(study, *a, **n)),
            (optuna.Study, "ask", lambda study, *_, **__: self._reached(study, None)),
            (optuna.Study, "add_trial", self._add_trial(optuna.Study.add_trial)),
        ]
        for module in (optuna, optuna.study):
            patches.append((module, "create_study", self._create_study(optuna.create_study)))
            patches.append((module, "load_study", self._load_study(optuna.load_study)))
        for owner, name, value in patches:
            self._stack.enter_context(replaced(owner, name, value))
        self._is_on = True

    def remove(self) -> None:
        """Let Optuna answer again. May be called twice."""
        self._is_on = False
        for storage in self._open.values():
            storage.remove_session()  # which closes the copies
        self._stack.close()

    def only(self) -> optuna.Study | None:
        """Return the script's study, where it has made exactly one."""
        return self._made[0][0] if len(self._made) == 1 else None

    def knows(self, study: optuna.Study) -> bool:
        """Return whether a study's direction is known; not of one that a server has."""
        return not any(study is unknown for unknown in self._unknown)

    def enqueued(self, study: optuna.Study) -> list[FrozenTrial]:
        """Return the trials that the script has enqueued in a study."""
        return [t for own, t in self._added if own is study and t.state == TrialState.WAITING]

    def remark(self, study: optuna.Study) -> str:
        """Return what of the script's study the run does not do, as one line."""
        given = next((given for own, given in self._made if own is study), {})
        given = {**given, **self._run_with}
        parts = ["the script's own study is not run; this run has a study of its own"]
        if given.get("storage") is not None:
            parts.append("the script's database is left alone")
        names = ("sampler", "pruner", "n_trials", "timeout", "callbacks")
        unused = [name for name in names if given.get(name) is not None]
        if sum(own is study for own, _ in self._added) > len(self.enqueued(study)):
            unused.append("added trials")
        if unused:
            parts.append(f"not used: the script's {', '.join(unused)}")
        return "; ".join(parts)

    def _optimize(self, study: optuna.Study, func: Any = None, *places: Any, **named: Any) -> None:
        self._run_with = {**dict(zip(("n_trials", "timeout"), places, strict=False)), **named}
        self._reached(study, func)

    def _get_storage(self, original: Callable[[Any], BaseStorage]) -> Callable[[Any], BaseStorage]:
        return lambda storage: (
            self._database(storage) if isinstance(storage, str) else original(storage)
        )

    def _create_study(self, original: Callable[..., optuna.Study]) -> Callable[..., optuna.Study]:
        def create_study(*places: Any, **named: Any) -> optuna.Study:
            if not self._is_on:
                return original(*places, **named)
            # A second run of the script would find the first one's study.
            study = original(*places, **{**named, "load_if_exists": True})
            self._made.append((study, named))
            return study

        return create_study

    def _load_study(self, original: Callable[..., optuna.Study]) -> Callable[..., optuna.Study]:
        def load_study(**named: Any) -> optuna.Study:
            if not self._is_on:
                return original(**named)
            storage = optuna.storages.get_storage(named.get("storage"))
            if any(storage is empty for empty in self._are_empty):
                self._unknown.append(optuna.create_study(**named))
                return self._unknown[-1]
            study = original(**{**named, "storage": storage})
            self._made.append((study, named))
            return study

        return load_study

    def _add_trial(self, original: Callable[..., None]) -> Callable[..., None]:
        def add_trial(study: optuna.Study, trial: FrozenTrial) -> None:
            original(study, trial)
            self._added.append((study, trial))

        return add_trial

    def _database(self, url: Any, *_: Any, **__: Any) -> BaseStorage:
        from sqlalchemy.engine import make_url

        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return self._server(url)
        return self._of_file(str(parsed.database or ""), self._copied_database)

    def _journal(self, backend: Any) -> BaseStorage:
        if not isinstance(backend, _FILE_BACKEND):
            return self._server(backend)
        return self._of_file(backend._file_path, self._copied_journal)

    def _server(self, where: Any, *_: Any, **__: Any) -> BaseStorage:
        key = str(where)
        if key not in self._open:
            self._open[key] = InMemoryStorage()
            self._are_empty.append(self._open[key])
        return self._open[key]

    def _of_file(self, file: str, copied: Callable[[str, Path], BaseStorage]) -> BaseStorage:
        if file not in self._open:
            exists = os.path.isfile(file)
            copy = self._folder / str(len(self._open))
            self._open[file] = copied(file, copy) if exists else InMemoryStorage()
        return self._open[file]

    def _made_by(self, kind: type, make: Callable[..., Any]) -> type:
        """Return a class in the place of another, whose instances are what a function returns."""
        return type(
            kind.__name__,
            (kind,),
            {"__new__": lambda _, *a, **n: make(*a, **n) if self._is_on else kind(*a, **n)},
        )

    def _unopened(self, kind: Any) -> type:
        """Return a file backend that only knows its path: Optuna's makes the file."""

        def init(backend: Any, file_path: Any, *places: Any, **named: Any) -> None:
            if self._is_on:
                backend._file_path = str(file_path)
            else:
                kind.__init__(backend, file_path, *places, **named)

        return type(kind.__name__, (kind,), {"__init__": init})

    @staticmethod
    def _copied_database(file: str, copy: Path) -> BaseStorage:
        from sqlalchemy.pool import NullPool

        uri = f"{Path(file).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as old, closing(sqlite3.connect(copy)) as new:
            old.backup(new)
        own = RDBStorage(f"sqlite:///{copy}", engine_kwargs={"poolclass": NullPool})
        return optuna.storages._CachedStorage(own)

    @staticmethod
    def _copied_journal(file: str, copy: Path) -> BaseStorage:
        shutil.copyfile(file, copy)
        return JournalStorage(_FILE_BACKEND(str(copy)))


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute within it."""
    had, before = name in vars(owner), vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if had:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
