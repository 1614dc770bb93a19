"""Finalists, and training to the end, with a real engine on the digits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest

from cotune.data import load, prepare
from cotune.executors.in_process import InProcessExecutor
from cotune.finalists import finalist_specs, judge
from cotune.results import Report, TrialResult, Value
from cotune.retrain import Training, retrain
from cotune.space_yaml import space_from_dict

SPACE = space_from_dict({"width": {"type": "int", "low": 8, "high": 64, "step": 8}})


def trial(number: int, epochs: int = 2, **params: Value) -> TrialResult:
    return TrialResult(number, "complete", 0.5, epochs, {"width": 16, **params}, 1.0)


@pytest.fixture(scope="module")
def executor() -> Iterator[InProcessExecutor]:
    training, _ = prepare(load("digits"), seed=0)
    with InProcessExecutor(training, 0, "cpu", 4) as executor:
        yield executor


def specs_of(trials, repeats=2):
    params = [{**SPACE.complete(one.params), **one.params, "epochs": one.epochs} for one in trials]
    return finalist_specs(trials, params, repeats, seed=0)


def run(executor, specs, deadline=None, stopped=lambda: False, reported=lambda report: None):
    return retrain(executor, specs, reported, lambda: None, deadline, stopped)


def test_each_is_trained_on_every_fold_with_a_seed_of_its_own():
    specs = specs_of([trial(4), trial(9, epochs=7)], repeats=3)
    assert [spec.fold for spec in specs] == [1, 2, 3, 1, 2, 3]
    assert [spec.epochs for spec in specs] == [2, 2, 2, 7, 7, 7]
    assert len({spec.seed for spec in specs}) == 6
    assert [spec.number for spec in specs] == [-3, -4, -5, -6, -7, -8]
    assert all(spec.averaged and spec.part == "train" for spec in specs)


def test_a_schedule_of_its_own_is_not_averaged():
    space = space_from_dict(
        {"schedule": "cosine", "width": {"type": "int", "low": 8, "high": 64, "step": 8}}
    )
    one = trial(0)
    (spec,) = finalist_specs([one], [space.complete(one.params)], 1, seed=0)
    assert not spec.averaged


def test_all_are_trained_to_the_end(executor):
    trials = [trial(0), trial(1, width=64), trial(2, epochs=1)]
    reports: list[Report] = []
    trainings = run(executor, specs_of(trials), reported=reports.append)
    assert trainings is not None
    assert [len(training.reports) for training in trainings] == [2, 2, 2, 2, 1, 1]
    assert len(reports) == 10
    assert all(training.weights and training.error is None for training in trainings)
    assert executor.openings() == [4]
    finalists = judge(trials, trainings, "accuracy")
    assert [finalist.number for finalist in finalists] == [0, 1, 2]
    for i, finalist in enumerate(finalists):
        last = [t.reports[-1].scores["accuracy"] for t in trainings[2 * i : 2 * i + 2]]
        assert finalist.accuracy == finalist.value == statistics.fmean(last)
        assert finalist.accuracy_sd == statistics.stdev(last)
        assert finalist.trainings == 2
    assert finalists[1].accuracy > finalists[2].accuracy


def test_one_that_fails_leaves_the_others(executor):
    trials = [trial(0, lr=1e30), trial(1)]
    params = [{**SPACE.complete(t.params), "optimizer": "sgd", "epochs": 2} for t in trials]
    params[0]["lr"] = 1e30
    trainings = run(executor, finalist_specs(trials, params, 1, seed=0))
    assert trainings is not None
    assert trainings[0].error is not None
    assert trainings[0].error.startswith("epoch 1: ")
    assert [finalist.number for finalist in judge(trials, trainings, "loss")] == [1]


def test_the_deadline_cuts_them_short(executor):
    began = time.monotonic()
    trainings = run(executor, specs_of([trial(0, epochs=100_000)], 1), began + 1.0)
    assert time.monotonic() - began < 3.0
    assert trainings is not None
    assert 1 <= len(trainings[0].reports) < 100_000
    assert trainings[0].weights
    assert executor.openings() == [4]


def test_what_was_not_begun_has_no_reports(executor):
    trials = [trial(0), trial(1, batch_size=32)]
    trainings = run(executor, specs_of(trials, 1), time.monotonic() - 1.0)
    assert trainings is not None
    assert [len(training.reports) for training in trainings] == [1, 0]
    assert [finalist.number for finalist in judge(trials, trainings, "accuracy")] == [0]


def test_a_stop(executor):
    assert run(executor, specs_of([trial(0)]), stopped=lambda: True) is None
    assert executor.openings() == [4]


def test_a_single_training_has_no_deviation():
    report = Report(-3, 1, 0.5, 0.5, {"loss": 0.4, "accuracy": 0.9, "f1": 0.8}, 1.0, 5)
    (spec,) = specs_of([trial(0)], 1)
    (finalist,) = judge([trial(0)], [Training(spec, [report])], "f1")
    assert (finalist.value, finalist.accuracy, finalist.accuracy_sd) == (0.8, 0.9, None)
