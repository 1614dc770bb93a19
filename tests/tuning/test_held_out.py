"""The temperature of a run: what it is fitted on, where it goes, and what stays as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.datasets import make_classification

import cotune
from cotune.cli.main import cotune as command
from cotune.data import from_arrays
from cotune.inference.scores import compute_logits
from cotune.tuning.held_out import is_alike

# Wide, long and without regularization: it gets surer of rows than it is right.
SPACE = {
    "width": {"type": "int", "low": 48, "high": 64},
    "n_layers": 2,
    "epochs": 25,
    "dropout": 0.0,
    "batch_size": 64,
    "lr": 0.01,
}
OPTIONS: dict[str, Any] = {"space": SPACE, "pruner": "none", "workers": "in-process"}


def calibration_of(result: cotune.RunResult) -> Any:
    """Of a run that has one."""
    assert result.calibration is not None
    return result.calibration


def ensemble_result(result: cotune.RunResult) -> Any:
    assert result.final is not None
    return result.final.ensemble


def noisy(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A table of which a fifth of the labels is drawn by lot."""
    X, y = make_classification(rows, 12, n_informative=6, flip_y=0.2, random_state=seed)
    return X, y


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> cotune.RunResult:
    out = tmp_path_factory.mktemp("runs") / "noisy"
    return cotune.run(noisy(1_500), n_trials=4, ensemble=2, out=out, **OPTIONS)


def test_what_it_was_fitted_on(result):
    """Rows of the folds of the chosen finalist, and none of the validation part or the test."""
    found, rows = result.calibration, result._run.data_config().dataset.rows
    assert 0 < found.rows <= rows.train
    (chosen,) = [one for one in result.final.finalists if one.number == result.summary.best.number]
    assert found.trainings <= chosen.trainings
    assert found.rows == pytest.approx(rows.train / 4 * found.trainings, abs=5)
    assert found.held_out[0].rows == found.held_out[1].rows == found.rows


def test_a_network_that_is_too_sure_is_scaled(result):
    found = calibration_of(result)
    assert found.temperature > 1.3
    assert found.gain > 1.96 * found.gain_error > 0
    for before, after in (found.held_out, found.test):
        assert after.loss < before.loss


def test_the_test_scores_are_those_of_the_scaled_model(result):
    """From one reading of the test set."""
    _, after = calibration_of(result).test
    assert after.loss == pytest.approx(result.final.test_scores["loss"])
    assert after.rows == result._run.data_config().dataset.rows.test
    assert len(result._run.readings()) == 1


def test_classes_stay_and_probabilities_change(result):
    X, _ = noisy(300, seed=1)
    model = cotune.load(result.path)
    assert model.temperature == calibration_of(result).temperature
    scaled = compute_logits(model, X)
    model.temperature = 1.0
    plain = compute_logits(model, X)
    assert torch.equal(scaled.argmax(1), plain.argmax(1))
    torch.testing.assert_close(
        scaled, plain / calibration_of(result).temperature, rtol=1e-5, atol=1e-6
    )
    shares = cotune.predict(result.path, X, proba=True)
    np.testing.assert_allclose(shares, scaled.softmax(-1).numpy())
    assert np.array_equal(shares.argmax(1), plain.argmax(1).numpy())


def test_evaluate_says_so(result):
    found = result.evaluate(noisy(1_500))
    assert found.temperature == calibration_of(result).temperature
    assert found.reliability.loss == pytest.approx(found.log_loss)
    assert found.reliability.rows == 1_500


def test_an_ensemble_has_its_own(result):
    ensemble = cotune.load_ensemble(result.path)
    found = ensemble_result(result).calibration
    assert ensemble.temperature == found.temperature
    assert all(member.temperature == 1.0 for member in ensemble.members)
    assert found.rows == result._run.data_config().dataset.rows.validation
    assert found.test[1].rows == found.test[0].rows


def test_an_ensemble_of_finalists(tmp_path: Path):
    result = cotune.run(
        noisy(1_000),
        n_trials=6,
        ensemble=3,
        ensemble_of="finalists",
        out=tmp_path / "run",
        **OPTIONS,
    )
    assert len(ensemble_result(result).members) > 1
    found = ensemble_result(result).calibration
    assert found.rows > 0
    assert cotune.load_ensemble(result.path).temperature == found.temperature
    # The average of several is less sure than each of them.
    assert found.held_out[0].loss < calibration_of(result).held_out[0].loss


def test_without_finalists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The validation part stands in, and the run says so."""
    monkeypatch.setattr("cotune.tuning.time_plan._CHOICES", ())
    result = cotune.run(noisy(600), n_trials=2, out=tmp_path / "run", **OPTIONS)
    found = calibration_of(result)
    assert result.final is not None
    assert result.final.finalists == []
    assert found.rows == 96
    assert found.fitted > 1.0
    assert "fitted on 96 validation rows, which chose the trial too" in found.described
    assert result.final.columns is not None
    assert (result.final.columns.rows, result.final.columns.trainings) == (96, 1)


@pytest.mark.parametrize(("epochs", "wanted", "alike"), [(4, 15, False), (10, 15, True)])
def test_a_short_trial_is_not_alike(epochs, wanted, alike):
    assert is_alike(epochs, wanted) == alike


def test_without_a_test_set(tmp_path: Path):
    data = from_arrays(*noisy(600), test=False)
    result = cotune.run(data, n_trials=2, out=tmp_path / "run", **OPTIONS)
    assert calibration_of(result).test is None
    assert calibration_of(result).rows > 0
    assert "held-out log loss" in CliRunner().invoke(command, ["show", str(result.path)]).output
    assert "Held-out rows" in (result.path / "report.html").read_text()


def test_show_report_and_notebook(result):
    shown = CliRunner().invoke(command, ["show", str(result.path)]).output
    found = calibration_of(result)
    line = f"temperature {found.temperature:.3f}, fitted on {found.rows:,} held-out rows"
    assert line in shown
    assert f"log loss {found.test[0].loss:.4f} to {found.test[1].loss:.4f}" in shown
    assert "fall of accuracy when shuffled" in shown
    page = (result.path / "report.html").read_text()
    assert 'id="chart-reliability"' in page
    assert 'id="chart-columns"' in page
    assert line in page
    assert "Calibration error" in result._repr_html_()
    traces = result.plot_calibration().data
    assert [trace.name for trace in traces] == ["right as often as sure", "unscaled", "scaled"]
    assert list(traces[1].customdata) == [rows for _, _, rows in found.test[0].bins]


def test_an_older_run_has_none(result, tmp_path: Path):
    """It is shown, reported and predicted with as before."""
    old = Path(shutil.copytree(result.path, tmp_path / "old"))
    final = json.loads((old / "final.json").read_text())
    del final["calibration"], final["columns"], final["ensemble"]["calibration"]
    (old / "final.json").write_text(json.dumps(final))
    run = cotune.open_run(old)
    assert run.calibration is None
    assert run.columns.empty
    assert list(run.columns.columns) == ["mean", "sd"]
    assert CliRunner().invoke(command, ["show", str(old)]).exit_code == 0
    assert CliRunner().invoke(command, ["report", str(old)]).exit_code == 0
    page = (old / "report.html").read_text()
    assert 'id="chart-reliability"' not in page
    assert 'id="chart-columns"' not in page
    assert "Calibration error" not in run._repr_html_()
