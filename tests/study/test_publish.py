"""A study copied into a real database while it grows."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import optuna
import pytest

import cotune
from cotune.exceptions import UsageError
from cotune.runs.provenance import command_line
from cotune.space.presets import load_space
from cotune.study.publish import Publisher, check_database
from cotune.study.study import Study
from cotune.text import without_password
from tests.study.test_study import ended


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'team.db'}"


def published(url: str, name: str = "run") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=url)


def numbers(study: optuna.Study) -> list[int]:
    return sorted(trial.user_attrs["trial"] for trial in study.trials)


def test_a_run_and_its_resumption_are_in_the_database(tmp_path, url):
    options = {"model": "mlp", "workers": "in-process", "publish": url, "device": "cpu"}
    result = cotune.run("digits", n_trials=4, out=tmp_path / "run", **options)
    cotune.resume(result.path, n_trials=6, publish=url)
    study = published(url)
    assert numbers(study) == [0, 1, 2, 3, 4, 5]
    ours = {trial.number: trial for trial in result.study.trials}
    for trial in study.trials:
        own = ours[trial.user_attrs["trial"]]
        assert (trial.state, trial.params, trial.value) == (own.state, own.params, own.value)
        assert trial.intermediate_values == own.intermediate_values
    assert study.metric_names == ["accuracy"]


def make_journal(folder: Path, trials: int) -> Path:
    study = Study(folder / "study.journal", load_space("mlp"), "random")
    for _ in range(trials):
        (spec,) = study.ask()
        study.report({spec.number: (1, 0.5)})
        study.tell(ended(spec.number, "complete", 0.5))
    return folder / "study.journal"


def close(publisher: Publisher) -> list[str]:
    publisher.start()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        publisher.close()
    return [str(one.message) for one in caught if "publish" in str(one.message)]


def test_what_was_missed_is_caught_up_with(tmp_path, url, monkeypatch):
    monkeypatch.setattr("cotune.study.publish._LAST_SECONDS", 2.0)
    journal = make_journal(tmp_path, 3)
    (tmp_path / "file").write_text("no folder")
    away = Publisher(journal, f"sqlite:///{tmp_path / 'file' / 'team.db'}", "run")
    (told,) = close(away)
    assert "does not have all trials: OperationalError" in told
    assert close(Publisher(journal, url, "run")) == []
    assert close(Publisher(journal, url, "run")) == []
    assert numbers(published(url)) == [0, 1, 2]


def test_a_study_of_another_run_is_left_alone(tmp_path, url, monkeypatch):
    monkeypatch.setattr("cotune.study.publish._LAST_SECONDS", 2.0)
    (tmp_path / "other").mkdir()
    assert close(Publisher(make_journal(tmp_path, 2), url, "run")) == []
    (told,) = close(Publisher(make_journal(tmp_path / "other", 3), url, "run"))
    assert "that is not of this run" in told
    assert numbers(published(url)) == [0, 1]


@pytest.mark.parametrize("url", ["nonsense", "sqlite", "nothing://host/name", "postgres://u@h/n"])
def test_what_is_no_database(url):
    with pytest.raises(UsageError, match="publish: "):
        check_database(url)


def test_a_password_is_shown_and_recorded_nowhere(monkeypatch):
    url = "postgresql://user:secret@host/name"
    assert "secret" not in without_password(url)
    monkeypatch.setattr(sys, "argv", ["cotune", "run", "digits", "--publish", url])
    command = command_line()
    assert command is not None
    assert "secret" not in command
    assert "user" in command
    with pytest.raises(UsageError, match="psycopg") as caught:
        check_database(url)
    assert "secret" not in str(caught.value)
