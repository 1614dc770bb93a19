"""Classes of very different sizes: weights that are searched, and metrics that count them alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)

import cotune
from cotune.data import from_arrays
from cotune.runs.directory import RunDirectory
from cotune.space.portfolio import portfolio
from cotune.tuning.fit_space import fit_space
from cotune.tuning.reproduce import replay


def check_test_scores(result: cotune.RunResult, data: cotune.Dataset) -> None:
    """From one reading, all that scikit-learn says."""
    inputs, truth = data.read_test()
    with torch.no_grad():
        shares = result.model(torch.from_numpy(inputs)).double().softmax(-1).numpy()
    guess = shares.argmax(1)
    binary = shares.shape[1] == 2
    area = roc_auc_score(truth, shares[:, 1] if binary else shares, multi_class="ovr")
    assert result.final is not None
    assert result.final.test_scores == pytest.approx(
        {
            "accuracy": accuracy_score(truth, guess),
            "balanced-accuracy": balanced_accuracy_score(truth, guess),
            "f1": f1_score(truth, guess, average="macro"),
            "auc": area,
            "loss": log_loss(truth, shares),
        }
    )
    assert result.final.test_scores["accuracy"] == pytest.approx(result.test_accuracy)
    assert len(RunDirectory.open(result.path).readings()) == 1


def test_balanced_accuracy(tmp_path, capsys):
    inputs, labels = make_classification(
        1500,
        12,
        n_informative=6,
        n_classes=3,
        weights=[0.85, 0.1, 0.05],
        class_sep=1.2,
        random_state=1,
    )
    data = from_arrays(inputs, labels)
    result = cotune.run(
        data, metric="balanced-accuracy", n_trials=2, workers="in-process", out=tmp_path / "run"
    )
    check_test_scores(result, data)
    weights = [trial.params["class_weight"] for trial in result.study.trials]
    assert weights == [0.0, 1.0]
    curves = RunDirectory.open(result.path).tables.curves()
    values = [curves[n][-1].scores["balanced-accuracy"] for n in (0, 1)]
    assert [trial.value for trial in result.study.trials] == values
    assert "auc" not in curves[0][0].scores
    # What the weights are for.
    assert values[1] > values[0]
    assert result.best_params["class_weight"] == 1.0
    assert result.final is not None
    score = f"{result.final.test_scores['balanced-accuracy']:.4f}"
    default = f"{result.final.default_test_scores['balanced-accuracy']:.4f}"
    result.show()
    shown = " ".join(capsys.readouterr().out.split())
    assert f"test balanced-accuracy {score} (the default's: {default})" in shown
    page = (result.path / "report.html").read_text()
    assert "Test balanced accuracy" in page
    assert "Validation balanced accuracy" in page


def test_auc_of_two_classes(tmp_path):
    inputs, labels = make_classification(900, 12, n_informative=6, weights=[0.9], random_state=1)
    data = from_arrays(inputs, labels)
    result = cotune.run(
        data,
        metric="auc",
        space={"lr": {"type": "float", "low": 1e-3, "high": 1e-2}, "width": 16, "epochs": 4},
        n_trials=3,
        workers="in-process",
        out=tmp_path / "run",
    )
    check_test_scores(result, data)
    curves = RunDirectory.open(result.path).tables.curves()
    values = [curves[trial.number][-1].scores["auc"] for trial in result.study.trials]
    assert values == [trial.value or trial.intermediate_values[4] for trial in result.study.trials]
    assert max(values) > 0.7
    assert result.final is not None
    assert all(one.value != one.accuracy for one in result.final.finalists)


def test_an_auc_comes_again(tmp_path):
    space = {"lr": {"type": "float", "low": 1e-3, "high": 1e-2}, "width": 16, "epochs": 2}
    result = cotune.run(
        "digits", metric="auc", space=space, n_trials=1, workers="in-process", out=tmp_path / "run"
    )
    again = replay(result.path, 0)
    again.check()
    assert len(again.replayed) == 2


@pytest.mark.parametrize(
    ("counts", "space", "weighted"),
    [
        ([40, 12], None, True),
        ([40, 12], "mlp-per-layer", True),
        ([33, 12], None, False),
        ([40, 12], {"lr": {"type": "float", "low": 1e-3, "high": 1e-2}}, False),
    ],
)
def test_presets_search_weights_of_classes_of_different_sizes(counts, space, weighted):
    labels = np.repeat(range(len(counts)), counts)
    data = from_arrays(np.random.default_rng(0).normal(size=(len(labels), 3)), labels)
    fitted = fit_space(space, None, data)
    assert ("class_weight" in fitted.searched) == weighted
    balanced = [one.get("class_weight") for one in portfolio(fitted)]
    assert balanced[:2] == ([0.0, 1.0] if weighted else [None] * len(balanced[:2]))
