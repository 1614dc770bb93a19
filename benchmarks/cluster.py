"""``python -m benchmarks.cluster``: what a trial costs beside its training.

The same trials of ten epochs, two workers, one trial at a time in each, Optuna's TPE or Cotune's,
nothing pruned. An epoch sleeps; all else is real. A row is a way to train: the wall clock from the
first trial's start to the last one's end, and what of that, per trial and worker, was not sleep.

The ways are processes, Cotune's actors on Ray, and Ray Tune (``make bench-peers``), which reuses
its actors, or each trial would import PyTorch anew.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
import optuna
from torch import Tensor, nn

import cotune
from cotune.runs.directory import RunDirectory
from cotune.tuning.observer import Observer
from cotune.tuning.run import Session, carry_out, executor_for, prepare_run
from cotune.tuning.settings import read_settings

_EPOCHS: Final = 10
_WORKERS: Final = 2
_ROWS: Final = 256


class Sleeping(nn.Module):
    """A network whose training takes as long as it is told; an epoch is one step."""

    def __init__(self, inputs: int, classes: int, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.linear = nn.Linear(inputs, classes)

    def forward(self, rows: Tensor) -> Tensor:
        if self.training:
            time.sleep(self.seconds)
        output: Tensor = self.linear(rows)
        return output


def cotune_seconds(executor: str, trials: int, epoch_seconds: float, lanes: int) -> float:
    """Search with Cotune; return the seconds of the search."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(_ROWS, 4)).astype(np.float32)
    dataset = cotune.read((inputs, generator.integers(0, 2, _ROWS)))

    def build(trial: optuna.Trial, n_inputs: int, n_classes: int) -> nn.Module:
        return Sleeping(n_inputs, n_classes, epoch_seconds)

    settings = read_settings(
        model=build,
        n_trials=trials,
        pruner="none",
        executor=executor,
        workers=_WORKERS,
        lanes=lanes,
        precision="float32",
        fixed={"epochs": _EPOCHS, "batch_size": 256},
        **({"address": "local"} if executor == "ray" else {}),
    )
    options = replace(settings.fit(dataset), search_only=True, portfolio=False)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(Path(folder) / "run")
        prepared = prepare_run(options, dataset)
        with executor_for(settings.resources, options) as workers:
            carry_out(prepared, settings.resources, workers, run, Session(Observer()))
        summary = RunDirectory.open(run.path).summary()
    assert summary.trials.complete == trials
    return summary.seconds.search


def tune_seconds(trials: int, epoch_seconds: float) -> float:
    """Search with Ray Tune; return the seconds from the first trial's start to the last's end."""
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class Clock(tune.Callback):  # type: ignore[misc]
        began = ended = 0.0

        def on_trial_start(self, *_: Any, **__: Any) -> None:
            self.began = self.began or time.monotonic()

        def on_trial_complete(self, *_: Any, **__: Any) -> None:
            self.ended = time.monotonic()

    def train(config: dict[str, Any]) -> None:
        for epoch in range(_EPOCHS):
            time.sleep(epoch_seconds)
            tune.report({"score": config["lr"] * epoch})

    clock = Clock()
    ray.init(num_cpus=_WORKERS, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            param_space={"lr": tune.loguniform(1e-4, 1e-1), "dropout": tune.uniform(0, 0.5)},
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                search_alg=OptunaSearch(seed=0),
                num_samples=trials,
                max_concurrent_trials=_WORKERS,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[clock]),
        ).fit()
    ray.shutdown()
    return clock.ended - clock.began


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--epoch-ms", nargs="+", type=float, default=[1.0, 10.0, 20.0, 100.0])
    parser.add_argument("--lanes", type=int, default=4, help="of the rows with lanes")
    asked = parser.parse_args()
    print(f"{'':24}{'epoch':>8}{'seconds':>10}{'ms a trial beside sleep':>26}")
    for epoch_ms in asked.epoch_ms:
        for lanes in (1, asked.lanes):
            for executor in ("processes", "ray"):
                took = cotune_seconds(executor, asked.trials, epoch_ms / 1e3, lanes)
                row(f"{executor}, lanes: {lanes}", asked.trials, epoch_ms, took, lanes)
        row("Ray Tune", asked.trials, epoch_ms, tune_seconds(asked.trials, epoch_ms / 1e3))


def row(name: str, trials: int, epoch_ms: float, seconds: float, lanes: int = 1) -> None:
    """Print a row."""
    beside = 1e3 * seconds * _WORKERS / trials - _EPOCHS * epoch_ms / lanes
    print(f"{name:24}{epoch_ms:>5g} ms{seconds:>10.2f}{beside:>26.1f}", flush=True)


if __name__ == "__main__":
    main()
