"""A run's study in optuna-dashboard."""

from __future__ import annotations

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from cotune.runs.directory import RunDirectory


def serve_dashboard(run: RunDirectory, host: str, port: int) -> None:
    """Serve optuna-dashboard on a run's journal until Ctrl-C."""
    from optuna_dashboard import run_server

    path = str(run.journal_path.absolute())
    # Optuna's default lock outlives a killed process.
    storage = JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path)))
    run_server(storage, host=host, port=port)
