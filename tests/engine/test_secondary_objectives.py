"""A score and what the network costs; and ending early."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import cotune
from cotune.arguments import read_metrics
from cotune.engine.secondary_objectives import measure_cost
from cotune.exceptions import UsageError
from cotune.space.presets import load_space

MLP = load_space("mlp").complete({"n_layers": 1, "width": 8})


def test_parameters_are_the_trainable_weights():
    assert measure_cost("parameters", MLP, (8, 8), 10) == 64 * 8 + 2 * 8 + 8 * 10 + 10


def test_a_wider_network_is_slower():
    wide = {**MLP, "width": 4096, "n_layers": 3}
    assert 0 < measure_cost("latency", MLP, (8, 8), 10) < measure_cost("latency", wide, (8, 8), 10)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("accuracy", ("accuracy", ())),
        ("loss, latency", ("loss", ("latency",))),
        ("f1,parameters,latency", ("f1", ("parameters", "latency"))),
    ],
)
def test_metrics(text, read):
    assert read_metrics(text) == read


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy", "metric: 'acuracy' is unknown; did you mean accuracy?"),
        (
            "parameters",
            "metric: 'parameters' is unknown; choose one of accuracy, balanced-accuracy, f1, auc, "
            "loss",
        ),
        ("accuracy,loss", "metric: 'loss' is unknown; choose one of parameters, latency"),
        ("accuracy,latency,latency", "metric: latency is there twice"),
        ("accuracy,", "metric: '' is unknown; choose one of parameters, latency"),
        (7, "metric: 7 is not a name"),
    ],
)
def test_what_are_no_metrics(text, message):
    with pytest.raises(UsageError) as caught:
        read_metrics(text)
    assert str(caught.value) == message


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> cotune.RunResult:
    return cotune.run(
        "digits",
        space={
            "width": {"type": "int", "low": 8, "high": 256, "step": 8},
            "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
            "epochs": 4,
        },
        metric="accuracy,parameters",
        n_trials=12,
        workers=1,
        out=tmp_path_factory.mktemp("objectives") / "run",
    )


def test_the_front_is_what_no_other_trial_beats(result: cotune.RunResult):
    complete = [trial for trial in result.study.trials if trial.state.name == "COMPLETE"]
    assert [direction.name for direction in result.study.directions] == ["MAXIMIZE", "MINIMIZE"]
    values = {trial.number: trial.values for trial in complete}
    beaten = {
        a
        for a, (accuracy, size) in values.items()
        for other, fewer in values.values()
        if other >= accuracy and fewer <= size and (other, fewer) != (accuracy, size)
    }
    front = result.summary.pareto
    assert {one.number for one in front} == values.keys() - beaten
    for one in front:
        assert [one.value, one.parameters] == values[int(one.number)]
    scores = [one.value for one in front]
    assert scores == sorted(scores, reverse=True)


def test_weak_trials_are_pruned_by_the_first_objective(result: cotune.RunResult):
    assert result.summary.trials.pruned > 0
    assert result.test_accuracy is not None
    assert result.test_accuracy > 0.9


def test_costs_are_in_the_table_and_the_front_in_the_report(result: cotune.RunResult):
    with open(result.path / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert (row["parameters"] != "") == (row["state"] == "complete")
    page = (result.path / "report.html").read_text()
    assert "Pareto front" in page
    assert "chart-pareto" in page


def test_pruners_that_judge_one_metric_only(tmp_path: Path):
    with pytest.raises(UsageError, match="pruner: with several objectives"):
        cotune.run("digits", metric="accuracy,latency", pruner="median", out=tmp_path / "run")


def test_patience(tmp_path: Path):
    result = cotune.run(
        "digits",
        n_trials=200,
        patience=5,
        workers=1,
        space={"lr": {"type": "float", "low": 1e-3, "high": 2e-3}, "width": 32, "epochs": 1},
        out=tmp_path / "run",
    )
    ended = result.summary.trials
    assert 6 <= ended.total < 60
    assert result.summary.message.startswith("patience: none of the last ")
    assert "the noise of the validation part" in result.summary.message
    assert result.summary.state == "complete"
