"""Runs on data without a test set: a final model, and no test score that anybody could believe."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from sklearn.datasets import load_iris

import cotune
from cotune.cli.main import cotune as command
from cotune.data import from_arrays
from cotune.exceptions import DataError, UsageError
from cotune.records import EpochReport, TrialResult, TrialSpec
from cotune.tuning.observer import Observer
from cotune.tuning.retest import retest
from tests.support.report_runs import text_of

X, Y = load_iris(return_X_y=True)


class Finals(Observer):
    """The specs of what was trained for good."""

    def __init__(self) -> None:
        self.reported: set[int] = set()

    def final_started(self, trial: TrialResult, spec: TrialSpec) -> None:
        self.reported.add(spec.number)

    def final_reported(self, report: EpochReport) -> None:
        self.reported.add(report.number)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[cotune.RunResult, Finals]:
    observer = Finals()
    result = cotune.run(
        from_arrays(X, Y, test=False, name="iris"),
        n_trials=4,
        fixed={"epochs": 10},
        workers="in-process",
        ensemble=2,
        out=tmp_path_factory.mktemp("runs") / "run",
        observer=observer,
    )
    return result, observer


def test_all_rows_are_for_training_and_validation(finished):
    data = from_arrays(X, Y, test=False)
    assert (len(data), data.n_test, data.open_test) == (150, 0, None)
    with pytest.raises(DataError, match="has no test set"):
        data.read_test()
    rows = yaml.safe_load((finished[0].path / "config.yaml").read_text())["dataset"]["rows"]
    assert rows == {"train": 120, "validation": 30, "test": 0}


def test_a_final_model_and_no_score(finished):
    result, observer = finished
    assert result.summary.state == "complete"
    assert result.test_accuracy is None
    assert result.final.test_accuracy is None
    assert result.final.test_ci95 is None
    assert result.final.confusion == []
    assert result.final.default_test_accuracy is None
    assert result.final.ensemble.test_accuracy is None
    assert result.final.finalists
    assert not (result.path / "readings.jsonl").exists()
    assert observer.reported == {-1}  # the default is trained for the comparison on a test set
    assert len(result.model.classes) == 3


def test_what_people_see_says_so(finished):
    path = finished[0].path
    shown = CliRunner().invoke(command, ["show", str(path)])
    assert "no test set" in shown.output
    assert re.search("test accuracy +none: the data has no test set", shown.output)
    page = text_of((path / "report.html").read_text())
    assert "no test set: no test score" in page
    assert "What comes nearest to it is the finalists’ mean" in page
    assert "every test row right" not in page


def test_nothing_to_test_again(finished):
    with pytest.raises(UsageError, match="was given no test set"):
        retest(finished[0].path, again=True)


def test_it_is_resumed(finished, tmp_path: Path):
    shutil.copytree(finished[0].path, tmp_path / "run")
    data = from_arrays(X, Y, test=False, name="iris")
    longer = cotune.resume(tmp_path / "run", more=1, data=data)
    assert longer.summary.state == "complete"
    assert longer.summary.trials.total == 5
