"""What the peers in plain PyTorch share: the space, a trial for Optuna, the final model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.loops import build
from benchmarks.peers.task import Task
from benchmarks.tutorial_space import tutorial_space
from cotune.data import TrainingData
from cotune.records import TrialSpec

SPACE = tutorial_space()

Epochs = Callable[[nn.Module, TrialSpec, TrainingData], Iterator[float]]
"""A training loop of :mod:`benchmarks.loops`."""


def objective(trial: optuna.Trial, task: Task, epochs: Epochs) -> float:
    """Train a trial, asking the pruner after each epoch.

    The clock ends it at an epoch, so that a long trial does not eat up the final training's time.
    """
    spec = spec_of(SPACE.suggest(trial), task.seed * 1_000 + trial.number)
    accuracy = 0.0
    for epoch, accuracy in enumerate(epochs(build(spec, task.data), spec, task.data), 1):
        if task.budget.search_is_over:
            break
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


def spec_of(params: Mapping[str, Any], seed: int) -> TrialSpec:
    return TrialSpec(0, SPACE.complete(params), seed)


def finish(task: Task, params: Mapping[str, Any], epochs: Epochs, best: float, trials: int) -> None:
    """Train the best configuration on training + validation data, for fewer epochs if time is
    short, and test it.
    """
    spec = spec_of(params, task.seed)
    model = build(spec, task.everything)
    task.budget.train(epochs(model, spec, task.everything))
    model.eval()

    def predict(inputs: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.no_grad():
            chunks = [model(rows).argmax(1) for rows in torch.from_numpy(inputs).split(1024)]
        predicted: NDArray[np.int64] = torch.cat(chunks).numpy()
        return predicted

    task.finish(predict, best, trials)
