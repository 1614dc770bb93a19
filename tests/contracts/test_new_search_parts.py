"""Toys of what a search is made of, registered from outside: pruner, sampler, metric, executor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from optuna.samplers import RandomSampler
from torch import Tensor

import cotune
from cotune.metrics import METRICS, Metric
from cotune.study.pruners import PRUNERS
from cotune.study.rung_pruner import RungPruner
from cotune.study.samplers import SAMPLERS
from cotune.workers.executors import EXECUTORS
from cotune.workers.in_process import InProcessExecutor

SPACE = {"width": {"type": "int", "low": 8, "high": 64}, "n_layers": 1, "epochs": 2}


def tune(folder: Path, **options: object) -> cotune.RunResult:
    given: dict[str, object] = {"workers": "in-process", "device": "cpu", "portfolio": False}
    return cotune.run("digits", space=SPACE, n_trials=3, out=folder, **{**given, **options})  # type: ignore[arg-type]


class Third(RungPruner):
    """Stops every trial whose number is divisible by three."""

    def judge(self, values: Mapping[int, tuple[int, float]]) -> set[int]:
        return {number for number in values if number % 3 == 0}


def test_a_pruner(tmp_path, monkeypatch):
    monkeypatch.setitem(PRUNERS, "third", lambda maximize: Third())
    result = tune(tmp_path / "run", pruner="third")
    assert [trial.state.name for trial in result.study.trials] == ["PRUNED", "COMPLETE", "COMPLETE"]


def test_a_sampler(tmp_path, monkeypatch):
    drawn: list[int] = []

    def make(seed: int, own: int) -> RandomSampler:
        drawn.append(own)
        return RandomSampler(seed=own)

    monkeypatch.setitem(SAMPLERS, "toy", make)
    tune(tmp_path / "run", sampler="toy")
    assert len(set(drawn)) >= 3


def worst_recall(confusion: Tensor) -> Tensor:
    hits, rows = confusion.diagonal(dim1=1, dim2=2).double(), confusion.sum(2)
    return (hits / rows.clamp(min=1)).min(1).values


def test_a_metric(tmp_path, monkeypatch):
    toy = Metric("worst-recall", "maximize", "smallest validation recall", worst_recall)
    monkeypatch.setitem(METRICS, toy.name, toy)
    result = tune(tmp_path / "run", metric="worst-recall")
    assert result.study.directions[0].name == "MAXIMIZE"
    assert result.best_value is not None
    assert result.validation_accuracy is not None
    assert 0.0 <= result.best_value < result.validation_accuracy
    assert result.final is not None
    assert 0.0 <= result.final.test_scores["worst-recall"] < result.final.test_scores["accuracy"]


def test_an_executor(tmp_path, monkeypatch):
    used: list[str] = []

    class Toy(InProcessExecutor):
        def __init__(self, device: str) -> None:
            super().__init__(device)
            used.append(device)

    monkeypatch.setitem(EXECUTORS, "in-process", lambda place: Toy(place.device))
    assert tune(tmp_path / "run").test_accuracy is not None
    assert used == ["cpu"]


def test_names_that_are_not_there(tmp_path):
    with pytest.raises(cotune.UsageError, match="choose one of asha, top-k, median"):
        tune(tmp_path / "run", pruner="third")
