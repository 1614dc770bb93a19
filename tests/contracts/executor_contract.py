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
from cotune.engine.networks.mlp import MLPArchitecture
from cotune.inference.model_file import module_from_weights
from cotune.records import EpochReport, TrialSpec, Value, Verdict
from cotune.workers.base import Executor

RUN_SEED = 3
SECONDS = 60.0  # for what takes a fraction of one, on a machine that is busy with other things
QUICK_SECONDS = 10.0

_numbers = itertools.count()


def digits() -> TrainingData:
    """An odd number of odd rows, so nothing is aligned by chance."""
    bunch = load_digits()
    pixels = bunch.data[:1501, :63] / 16
    return TrainingData(
        np.ascontiguousarray(pixels.astype(np.float32)),
        bunch.target[:1501].astype(int),
        1201,
        10,
        (63,),
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


def collect(executor: Executor, count: int, seconds: float = SECONDS) -> list[EpochReport]:
    """The next reports; fails when there are fewer in that time, or more."""
    reports: list[EpochReport] = []
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


def groups(executor: Executor, **params: Value) -> list[list[TrialSpec]]:
    """Submit as many trials as there is room for; a group for each engine."""
    submitted = []
    for size in executor.openings():
        submitted.append([spec(**params) for _ in range(size)])
        executor.submit(submitted[-1])
    assert executor.openings() == []
    return submitted


def numbers_of(submitted: list[list[TrialSpec]]) -> list[int]:
    return [trial.number for group in submitted for trial in group]


def run(executor: Executor, trial: TrialSpec, epochs: int) -> list[EpochReport]:
    """Train a trial alone for so many epochs, and stop it."""
    executor.submit([trial])
    reports: list[EpochReport] = []
    for epoch in range(epochs):
        reports += collect(executor, 1)
        if epoch < epochs - 1:
            go_on(executor, trial.number)
    stop(executor, trial.number)
    return reports


def told(report: EpochReport) -> dict[str, Any]:
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
            assert report.scores.keys() == {"loss", "accuracy", "f1", "balanced-accuracy"}
        first, last = reports[0], reports[-1]
        assert last.train_loss < first.train_loss
        assert last.scores["loss"] < first.scores["loss"]
        assert last.train_accuracy > first.train_accuracy
        assert last.scores["accuracy"] > 0.8
        assert last.scores["f1"] > 0.8

    def test_openings(self, executor):
        """One for each engine, where at least half of its lanes are free; the most first."""
        lanes, everywhere = executor.lanes, executor.openings()
        assert everywhere == [lanes] * len(everywhere)
        (full, *rest) = groups(executor)
        collect(executor, lanes * len(everywhere))
        half = (lanes + 1) // 2
        stop(executor, *(trial.number for trial in full[: half - 1]))
        assert executor.openings() == []
        stop(executor, full[half - 1].number)
        assert executor.openings() == [half]
        for group in rest:
            stop(executor, *(trial.number for trial in group))
        assert executor.openings() == sorted([half, *(lanes for _ in rest)], reverse=True)
        # Groups that are submitted in this order fit.
        again = numbers_of(groups(executor))
        reports = collect(executor, len(again))
        assert sorted(report.number for report in reports) == again
        stop(executor, *again, *(trial.number for trial in full[half:]))
        assert executor.openings() == everywhere

    def test_a_group_is_trained_together(self, executor):
        submitted = groups(executor)
        numbers = numbers_of(submitted)
        for epoch in (1, 2, 3):
            reports = collect(executor, len(numbers))
            assert sorted((r.number, r.epoch) for r in reports) == [(n, epoch) for n in numbers]
            assert {report.lanes for report in reports} == {executor.lanes}
            # Those of one cohort come together.
            order = [report.number for report in reports]
            for group in submitted:
                places = [order.index(trial.number) for trial in group]
                assert max(places) - min(places) == len(group) - 1
            if epoch < 3:
                go_on(executor, *numbers)
        stop(executor, *numbers)

    def test_reports_of_a_cohort_come_at_once(self, executor):
        left = numbers_of(groups(executor))
        while left:
            numbers = [report.number for report in executor.reports(0.1)]
            assert len(numbers) % executor.lanes == 0
            left = [number for number in left if number not in numbers]
            stop(executor, *numbers)

    def test_there_is_room_for_as_many_as_there_are_lanes(self, executor):
        everywhere = len(executor.openings())
        trials = [spec() for _ in range(executor.lanes * everywhere)]
        for trial in trials:
            executor.submit([trial])
        numbers = [trial.number for trial in trials]
        assert sorted(r.number for r in collect(executor, len(numbers))) == numbers
        with pytest.raises(ValueError, match="room for 1 trials"):
            executor.submit([spec()])
        stop(executor, numbers[0])
        with pytest.raises(ValueError, match="room for 2 trials"):
            executor.submit([spec(), spec()])
        stop(executor, *numbers[1:])

    def test_stop_frees_the_place(self, executor):
        for _ in range(3):
            numbers = numbers_of(groups(executor))
            collect(executor, len(numbers))
            stop(executor, *numbers)

    def test_stopping_one_leaves_the_others(self, executor):
        trials = [spec(width=8 + 8 * (i % 2)) for i in range(executor.lanes)]
        if len(trials) == 1:
            return
        expected = [
            run(executor, replace(trial, number=1000 + i), 3)[-1].scores["loss"]
            for i, trial in enumerate(trials)
        ]
        executor.submit(trials)
        first, *others = (trial.number for trial in trials)
        for epoch in (1, 2, 3):
            numbers = [first, *others] if epoch == 1 else others
            reports = {r.number: r for r in collect(executor, len(numbers))}
            assert sorted(reports) == numbers
            assert {(r.epoch, r.lanes) for r in reports.values()} == {(epoch, len(numbers))}
            if epoch == 1:
                stop(executor, first)
            if epoch < 3:
                go_on(executor, *others)
        losses = [reports[n].scores["loss"] for n in others]
        assert losses == pytest.approx(expected[1:], rel=1e-4)
        stop(executor, *others)

    def test_clear_ends_an_epoch_at_once(self, executor):
        """In mid-epoch, where the executor trains while the driver does other things."""
        for size in executor.openings():
            executor.submit([long_spec() for _ in range(size)])
        time.sleep(0.5)
        began = time.monotonic()
        executor.clear()
        assert executor.openings()[0] == executor.lanes
        quick = numbers_of(groups(executor))
        reports = collect(executor, len(quick))
        assert time.monotonic() - began < QUICK_SECONDS
        assert sorted(report.number for report in reports) == quick
        stop(executor, *quick)

    def test_clear_at_any_moment_lets_no_report_through(self, executor):
        """It may meet the trials queued, in training, or with their reports under way."""
        for milliseconds in (0, 1, 2, 5, 10, 20, 40, 80):
            numbers_of(groups(executor))
            time.sleep(milliseconds / 1000)
            executor.clear()
            other = spec()
            executor.submit([other])
            (report,) = collect(executor, 1)
            assert (report.number, report.epoch) == (other.number, 1)
            stop(executor, other.number)

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
            assert report.lanes == 1
            twin = module_from_weights(MLPArchitecture(63, (16, 16), True, 10), [0.1, 0.1], weights)
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
            wild = numbers_of(groups(executor, lr=1e30))
            reports = collect(executor, len(wild))
            assert sorted((r.number, r.epoch) for r in reports) == [(n, 1) for n in wild]
            assert all(report.error for report in reports)
            assert executor.openings()[0] == executor.lanes
        assert run(executor, spec(), 1)[0].error is None

    def test_a_diverging_trial_leaves_the_others_alone(self, executor):
        """Bit for bit: their place in the cohort is the same."""
        told_of = []
        for rate in (3e-3, 1e30):
            trials = [spec(lr=rate), *(spec() for _ in range(executor.lanes - 1))]
            executor.submit(trials)
            by_number = {report.number: report for report in collect(executor, len(trials))}
            assert bool(by_number[trials[0].number].error) == (rate > 1.0)
            told_of.append([told(by_number[trial.number]) for trial in trials[1:]])
            stop(executor, *(trial.number for trial in trials))
        assert told_of[0] == told_of[1]

    def test_the_best_weights(self, executor):
        """A schedule that rises to a rate that is far too high."""
        trial = spec(optimizer="adamw", lr=3.0, schedule="one-cycle", epochs=20)
        executor.submit([trial])
        accuracies, weights = [], []
        for epoch in range(1, 7):
            (report,) = collect(executor, 1)
            accuracies.append(report.scores["accuracy"])
            weights.append(executor.weights(trial.number))
            best = executor.weights(trial.number, best=True)
            expected = weights[accuracies.index(max(accuracies))]
            assert best.keys() == expected.keys()
            assert all(np.array_equal(best[name], expected[name]) for name in best)
            if epoch < 6:
                go_on(executor, trial.number)
        assert accuracies[-1] < 0.6 < max(accuracies)
        stop(executor, trial.number)

    def test_where_nothing_is_validated_the_last_weights_are_the_best(self, executor):
        trial = replace(spec(), part="all")
        executor.submit([trial])
        collect(executor, 1)
        best, now = executor.weights(trial.number, best=True), executor.weights(trial.number)
        assert all(np.array_equal(best[name], now[name]) for name in now)
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
