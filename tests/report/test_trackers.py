"""Runs in TensorBoard and MLflow, read by their own readers."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import cotune
from cotune.report.trackers import with_trackers
from cotune.tuning.observer import Observer, Observers

# MLflow has SQLAlchemy do what that is to drop one day.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, store: str) -> cotune.RunResult:
    folder = tmp_path_factory.mktemp("run")
    log = ("tensorboard", "csv", f"mlflow={store}")
    with contextlib.chdir(folder):  # where MLflow keeps artifacts, unless the store says another
        result = cotune.run(
            "digits",
            model="mlp",
            n_trials=4,
            pruner="none",
            workers="in-process",
            device="cpu",
            log=log,
            out=folder / "tracked",
        )
        return cotune.resume(result.path, n_trials=5, log=[f"mlflow={store}"])


def test_tensorboard_reads_curves_and_final_figures(result):
    folder = result.path / "tensorboard"
    # The fifth came when only MLflow was told.
    assert len(list(folder.glob("trial-*"))) == 4
    for number in range(4):
        events = EventAccumulator(str(folder / f"trial-{number:05}"))
        events.Reload()
        curve = result._run.tables.curves()[number]
        read = [(one.step, one.value) for one in events.Scalars("epoch/accuracy")]
        assert [step for step, _ in read] == [report.epoch for report in curve]
        expected = [report.scores["accuracy"] for report in curve]
        assert [value for _, value in read] == pytest.approx(expected, abs=1e-6)
        assert "epoch/train_loss" in events.Tags()["scalars"]
    events = EventAccumulator(str(folder))
    events.Reload()
    assert "run/test_accuracy" in events.Tags()["scalars"]


def test_mlflow_has_a_parent_and_a_child_a_trial(result, store):
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("cotune")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    (parent,) = parents  # resumed, not begun anew
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["test_accuracy"] == pytest.approx(result.test_accuracy)
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["report.html"]
    children = {int(run.data.tags["trial"]): run for run in runs if run not in parents}
    assert sorted(children) == [0, 1, 2, 3, 4]
    for trial in result.study.trials:
        child = children[trial.number]
        assert child.data.params == {name: str(value) for name, value in trial.params.items()}
        assert child.data.metrics["value"] == pytest.approx(trial.value)
        history = client.get_metric_history(child.info.run_id, "accuracy")
        assert len(history) == len(result._run.tables.curves()[trial.number])


def test_a_tracker_that_fails_is_told_and_the_run_goes_on(tmp_path):
    with pytest.warns(UserWarning, match="log: mlflow does not have all"):
        result = cotune.run(
            "digits",
            model="mlp",
            n_trials=1,
            workers="in-process",
            device="cpu",
            log="mlflow=nowhere://at/all",
            out=tmp_path / "run",
            report=False,
        )
    assert result.test_accuracy is not None


def test_names():
    quiet = Observer()
    assert with_trackers(quiet, ()) is quiet
    assert with_trackers(quiet, "csv") is quiet
    with pytest.raises(cotune.UsageError, match="choose one of tensorboard, mlflow, csv"):
        with_trackers(quiet, "wandb")


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_what_is_not_installed(name, monkeypatch):
    module = "torch.utils.tensorboard" if name == "tensorboard" else "mlflow"
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(cotune.UsageError, match=rf"pip install 'cotune\[{name}\]'"):
        with_trackers(Observer(), name)


def test_all_observers_are_told_everything():
    told: list[str] = []

    class Toy(Observer):
        def tick(self) -> None:
            told.append("tick")

        def trial_ended(self, trial: object, best: object) -> None:
            told.append(f"{trial} {best}")

    both = Observers([Toy(), Toy()])
    both.tick()
    both.trial_ended(1, 2)  # type: ignore[arg-type]
    assert told == ["tick", "tick", "1 2", "1 2"]
    hooks = {name for name in vars(Observer) if not name.startswith("_")}
    assert hooks <= vars(Observers).keys()
    assert Path(Observers.tick.__code__.co_filename).name == "observer.py"
