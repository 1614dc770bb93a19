"""KerasTuner: Hyperband, with Keras on PyTorch."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"  # Keras reads it when imported

import keras
import keras_tuner
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.peers.budget import Budget
from benchmarks.peers.task import read_task
from benchmarks.tutorial_space import tutorial_space

SPACE = tutorial_space()


class Network(keras_tuner.HyperModel):  # type: ignore[misc]
    """The network of preset ``mlp``."""

    def __init__(self, features: int, n_classes: int) -> None:
        super().__init__()
        self._features, self._n_classes = features, n_classes

    def build(self, hp: Any) -> Any:
        p = suggest(hp)
        model = keras.Sequential([keras.layers.Input((self._features,))])
        for _ in range(p["n_layers"]):
            model.add(keras.layers.Dense(p["width"]))
            if p["batch_norm"]:
                model.add(keras.layers.BatchNormalization())
            model.add(keras.layers.ReLU())
            model.add(keras.layers.Dropout(p["dropout"]))
        model.add(keras.layers.Dense(self._n_classes))
        model.compile(
            optimizer=optimizer_of(p),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        return model.fit(*args, batch_size=hp.get("batch_size"), **kwargs)


class TimedHyperband(keras_tuner.Hyperband):  # type: ignore[misc]
    """Hyperband, which has no time limit of its own, in one."""

    class TimeIsUp(Exception):
        """Ends the search."""

    def __init__(self, budget: Budget, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._budget = budget

    def on_epoch_end(self, trial: Any, model: Any, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(trial, model, epoch, logs)
        model.stop_training = model.stop_training or self._budget.search_is_over

    def on_trial_end(self, trial: Any) -> None:
        super().on_trial_end(trial)
        if self._budget.search_is_over:
            raise self.TimeIsUp


class StopInTime(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the final training when another epoch would be too late."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget, self._began = budget, 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = self._budget.is_too_late(time.monotonic() - self._began)


def suggest(hp: Any) -> dict[str, Any]:
    """Draw a configuration of the preset; ``epochs`` is what Hyperband itself decides."""
    params: dict[str, Any] = {}
    for name, hyperparameter in SPACE.searched.items():
        of = hyperparameter.distribution
        if name == "epochs" or any(params[k] not in v for k, v in hyperparameter.when.items()):
            continue
        if isinstance(of, CategoricalDistribution):
            params[name] = hp.Choice(name, list(of.choices))
        elif isinstance(of, IntDistribution):
            params[name] = hp.Int(name, of.low, of.high, step=of.step)
        elif isinstance(of, FloatDistribution):
            sampling = "log" if of.log else "linear"
            params[name] = hp.Float(name, of.low, of.high, sampling=sampling)
    return params


def optimizer_of(p: dict[str, Any]) -> Any:
    """The trial's optimizer; Keras knows weight decay in AdamW's way alone."""
    kind = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
        "rmsprop": keras.optimizers.RMSprop,
    }[p["optimizer"]]
    momentum = {"momentum": p["momentum"]} if p["optimizer"] == "sgd" else {}
    return kind(learning_rate=p["lr"], weight_decay=p["weight_decay"], **momentum)


def main() -> None:
    task = read_task()
    data, n = task.data, task.data.n_train
    epochs = SPACE.searched["epochs"].distribution
    assert isinstance(epochs, IntDistribution)
    keras.utils.set_random_seed(task.seed)
    network = Network(data.inputs.shape[1], data.n_classes)
    with tempfile.TemporaryDirectory() as folder:
        tuner = TimedHyperband(
            task.budget,
            network,
            objective="val_accuracy",
            max_epochs=epochs.high,
            seed=task.seed,
            directory=folder,
        )
        with contextlib.suppress(TimedHyperband.TimeIsUp):
            tuner.search(
                data.inputs[:n],
                data.labels[:n],
                validation_data=(data.inputs[n:], data.labels[n:]),
                verbose=0,
            )
        best = tuner.oracle.get_best_trials()[0]
        trials = len(tuner.oracle.trials)
    # Hyperband judges by few epochs what is meant to have all: so many, or what the time allows.
    model = network.build(best.hyperparameters)
    network.fit(
        best.hyperparameters,
        model,
        data.inputs,
        data.labels,
        epochs=epochs.high,
        verbose=0,
        callbacks=[StopInTime(task.budget)],
    )
    task.finish(
        lambda inputs: model.predict(inputs, batch_size=1024, verbose=0).argmax(1),
        best.score,
        trials,
    )


if __name__ == "__main__":
    main()
