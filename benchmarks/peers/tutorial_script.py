"""The tutorials' script: Dataset, DataLoader, one trial after another, Optuna's defaults."""

from __future__ import annotations

import optuna

from benchmarks.loops import tutorial_epochs
from benchmarks.peers.pytorch import finish, objective
from benchmarks.peers.task import read_task


def main() -> None:
    task = read_task()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # The pruner is the MedianPruner, Optuna's default, as in its own PyTorch example.
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=task.seed)
    )
    study.optimize(
        lambda trial: objective(trial, task, tutorial_epochs), timeout=task.budget.search_seconds
    )
    finish(task, study.best_params, tutorial_epochs, study.best_value, len(study.trials))


if __name__ == "__main__":
    main()
