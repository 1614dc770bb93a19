"""The baseline, always the most frequent class, beside scores; models that are no better."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from sklearn.dummy import DummyClassifier
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)

import cotune
from cotune.cli.main import cotune as command
from cotune.inference.baseline import baseline_scores, baseline_warning, mean_warning
from cotune.inference.model_file import signed

SMALL = {"lr": {"type": "float", "low": 1e-3, "high": 1e-2}, "width": 16, "epochs": 3}


def noise(rows: int = 400, share: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Features that say nothing of the labels, of which few are ``yes``."""
    rng = np.random.default_rng(1)
    labels = np.where(rng.random(rows) < share, "yes", "no")
    return rng.normal(size=(rows, 4)), labels


def write(path: Path, inputs: np.ndarray, labels: np.ndarray) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"x{i}" for i in range(inputs.shape[1])), "label"])
        writer.writerows([*row, label] for row, label in zip(inputs, labels, strict=True))
    return path


def told(*arguments: object) -> str:
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def scores_of_dummy(trained: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """What scikit-learn's baseline scores."""
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((len(trained), 1)), trained)
    shares = dummy.predict_proba(np.zeros((len(truth), 1)))
    guess = dummy.predict(np.zeros((len(truth), 1)))
    return {
        "accuracy": accuracy_score(truth, guess),
        "balanced-accuracy": balanced_accuracy_score(truth, guess),
        "f1": f1_score(truth, guess, average="macro"),
        "auc": roc_auc_score(truth, shares[:, 1]),
        "loss": log_loss(truth, shares, labels=dummy.classes_),
    }


def test_the_scores_are_those_of_scikit_learns_dummy():
    rng = np.random.default_rng(0)
    trained, truth = (rng.choice(2, 200, p=[0.8, 0.2]) for _ in range(2))
    ours = baseline_scores(np.bincount(trained).tolist(), torch.from_numpy(truth))
    assert ours == pytest.approx(scores_of_dummy(trained, truth))
    assert ours["auc"] == 0.5


class TestWarning:
    @staticmethod
    def of(metric: str, skill: float, rows: int = 600, share: float = 0.1) -> str:
        """Of a model whose logits know the labels as well as ``skill`` says."""
        rng = np.random.default_rng(2)
        labels = (rng.random(rows) < share).astype(int)
        signal = rng.normal(size=rows) + skill * labels + np.log(share)
        logits = torch.from_numpy(np.stack([np.zeros(rows), signal], 1))
        trained = np.bincount(labels).tolist()
        return baseline_warning(metric, logits, torch.from_numpy(labels), trained, ("no", "yes"))

    @pytest.mark.parametrize("metric", ["accuracy", "balanced-accuracy", "f1", "auc", "loss"])
    def test_only_of_a_model_without_skill(self, metric):
        assert self.of(metric, 6.0) == ""
        line = self.of(metric, 0.0)
        assert line.startswith("the final model is not better than the baseline by more than noise")
        assert f"test {metric} " in line
        assert "always predicting 'no'" in line
        assert "class weights" in line

    def test_one_that_ranks_is_told_apart(self):
        """The logits know something of the labels, but too little to say yes."""
        line = self.of("accuracy", 1.0)
        assert "but it does rank the rows (AUC 0.7" in line
        assert "another metric (balanced-accuracy, f1 or auc)" in line
        assert "nor does it rank the rows (AUC 0.5" in self.of("accuracy", 0.0)

    def test_a_single_class(self):
        labels, logits = torch.tensor([0, 0, 0, 1] * 20), torch.tensor([[1.0, 0.0]]).expand(80, -1)
        line = baseline_warning("accuracy", logits, labels, (75, 25), ("no", "yes"))
        assert "it predicts 'no' for every row; nor does it rank the rows (AUC 0.5000)" in line

    def test_even_classes_get_other_advice(self):
        assert "metric" not in self.of("accuracy", 0.0, share=0.5)

    def test_rows_of_one_class_say_nothing(self):
        labels, logits = torch.zeros(5, dtype=torch.int64), torch.rand(5, 2)
        assert baseline_warning("accuracy", logits, labels, (75, 25), ("no", "yes")) == ""

    def test_of_a_mean(self):
        baseline = {"accuracy": 0.9, "auc": 0.5, "loss": 0.33}
        given = (baseline, [90, 10], [900, 100], ("no", "yes"))
        assert mean_warning("accuracy", 0.99, *given) == ""
        assert mean_warning("loss", 0.2, *given) == ""
        assert "validation loss 0.3400, always predicting 'no' 0.3300" in mean_warning(
            "loss", 0.34, *given
        )
        assert "validation accuracy 91.00%" in mean_warning("accuracy", 0.91, *given)
        assert "nor does it rank the rows (AUC 0.5100)" in mean_warning(
            "accuracy", 0.91, *given, auc=0.51
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on rows without a signal, which can only predict the most frequent class."""
    folder = tmp_path_factory.mktemp("baseline")
    table = write(folder / "noise.csv", *noise())
    cotune.run(table, space=SMALL, n_trials=2, workers="in-process", out=folder / "run")
    return folder / "run"


class TestARun:
    def test_its_baseline_is_of_the_test_rows(self, run):
        result = cotune.open_run(run)
        with open(run / "splits.csv", newline="") as file:
            parts = list(csv.DictReader(file))
        labels = (noise()[1] == "yes").astype(int)
        part = np.array([row["part"] for row in sorted(parts, key=lambda row: int(row["row"]))])
        expected = scores_of_dummy(labels[part != "test"], labels[part == "test"])
        assert result.baseline_scores == pytest.approx(expected)
        assert result.baseline_accuracy == pytest.approx(expected["accuracy"])
        shown = json.loads(CliRunner().invoke(command, ["show", str(run), "--json"]).output)
        assert shown["final"]["baseline_test_scores"] == pytest.approx(expected)
        expected = scores_of_dummy(labels[part == "train"], labels[part == "validation"])
        assert shown["best"]["baseline"] == pytest.approx(expected)

    def test_what_has_learned_nothing_is_said_in_words(self, run):
        result = cotune.open_run(run)
        assert "is not better than the baseline by more than noise: test accuracy" in result.warning
        shown = told("show", run)
        assert f"warning {result.warning}" in shown
        assert "(always predicting 'no', the most frequent class)" in shown
        page = (run / "report.html").read_text()
        assert "The final model is not better than the baseline by more than noise" in page
        assert "Baseline’s test accuracy" in page
        assert json.loads((run / "summary.json").read_text())["final"]["warning"] == result.warning

    def test_a_further_reading_and_an_evaluation(self, run):
        again = told("test", run, "--again")
        result = cotune.open_run(run)
        assert f"baseline: accuracy {result.baseline_accuracy:.2%}" in again
        assert f"warning: {result.warning}" in again
        evaluated = told("evaluate", run, run.parent / "noise.csv")
        assert "warning the final model is not better than the baseline" in evaluated
        truth = (noise()[1] == "yes").astype(int)
        found = cotune.evaluate(run, run.parent / "noise.csv")
        assert found.baseline["accuracy"] == pytest.approx((truth == 0).mean())
        assert f"baseline accuracy {found.baseline['accuracy']:.2%}" in evaluated

    def test_one_of_an_older_cotune(self, run, tmp_path):
        """Without the baseline, and a model that does not say what it was trained on."""
        path = tmp_path / "run"
        shutil.copytree(run, path)
        config = yaml.safe_load((path / "config.yaml").read_text())
        del config["dataset"]["baseline"], config["dataset"]["baseline_class"], config["notes"]
        (path / "config.yaml").write_text(yaml.safe_dump(config))
        summary = json.loads((path / "summary.json").read_text())
        del summary["best"]["baseline"]
        del summary["final"]["baseline_test_scores"], summary["final"]["warning"]
        (path / "summary.json").write_text(json.dumps(summary))
        final = json.loads((path / "final.json").read_text())
        del final["baseline_test_scores"], final["warning"]
        (path / "final.json").write_text(json.dumps(final))
        card = json.loads((path / "best" / "model.json").read_text())
        del card["class_counts"], card["sha256"]
        (path / "best" / "model.json").write_bytes(signed(card))
        result = cotune.open_run(path)
        assert (result.baseline_accuracy, result.baseline_scores, result.warning) == (None, {}, "")
        assert "baseline" not in told("show", path)
        told("report", path)
        assert "Baseline’s" not in (path / "report.html").read_text()
        assert "baseline" not in told("evaluate", path, run.parent / "noise.csv")


def test_a_model_that_has_learned_is_not_warned_of(tmp_path):
    inputs, _ = noise()
    labels = np.where(inputs[:, 0] > 0.7, "yes", "no")
    space = {**SMALL, "epochs": 20, "batch_size": 16}
    result = cotune.run(
        (inputs, labels), space=space, n_trials=1, workers="in-process", out=tmp_path / "run"
    )
    assert result.warning == ""
    assert (result.test_accuracy or 0) > (result.baseline_accuracy or 1)
    assert "warning" not in told("show", tmp_path / "run")


def test_an_evaluation_scores_as_the_run_did(tmp_path):
    """Also where classes do not occur, which is where two definitions of F1 would differ."""
    rng = np.random.default_rng(3)
    labels = rng.choice(list("abcd"), 400)
    inputs = 3 * np.eye(4)[[ord(label) - ord("a") for label in labels]]
    inputs += rng.normal(size=inputs.shape)
    some = np.isin(labels[300:], ["a", "b"])
    table = write(tmp_path / "all.csv", inputs[:300], labels[:300])
    test = write(tmp_path / "some.csv", inputs[300:][some], labels[300:][some])
    space = {**SMALL, "batch_size": 16}
    result = cotune.run(
        table, test=test, space=space, n_trials=1, workers="in-process", out=tmp_path / "run"
    )
    found = cotune.evaluate(result.path, test)
    assert result.final is not None
    assert result.final.test_scores == {
        "accuracy": found.accuracy,
        "balanced-accuracy": found.balanced_accuracy,
        "f1": found.f1,
        "auc": found.auc,
        "loss": found.log_loss,
    }
    assert result.final.baseline_test_scores == found.baseline
    predicted = cotune.predict(result.path, inputs[300:][some])
    assert found.f1 == pytest.approx(f1_score(labels[300:][some], predicted, average="macro"))
    assert found.f1 < 1.0


def test_a_test_set_of_one_class_has_no_auc(tmp_path):
    inputs, labels = noise()
    table = write(tmp_path / "all.csv", inputs, labels)
    ones = labels == "no"
    test = write(tmp_path / "ones.csv", inputs[ones][:30] + 0.5, labels[ones][:30])
    cotune.run(
        table,
        test=test,
        metric="auc",
        space=SMALL,
        n_trials=1,
        workers="in-process",
        out=tmp_path / "run",
    )
    assert "test auc none: all rows are of one class" in told("show", tmp_path / "run")
    assert "AUC none: all rows are of one class" in told("evaluate", tmp_path / "run", test)


class TestNoTestSet:
    def test_the_estimator_warns(self):
        inputs, labels = noise()
        model = cotune.CotuneClassifier(
            timeout=None, n_trials=2, space=SMALL, ensemble=1, random_state=0
        )
        with pytest.warns(UserWarning, match="not better than the baseline .* validation accuracy"):
            model.fit(inputs, labels)
        assert model.baseline_score_ == pytest.approx(0.9, abs=0.03)

    def test_or_does_not(self):
        inputs, _ = noise()
        labels = inputs[:, 0] > 0
        model = cotune.CotuneClassifier(
            timeout=None,
            n_trials=1,
            space={**SMALL, "epochs": 20, "batch_size": 16},
            ensemble=1,
            metric="loss",
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(inputs, labels)
        assert model.best_score_ < model.baseline_score_ == pytest.approx(np.log(2), abs=0.01)


class TestUnevenClasses:
    def test_are_told_at_the_start_and_in_a_dry_run(self, tmp_path):
        table = write(tmp_path / "noise.csv", *noise())
        done = CliRunner().invoke(
            command,
            [
                *("run", str(table), "--n-trials", "1", "--workers", "1", "--set", "epochs=1"),
                *("--no-portfolio", "--out", str(tmp_path / "run")),
            ],
        )
        assert done.exit_code == 0, done.output
        dry = told("run", table, "--dry-run")
        for said in (" ".join(done.output.split()), dry):
            assert "the classes are imbalanced: " in said
            assert "of the rows are 'no', " in said
            assert "--metric balanced-accuracy, f1 or auc" in said
            assert "class weights are searched, --set class_weight=1" in said
        assert "baseline: accuracy " in done.output
        assert "imbalanced" not in told("run", table, "--dry-run", "--metric", "f1")

    def test_weights_can_be_set_in_any_space(self, tmp_path):
        table = write(tmp_path / "noise.csv", *noise())
        (tmp_path / "space.yaml").write_text("lr: {type: float, low: 0.001, high: 0.01}\nepochs: 1")
        dry = told("run", table, "--dry-run", "--space", tmp_path / "space.yaml")
        assert "or class weights: --set class_weight=1" in dry
        result = cotune.run(
            table,
            space=tmp_path / "space.yaml",
            fixed={"class_weight": 1},
            n_trials=1,
            workers="in-process",
            out=tmp_path / "run",
        )
        assert result.study.trials[0].params.keys() == {"lr"}
        card = json.loads((tmp_path / "run" / "best" / "model.json").read_text())
        assert card["hyperparameters"]["class_weight"] == 1.0
