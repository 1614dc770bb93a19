"""Importances of columns, beside scikit-learn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance

import cotune
from cotune.data.tables.tables import read_cells
from cotune.inference.column_importances import Judged, column_importances
from cotune.inference.scores import compute_logits


def table(rows: int = 400) -> pd.DataFrame:
    """The colour decides, the size a little, and noise not at all."""
    rng = np.random.default_rng(0)
    colour = rng.choice(["red", "green", "blue"], rows)
    size, noise = rng.normal(size=(2, rows))
    score = 2.0 * (colour == "red") - 1.0 * (colour == "blue") + 0.5 * size
    likes = rng.random(rows) < 1 / (1 + np.exp(-2 * score))
    columns = {"noise": noise, "size": size, "colour": colour, "likes": likes}
    return pd.DataFrame(columns).replace({"likes": {True: "yes", False: "no"}})


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> cotune.RunResult:
    out = tmp_path_factory.mktemp("runs") / "table"
    return cotune.run(
        table(), target="likes", model="mlp", n_trials=3, workers="in-process", out=out
    )


@pytest.fixture(scope="module")
def judged(result) -> Judged:
    fresh = table(1_000)[400:]
    inputs = read_cells(fresh, result.model.preprocessing.columns)[0]
    labels = (fresh["likes"] == "yes").to_numpy().astype(np.int64)
    return Judged(result.model, inputs, labels)


NAMES = ("noise", "size", "colour")


def test_a_run_measures_them(result):
    frame = result.columns
    assert list(frame.index) == ["colour", "size", "noise"]
    assert frame.loc["colour", "mean"] > 0.05
    assert abs(frame.loc["noise", "mean"]) < 0.03
    assert (frame["sd"] > 0).all()
    found = result.final.columns
    assert found.metric == "accuracy"
    assert found.repeats == 5
    assert found.rows == found.all_rows <= 0.8 * len(table())
    assert "colour" in result.plot_columns().data[0].customdata[0][0]


class Wrapped:
    """A model as scikit-learn wants it."""

    def __init__(self, model) -> None:
        self.model = model

    def fit(self, X, y):
        return self

    def score(self, X, y):
        return (compute_logits(self.model, X).argmax(1).numpy() == y).mean()


def test_as_scikit_learn_measures_them(judged):
    found = column_importances([judged], NAMES, "accuracy", 0, 60.0)
    theirs = permutation_importance(
        Wrapped(judged.model), judged.inputs, judged.labels, n_repeats=20, random_state=0
    )
    by_name = {one.name: one.mean for one in found.columns}
    ours = [by_name[name] for name in NAMES]
    assert ours == pytest.approx(list(theirs.importances_mean), abs=0.02)


@pytest.mark.parametrize("metric", ["accuracy", "balanced-accuracy", "f1", "auc", "loss"])
def test_worse_is_above_zero(judged, metric):
    found = column_importances([judged], NAMES, metric, 0, 60.0)
    assert found.columns[0].name == "colour"
    assert found.columns[0].mean > 0.02
    assert found.described == ("rise of loss" if metric == "loss" else f"fall of {metric}")


def test_the_same_seed_gives_the_same(judged):
    both = [column_importances([judged], NAMES, "loss", seed, 60.0) for seed in (1, 1, 2)]
    assert both[0] == both[1] != both[2]


def test_many_rows_are_sampled(judged, monkeypatch):
    weights = sum(weight.numel() for weight in judged.model.parameters()) + 3
    module = "cotune.inference.column_importances"
    monkeypatch.setattr(f"{module}._MOST_WORK", 3 * weights * 1_050)
    found = column_importances([judged], NAMES, "accuracy", 0, 60.0)
    assert (found.rows, found.all_rows, found.repeats) == (500, 600, 2)
    monkeypatch.setattr(f"{module}._MOST_WORK", 3 * weights * 450)
    found = column_importances([judged], NAMES, "accuracy", 0, 60.0)
    assert found.columns == []
    assert found.reason == "shuffling 3 columns takes too long"


def test_time_is_bounded(judged):
    found = column_importances([judged], NAMES, "accuracy", 0, 0.0)
    assert found.columns == []


def test_rows_of_one_class_have_no_auc(judged):
    one = Judged(judged.model, judged.inputs[:40], np.zeros(40, np.int64))
    both = column_importances([judged, one], NAMES, "auc", 0, 60.0)
    assert both.trainings == 1
    assert column_importances([one], NAMES, "auc", 0, 60.0).columns == []


def test_columns_of_arrays_have_their_places_for_names(tmp_path: Path):
    data = table()
    X = data[["noise", "size"]].to_numpy()
    result = cotune.run(
        (X, data["likes"].to_numpy()), n_trials=2, workers="in-process", out=tmp_path / "run"
    )
    assert sorted(result.columns.index) == ["column 0", "column 1"]
