"""Ray Tune: ASHA and Optuna's sampler, the lean loop, an actor of one thread a core."""

from __future__ import annotations

import os
import tempfile
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import optuna
import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.loops import build, lean_epochs
from benchmarks.peers.pytorch import SPACE, finish, spec_of
from benchmarks.peers.task import read_task
from cotune.data import TrainingData
from cotune.engine.device import n_cores


def train(config: dict[str, Any], data: TrainingData, seed: int) -> None:
    """One trial."""
    torch.set_num_threads(1)
    spec = spec_of(config, seed)
    for accuracy in lean_epochs(build(spec, data), spec, data):
        tune.report({"accuracy": accuracy})


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """The space, in OptunaSearch's form of it: drawn through the trial, constants returned."""
    SPACE.suggest(trial)
    return SPACE.constants


def main() -> None:
    task = read_task()
    ray.init(num_cpus=n_cores(), include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(train, data=task.data, seed=task.seed), {"cpu": 1}
            ),
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                search_alg=OptunaSearch(suggest, metric="accuracy", mode="max", seed=task.seed),
                scheduler=ASHAScheduler(max_t=50),
                num_samples=-1,
                # More would be drawn before there is anything to learn from.
                max_concurrent_trials=n_cores(),
                time_budget_s=task.budget.search_seconds,
                reuse_actors=True,  # or each trial would import PyTorch anew
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = tuner.fit()
        best = results.get_best_result()
    ray.shutdown()
    torch.set_num_threads(1)
    assert best.config is not None
    assert best.metrics is not None
    # Tune keeps no model unless every epoch writes one; people train the best configuration again.
    finish(task, best.config, lean_epochs, best.metrics["accuracy"], len(results))


if __name__ == "__main__":
    main()
