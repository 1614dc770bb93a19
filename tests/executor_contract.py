"""What every executor has to do. A test module subclasses :class:`ExecutorContract`.

The tests of a class share one executor; each leaves it with all its places free.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from cotune.data.dataset import TrainingData
from cotune.executors.base import Executor
from cotune.modelfile import module_from_weights
from cotune.models.mlp import MLPShape
from cotune.results import Report, TrialSpec, Value, Verdict

RUN_SEED = 3
SECONDS = 60.0  # for what takes a fraction of one, on a machine that is busy with other things
QUICK_SECONDS = 10.0

_numbers = itertools.count()


def digits() -> TrainingData:
    """An odd number of odd rows, so nothing is aligned by chance."""
    bunch = load_digits()
    pixels = bunch.data[:1501, :63] / 16
    return TrainingData(
        np.ascontiguousarray(pixels.astype(np.float32)), bunch.target[:1501].astype(int), 1201, 10
    )


DATA = digits()


def spec(**params: Value) -> TrialSpec:
    """A trial with a number of its own; an epoch of it takes about 20 ms."""
    small: dict[str, Value] = {
        "optimizer": "adam",
        "n_layers": 2,
        "width": 16,
        "batch_norm": True,
        "batch_size": 64,
        "dropout": 0.1,
        "lr": 3e-3,
        "weight_decay": 0.0,
        "epochs": 1000,
    }
    return TrialSpec(next(_numbers), small | params, seed=5)


def long_spec() -> TrialSpec:
    """A trial with steps of about 50 ms and epochs of half a minute."""
    return spec(n_layers=5, width=1024, batch_norm=False, batch_size=2)


def collect(executor: Executor, count: int, seconds: float = SECONDS) -> list[Report]:
    """The next reports; fails when there are fewer in that time, or more."""
    reports: list[Report] = []
    end = time.monotonic() + seconds
    while len(reports) < count:
        assert time.monotonic() < end, f"{len(reports)} of {count} reports in {seconds} s"
        reports += executor.reports(0.1)
    assert len(reports) == count
    return reports


def go_on(executor: Executor, *numbers: int) -> None:
    executor.apply([Verdict(number, stop=False) for number in numbers])


def stop(executor: Executor, *numbers: int) -> None:
    executor.apply([Verdict(number, stop=True) for number in numbers])


def run(executor: Executor, trial: TrialSpec, epochs: int) -> list[Report]:
    """Train a trial alone for so many epochs, and stop it."""
    executor.submit([trial])
    reports: list[Report] = []
    for epoch in range(epochs):
        reports += collect(executor, 1)
        if epoch < epochs - 1:
            go_on(executor, trial.number)
    stop(executor, trial.number)
    return reports


def told(report: Report) -> dict[str, Any]:
    """What does not depend on the clock or the trial's number."""
    return replace(report, number=0, seconds=0.0).to_json()


class ExecutorContract:
    """Subclasses define :meth:`make`."""

    @staticmethod
    def make() -> Executor:
        """An executor that has DATA and RUN_SEED."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        with cls.make() as executor:
            yield executor

    @pytest.fixture(autouse=True)
    def _all_is_quiet(self, executor: Executor) -> Iterator[None]:
        yield
        assert executor.reports(0.0) == []

    def test_reports_come_epoch_by_epoch_and_after_verdicts(self, executor):
        trial = spec()
        executor.submit([trial])
        for epoch in (1, 2, 3):
            (report,) = collect(executor, 1)
            assert (report.number, report.epoch, report.error) == (trial.number, epoch, None)
            assert executor.reports(0.2) == []  # until the verdict
            if epoch < 3:
                go_on(executor, trial.number)
        stop(executor, trial.number)
        assert executor.reports(0.2) == []

    def test_what_a_report_says(self, executor):
        reports = run(executor, spec(), 8)
        for report in reports:
            assert report.steps == 1201 // 64
            assert 0 < report.seconds < SECONDS
            assert report.scores.keys() == {"loss", "accuracy", "f1"}
        first, last = reports[0], reports[-1]
        assert last.train_loss < first.train_loss
        assert last.scores["loss"] < first.scores["loss"]
        assert last.train_accuracy > first.train_accuracy
        assert last.scores["accuracy"] > 0.8
        assert last.scores["f1"] > 0.8

    def test_all_places_train(self, executor):
        for submitted_at_once in (True, False):
            trials = [spec() for _ in range(executor.places)]
            numbers = [trial.number for trial in trials]
            if submitted_at_once:
                executor.submit(trials)
            else:
                for trial in trials:
                    executor.submit([trial])
            for epoch in (1, 2):
                reports = collect(executor, len(trials))
                assert sorted((r.number, r.epoch) for r in reports) == [(n, epoch) for n in numbers]
                if epoch == 1:
                    go_on(executor, *numbers)
            stop(executor, *numbers)

    def test_stop_frees_the_place(self, executor):
        for _ in range(3):
            trials = [spec() for _ in range(executor.places)]
            executor.submit(trials)
            collect(executor, len(trials))
            stop(executor, *(trial.number for trial in trials))

    def test_stop_before_the_first_report(self, executor):
        """In mid-epoch, where the executor trains while the driver does other things."""
        long = [long_spec() for _ in range(executor.places)]
        executor.submit(long)
        time.sleep(0.5)
        began = time.monotonic()
        stop(executor, *(trial.number for trial in long))
        quick = [spec() for _ in range(executor.places)]
        executor.submit(quick)
        reports = collect(executor, len(quick))
        assert time.monotonic() - began < QUICK_SECONDS
        assert {r.number for r in reports} == {trial.number for trial in quick}
        stop(executor, *(trial.number for trial in quick))

    def test_stop_at_any_moment_lets_no_report_through(self, executor):
        """The stop may meet the trial queued, in training, or with its report under way."""
        for milliseconds in (0, 0, 1, 2, 5, 10, 15, 20, 30, 40, 60):
            stopped, other = spec(), spec()
            executor.submit([stopped])
            collect(executor, 1)
            go_on(executor, stopped.number)
            time.sleep(milliseconds / 1000)
            stop(executor, stopped.number)
            executor.submit([other])
            (report,) = collect(executor, 1)
            assert (report.number, report.epoch) == (other.number, 1)
            stop(executor, other.number)

    def test_weights(self, executor):
        trial = spec()
        executor.submit([trial])
        (first,) = collect(executor, 1)
        early = executor.weights(trial.number)
        go_on(executor, trial.number)
        (second,) = collect(executor, 1)
        late = executor.weights(trial.number)
        stop(executor, trial.number)

        rows = torch.from_numpy(DATA.inputs[DATA.n_train :])
        truth = torch.from_numpy(DATA.labels[DATA.n_train :])
        for report, weights in ((first, early), (second, late)):
            assert all(value.dtype == np.float32 for value in weights.values())
            twin = module_from_weights(MLPShape(63, (16, 16), True, 10), [0.1, 0.1], weights)
            with torch.no_grad():
                logits = twin(rows)
            accuracy = float((logits.argmax(1) == truth).double().mean())
            assert report.scores["accuracy"] == pytest.approx(accuracy, abs=1e-9)
            loss = float(torch.nn.functional.cross_entropy(logits, truth))
            assert report.scores["loss"] == pytest.approx(loss, rel=1e-5)

    def test_all_rows_have_no_scores(self, executor):
        trial = replace(spec(), part="all")
        executor.submit([trial])
        (report,) = collect(executor, 1)
        assert report.scores == {}
        assert report.steps == 1501 // 64
        assert report.error is None
        assert "head.weight" in executor.weights(trial.number)
        stop(executor, trial.number)

    def test_a_diverging_trial_frees_its_place(self, executor):
        for _ in range(2):
            wild = [spec(lr=1e30) for _ in range(executor.places)]
            executor.submit(wild)
            reports = collect(executor, len(wild))
            assert {(r.number, r.epoch) for r in reports} == {(t.number, 1) for t in wild}
            assert all(report.error for report in reports)
        assert run(executor, spec(), 1)[0].error is None

    def test_a_diverging_trial_leaves_the_others_alone(self, executor):
        (expected,) = run(executor, spec(), 1)
        trials = [spec(lr=1e30), *(spec() for _ in range(executor.places - 1))]
        executor.submit(trials)
        by_number = {report.number: report for report in collect(executor, len(trials))}
        assert by_number[trials[0].number].error
        for trial in trials[1:]:
            assert told(by_number[trial.number]) == told(expected)
            stop(executor, trial.number)

    def test_the_same_trial_reports_the_same(self, executor):
        once, again = (run(executor, spec(), 3) for _ in range(2))
        assert [told(report) for report in once] == [told(report) for report in again]

    def test_may_be_closed_twice(self):
        executor = self.make()
        executor.submit([spec()])
        executor.close()
        executor.close()

    def test_waiting_for_reports_ends(self, executor):
        began = time.monotonic()
        assert executor.reports(0.2) == []
        assert time.monotonic() - began < QUICK_SECONDS
