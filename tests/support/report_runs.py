"""Finished runs on scikit-learn's digits, and what is in their reports."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import plotly.offline
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score, log_loss
from sklearn.neural_network import MLPClassifier

from cotune.records import EpochReport, FinalResult, State, TrialResult, Value
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import BestTrial, FinalSummary, Seconds, Summary, TrialCounts

HYPERPARAMETERS = (
    "n_layers",
    "width",
    "batch_norm",
    "dropout",
    "lr",
    "optimizer",
    "momentum",
    "weight_decay",
    "batch_size",
    "epochs",
)
CLASSES = tuple(str(digit) for digit in range(10))


def suggest(trial: optuna.Trial, epochs: int, prefix: str = "") -> dict[str, Value]:
    """The hyperparameters of one trial; ``prefix`` makes their names hostile."""
    params: dict[str, Value] = {
        "n_layers": trial.suggest_int(f"{prefix}n_layers", 1, 3),
        "width": trial.suggest_int(f"{prefix}width", 8, 64, log=True),
        "batch_norm": trial.suggest_categorical(f"{prefix}batch_norm", (False, True)),
        "dropout": trial.suggest_float(f"{prefix}dropout", 0.0, 0.5),
        "lr": trial.suggest_float(f"{prefix}lr", 1e-4, 1e-1, log=True),
        "optimizer": trial.suggest_categorical(f"{prefix}optimizer", ("adam", "sgd")),
        "weight_decay": trial.suggest_float(f"{prefix}weight_decay", 1e-6, 1e-2, log=True),
        "batch_size": trial.suggest_categorical(f"{prefix}batch_size", (32, 64, 128)),
        "epochs": epochs,
    }
    if params["optimizer"] == "sgd":
        params["momentum"] = trial.suggest_float(f"{prefix}momentum", 0.0, 0.99)
    return params


def network(params: dict[str, Value], seed: int) -> MLPClassifier:
    return MLPClassifier(
        hidden_layer_sizes=(int(params["width"]),) * int(params["n_layers"]),
        solver=str(params["optimizer"]),
        alpha=float(params["weight_decay"]),
        batch_size=int(params["batch_size"]),
        learning_rate_init=float(params["lr"]),
        momentum=float(params.get("momentum", 0.9)),
        random_state=seed,
    )


def grid(images: np.ndarray) -> Image.Image:
    """16 images ``[16, 8, 8]`` as a 4 x 4 grid of grey pixels."""
    cells = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=0)
    rows = [np.hstack(list(cells[i : i + 4])) for i in range(0, 16, 4)]
    pixels = (255 - np.vstack(rows) * 255 / 16).astype(np.uint8)
    return Image.fromarray(pixels).resize((400, 400), Image.Resampling.NEAREST)


def make_run(
    path: Path,
    *,
    trials: int = 24,
    epochs: int = 6,
    final: bool = True,
    every_trial_fails: bool = False,
    classes: Sequence[str] = CLASSES,
    dataset: str = "digits",
    prefix: str = "",
    pictures: bool = True,
) -> RunDirectory:
    """A real run on scikit-learn's digits, recorded with RunDirectory's own writers."""
    started = time.monotonic()
    images, labels = load_digits(return_X_y=True)
    images = images / 16
    train, validation = slice(0, 300), slice(900, 1300)
    run = RunDirectory.create(path)
    run.write_config(
        {
            "command": f"cotune run {dataset} --trials {trials} --seed 7",
            "dataset": {
                "name": dataset,
                "fingerprint": "sha256:6f1d9f2b1c0b4cbb8c27a9c5e2a1d38e",
                "rows": {"train": 300, "validation": 400, "test": 497},
                "classes": list(classes),
                "input_shape": [1, 8, 8],
            },
            "space": {"lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}},
            "metric": "accuracy",
            "sampler": "tpe",
            "pruner": "median",
            "seed": 7,
            "timeout_seconds": None,
            "n_trials": trials,
            "workers": 2,
            "device": "cpu",
            "versions": {"cotune": "0.1.0", "python": "3.11", "torch": "2.13", "optuna": "5.0"},
        }
    )
    run.tables.start([f"{prefix}{name}" for name in HYPERPARAMETERS])
    if pictures:
        grid(load_digits().images[:16]).save(run.samples_path)
    storage = JournalStorage(JournalFileBackend(str(run.journal_path)))
    study = optuna.create_study(
        study_name="cotune",
        storage=storage,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=7),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    counts = {"complete": 0, "pruned": 0, "failed": 0, "running": 0}
    best: BestTrial | None = None
    highest = -math.inf
    for _ in range(trials):
        trial = study.ask()
        params = suggest(trial, epochs, prefix)
        model = network(params, seed=trial.number)
        began = time.monotonic()
        state: State = "complete"
        reason = ""
        value = None
        epoch = 0
        for epoch in range(1, epochs + 1):
            if every_trial_fails or trial.number == 11:
                state, reason = "failed", f"{prefix}loss is not finite at epoch {epoch}"
                break
            model.partial_fit(images[train], labels[train], classes=range(10))
            chances = model.predict_proba(images[validation])
            guesses = chances.argmax(1)
            value = float((guesses == labels[validation]).mean())
            report = EpochReport(
                number=trial.number,
                epoch=epoch,
                train_loss=float(model.loss_),
                train_accuracy=float(model.score(images[train], labels[train])),
                scores={
                    "loss": float(log_loss(labels[validation], chances, labels=range(10))),
                    "accuracy": value,
                    "f1": float(f1_score(labels[validation], guesses, average="macro")),
                },
                seconds=time.monotonic() - began,
                steps=30,
            )
            run.tables.append_reports([report])
            trial.report(value, epoch)
            if trial.should_prune() and epoch < epochs:
                state, reason = "pruned", "below the median"
                break
        if state == "failed":
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif state == "pruned":
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)
        counts[state] += 1
        named = {f"{prefix}{name}": value for name, value in params.items()}
        seconds = time.monotonic() - began
        run.tables.append_trials(
            [TrialResult(trial.number, state, value, epoch, named, seconds, reason=reason)]
        )
        if state == "complete" and (value is not None and value > highest):
            highest = value
            best = BestTrial(number=trial.number, params=named, validation_accuracy=value)
            chosen = params
    result = None
    if final and best is not None:
        result = train_final(run, chosen, epochs, pictures)
    searched = time.monotonic() - started
    run.write_summary(
        Summary(
            state="complete" if result else "failed" if every_trial_fails else "interrupted",
            seconds=Seconds(total=searched, search=searched, final=0.2, study=0.1),
            trials=TrialCounts(**counts),
            best=best,
            final=None
            if result is None
            else FinalSummary(
                test_accuracy=result.test_accuracy,
                test_ci95=result.test_ci95,
                epochs=result.epochs,
                parameters=result.parameters,
            ),
            message="every trial failed: loss is not finite" if every_trial_fails else "",
        )
    )
    run.close()
    return run


def train_final(
    run: RunDirectory, params: dict[str, Value], epochs: int, pictures: bool
) -> FinalResult:
    images, labels = load_digits(return_X_y=True)
    images = images / 16
    model = network(params, seed=0)
    curve: dict[str, list[float]] = {"loss": [], "accuracy": []}
    for _ in range(epochs):
        model.partial_fit(images[:1300], labels[:1300], classes=range(10))
        curve["loss"].append(float(model.loss_))
        curve["accuracy"].append(float(model.score(images[:1300], labels[:1300])))
    chances = model.predict_proba(images[1300:])
    truth, guesses = labels[1300:], chances.argmax(1)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (truth, guesses), 1)
    wrong = sorted(np.flatnonzero(truth != guesses), key=lambda row: -chances[row].max())[:16]
    if pictures:
        rows = (list(wrong) * 16)[:16]
        grid(load_digits().images[1300:][rows]).save(run.mistakes_path)
    accuracy = float((truth == guesses).mean())
    half = 1.96 * (accuracy * (1 - accuracy) / len(truth)) ** 0.5
    result = FinalResult(
        test_accuracy=accuracy,
        test_ci95=(accuracy - half, accuracy + half),
        epochs=epochs,
        parameters=sum(w.size for w in (*model.coefs_, *model.intercepts_)),
        curve=curve,
        confusion=confusion.tolist(),
        mistakes=[
            {
                "row": int(row),
                "true": int(truth[row]),
                "predicted": int(guesses[row]),
                "probability": float(chances[row].max()),
            }
            for row in wrong
        ],
    )
    run.write_final(result)
    return result


def figures(page: str) -> dict[str, Any]:
    """The charts in the page, by name."""
    [found] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    charts: dict[str, Any] = json.loads(found)["charts"]
    return charts


def text_of(page: str) -> str:
    """The page without its scripts and style, white space as single blanks."""
    page = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def text_without_plotly(page: str) -> str:
    return page.replace(plotly.offline.get_plotlyjs(), "")
