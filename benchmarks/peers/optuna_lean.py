"""Optuna in the best plain PyTorch: lean loop, a process of one thread a core, one journal."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path

import optuna
import torch
from optuna.storages.journal import JournalFileBackend, JournalStorage

from benchmarks.loops import lean_epochs
from benchmarks.peers.pytorch import finish, objective
from benchmarks.peers.task import Task, read_task
from cotune.engine.device import n_cores

_NAME = "lean"


def search(task: Task, journal: Path, worker: int) -> None:
    """One process's part in the search."""
    study = optuna.load_study(
        study_name=_NAME,
        storage=JournalStorage(JournalFileBackend(str(journal))),
        # Of one seed, all workers would draw the same first trials.
        sampler=optuna.samplers.TPESampler(seed=task.seed * 1_000 + worker),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.optimize(
        lambda trial: objective(trial, task, lean_epochs), timeout=task.budget.search_seconds
    )


def main() -> None:
    # Before the fork, which other threads would not survive. In the final training, networks as
    # small as these gain nothing by more.
    torch.set_num_threads(1)
    task = read_task()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        study = optuna.create_study(
            study_name=_NAME,
            storage=JournalStorage(JournalFileBackend(str(journal))),
            direction="maximize",
        )
        # Forked, the workers have the libraries and the data at once.
        fork = multiprocessing.get_context("fork")
        workers = [
            fork.Process(target=search, args=(task, journal, worker))
            for worker in range(1, n_cores())
        ]
        for worker in workers:
            worker.start()
        search(task, journal, 0)
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise RuntimeError("a worker failed")
        params, best, trials = study.best_params, study.best_value, len(study.trials)
    finish(task, params, lean_epochs, best, trials)


if __name__ == "__main__":
    main()
