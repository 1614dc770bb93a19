"""The baseline: always the most frequent class; and what is said of a model that is no better."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn import metrics as sk

import cotune
from cotune.baseline import baseline_scores, baseline_warning
from cotune.cli import cotune as command
from cotune.metrics import scores_of
from cotune.preference import Measured, learned_first

FEW = {"epochs": 3, "width": 8, "n_layers": 1}


@pytest.mark.parametrize("n_classes", [2, 3, 6])
@pytest.mark.parametrize("seed", range(4))
def test_scores_are_scikit_learns(seed: int, n_classes: int):
    """Also where a class does not occur, or is never predicted."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, max(2, n_classes - seed % 2), 40)
    logits = rng.normal(size=(40, n_classes))
    logits[:, -1] -= 9 * (seed > 1)
    found = scores_of(torch.from_numpy(logits), torch.from_numpy(labels))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    predicted = logits.argmax(1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    recall = sk.recall_score(labels, predicted, average="macro", labels=np.unique(labels))
    assert found["balanced-accuracy"] == pytest.approx(recall)
    assert found["loss"] == pytest.approx(sk.log_loss(labels, shares, labels=range(n_classes)))
    classes = [1] if n_classes == 2 else np.unique(labels)
    areas = [sk.roc_auc_score(labels == one, shares[:, one]) for one in classes]
    assert found["auc"] == pytest.approx(np.mean(areas))


def test_the_baseline():
    labels = torch.tensor([0] * 6 + [1] * 4)
    found = baseline_scores([90, 10], labels)
    assert found["accuracy"] == pytest.approx(0.6)
    assert found["balanced-accuracy"] == found["auc"] == 0.5
    assert found["loss"] == pytest.approx(-(0.6 * np.log(0.9) + 0.4 * np.log(0.1)))


def test_a_model_that_learned_nothing_is_told():
    labels = torch.tensor(([0] * 9 + [1]) * 30)
    constant = torch.tensor([[2.0, 0.0]]).expand(300, 2)
    said = baseline_warning("accuracy", constant, labels, [900, 100], ["no", "yes"])
    assert "not better than the baseline" in said
    assert "it predicts 'no' for every row" in said
    assert "nor does it rank" in said
    assert "balanced-accuracy, f1 or auc" in said
    good = torch.stack([-labels * 5.0, labels * 5.0 - 2.0], 1)
    assert baseline_warning("accuracy", good, labels, [900, 100], ["no", "yes"]) == ""


def test_what_ranks_comes_before_what_is_constant():
    trials = {
        "constant": Measured(0.90, 0.50, 0.33),
        "ranks": Measured(0.89, 0.70, 0.35),
        "ranks better": Measured(0.89, 0.68, 0.30),
        "far": Measured(0.70, 0.90, 0.20),
    }
    order = learned_first(list(trials), lambda name: trials[name], margin=0.02, chance=0.55)
    assert order == ["ranks better", "ranks", "constant", "far"]


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A run on noise with classes of 90 and 10 %: its file and its result."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    rows = [
        ",".join([*map(str, rng.normal(size=3).round(3)), "yes" if i % 10 == 0 else "no"])
        for i in range(400)
    ]
    path = folder / "noise.csv"
    path.write_text("\n".join(["a,b,c,label", *rows]))
    result = cotune.run(str(path), n_trials=2, workers=1, fixed=FEW, out=folder / "run")
    return path, result


def test_the_result_says_so(noise):
    _, result = noise
    assert result.baseline_accuracy == pytest.approx(0.9)
    assert result.baseline_scores["auc"] == 0.5
    assert result.test_accuracy <= 0.925
    assert "not better than the baseline" in result.warning


def test_terminal_json_and_report_say_so(noise):
    _, result = noise
    shown = CliRunner().invoke(command, ["show", str(result.path)]).output
    assert "always predicting 'no', the most frequent class" in " ".join(shown.split())
    assert "not better than the baseline" in " ".join(shown.split())
    printed = CliRunner().invoke(command, ["show", str(result.path), "--json"]).output
    final = json.loads(printed)["final"]
    assert final["baseline_test_scores"]["accuracy"] == pytest.approx(0.9)
    assert "not better than the baseline" in final["warning"]
    page = Path(result.path, "report.html").read_text()
    assert "Baseline’s test accuracy" in page
    assert "not better than the baseline" in page


def test_evaluate_says_so(noise):
    path, result = noise
    printed = CliRunner().invoke(command, ["evaluate", str(result.path), str(path)]).output
    printed = " ".join(printed.split())
    assert "baseline accuracy 90.00%" in printed
    assert "not better than the baseline" in printed


def test_a_run_and_evaluate_agree_on_f1(noise):
    path, result = noise
    found = json.loads(
        CliRunner().invoke(command, ["evaluate", str(result.path), str(path), "--json"]).output
    )
    labels = [row.rpartition(",")[2] for row in path.read_text().splitlines()[1:]]
    predicted = cotune.predict(result.path, str(path))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))


def test_what_is_proposed_where_classes_are_uneven(noise):
    path, _ = noise
    said = CliRunner().invoke(command, ["run", str(path), "--dry-run", "--n-trials", "1"]).output
    said = " ".join(said.split())
    assert "90.0% of the rows are 'no', 10.0% 'yes'" in said
    assert "consider --metric balanced-accuracy, f1 or auc" in said
    assert "class weights are searched" in said


def test_the_estimator_says_so():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 3)), np.arange(300) % 10 == 0
    classifier = cotune.CotuneClassifier(
        timeout=None,
        n_trials=2,
        ensemble=1,
        random_state=0,
        space={"epochs": 3, "width": 8, "n_layers": {"type": "int", "low": 1, "high": 2}},
    )
    with pytest.warns(UserWarning, match="not better than the baseline"):
        classifier.fit(x, y)
    assert classifier.baseline_score_ == pytest.approx(0.9, abs=0.02)
