"""Finalists, and training to the end, with a real engine on the digits."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cotune.data import load, prepare
from cotune.metrics import METRICS
from cotune.records import EpochReport, Finalist, TrialResult, TrialSpec, Value
from cotune.runs.training_log import TrainingLog
from cotune.space.yaml import space_from_dict
from cotune.tuning.clock import Clock
from cotune.tuning.full_training import FullTraining, Training
from cotune.tuning.play_off import PlayOff, prefer
from cotune.workers.base import EngineJob
from cotune.workers.in_process import InProcessExecutor

SPACE = space_from_dict({"width": {"type": "int", "low": 8, "high": 64, "step": 8}})


def trial(number: int, epochs: int = 2, **params: Value) -> TrialResult:
    return TrialResult(number, "complete", 0.5, epochs, {"width": 16, **params}, 1.0)


@pytest.fixture(scope="module")
def executor() -> Iterator[InProcessExecutor]:
    training, _ = prepare(load("digits"), seed=0)
    with InProcessExecutor("cpu") as executor:
        executor.load(EngineJob(training, 0, 4))
        yield executor


def params_of(trials: Sequence[TrialResult]) -> dict[int, dict[str, Value]]:
    return {
        one.number: {**SPACE.complete(one.params), **one.params, "epochs": one.epochs}
        for one in trials
    }


def specs_of(trials: Sequence[TrialResult]) -> list[TrialSpec]:
    return [
        TrialSpec(-3 - number, params, number, fold=1)
        for number, params in params_of(trials).items()
    ]


def run(
    executor,
    specs,
    deadline=math.inf,
    stopped=lambda: False,
    reported=lambda report: None,
    most=None,
):
    with tempfile.TemporaryDirectory() as folder:
        log = TrainingLog(Path(folder) / "trainings.jsonl")
        trainer = FullTraining(executor, Clock(0.0, stop=stopped), log)
        return trainer.run(specs, reported, deadline, kept={}, most=most)


class TestRetrain:
    @pytest.mark.parametrize(
        ("seconds", "most", "epochs"), [(1000.0, 4, 4), (math.inf, 4, 2), (1e-9, 4, 1)]
    )
    def test_as_many_epochs_as_there_is_time_for(self, executor, seconds, most, epochs):
        """Where the rate falls to zero at the end: at most those wanted, and one in any case."""
        (spec,) = specs_of([trial(0, schedule="linear")])
        deadline = time.monotonic() + seconds
        trainings = run(executor, [spec], deadline, most={spec.number: most})
        assert trainings is not None
        assert [len(training.reports) for training in trainings] == [epochs]

    def test_all_are_trained_to_the_end(self, executor):
        reports: list[EpochReport] = []
        trials = [trial(0), trial(1, width=64), trial(2, epochs=1)]
        trainings = run(executor, specs_of(trials), reported=reports.append)
        assert trainings is not None
        assert [len(training.reports) for training in trainings] == [2, 2, 1]
        assert len(reports) == 5
        assert all(training.weights and training.error is None for training in trainings)
        assert executor.openings() == [4]

    def test_one_that_fails_leaves_the_others(self, executor):
        trials = [trial(0, lr=1e30, optimizer="sgd", momentum=0.0), trial(1)]
        trainings = run(executor, specs_of(trials))
        assert trainings is not None
        assert trainings[0].error is not None
        assert trainings[0].error.startswith("epoch 1: ")
        assert trainings[1].weights

    def test_the_deadline_cuts_them_short(self, executor):
        began = time.monotonic()
        trainings = run(executor, specs_of([trial(0, epochs=100_000)]), began + 0.3)
        assert time.monotonic() - began < 3.0
        assert trainings is not None
        assert 1 <= len(trainings[0].reports) < 100_000
        assert trainings[0].weights
        assert executor.openings() == [4]

    def test_what_was_not_begun_has_no_reports(self, executor):
        trials = [trial(0), trial(1, batch_size=32)]
        trainings = run(executor, specs_of(trials), time.monotonic() - 1.0)
        assert trainings is not None
        assert [len(training.reports) for training in trainings] == [1, 0]

    def test_a_stop(self, executor):
        assert run(executor, specs_of([trial(0)]), stopped=lambda: True) is None
        assert executor.openings() == [4]


class Rounds:
    """Plays off with the real engine and keeps what was trained."""

    def __init__(self, executor, metric="accuracy", time_for=99):
        self.executor, self.metric, self.time_for = executor, metric, time_for
        self.specs: list[list[TrialSpec]] = []
        self.trainings: list[list[Training]] = []

    def train(self, specs):
        trainings = run(self.executor, specs)
        assert trainings is not None
        self.specs.append(list(specs))
        self.trainings.append(trainings)
        return trainings

    def __call__(self, trials, rounds, folds=4, stage=1):
        return PlayOff(rounds, folds, 0, self.metric, METRICS[self.metric].direction, stage).run(
            params_of(trials),
            self.train,
            lambda seconds, playing: len(self.specs) < self.time_for,
        )


class TestPlayOff:
    def test_the_better_half_goes_on(self, executor):
        trials = [trial(4, epochs=1, lr=1e-5), trial(5), trial(6, width=64), trial(7, width=8)]
        rounds = Rounds(executor)
        finalists = rounds(trials, 3, folds=2)
        assert [len(specs) for specs in rounds.specs] == [4, 2, 2]
        assert [specs[0].fold for specs in rounds.specs] == [1, 2, 1]
        assert len({spec.seed for specs in rounds.specs for spec in specs}) == 8
        assert all(spec.averaged and spec.part == "train" for spec in rounds.specs[0])
        assert [finalist.trainings for finalist in finalists] == [3, 3, 1, 1]
        assert finalists[-1].number == 4
        assert finalists[0].value >= finalists[1].value
        own = [
            training.reports[-1].scores["accuracy"]
            for trainings in rounds.trainings
            for training in trainings
            if training.spec.number == -3 - finalists[0].number
        ]
        assert finalists[0].accuracy == finalists[0].value == statistics.fmean(own)
        assert finalists[0].accuracy_sd == statistics.stdev(own)

    def test_nobody_goes_out_before_a_stage_is_over(self, executor):
        rounds = Rounds(executor)
        finalists = rounds([trial(i, epochs=1, width=8) for i in range(4)], 3, stage=2)
        assert [len(specs) for specs in rounds.specs] == [4, 4, 2]
        assert [finalist.trainings for finalist in finalists] == [3, 3, 2, 2]

    def test_a_smaller_loss_is_better(self, executor):
        finalists = Rounds(executor, "loss")([trial(0, epochs=1), trial(1, epochs=4)], 1)
        assert [finalist.number for finalist in finalists] == [1, 0]
        assert finalists[0].value < finalists[1].value
        assert finalists[0].accuracy_sd is None

    def test_one_that_fails_is_out(self, executor):
        trials = [trial(0, lr=1e30, optimizer="sgd", momentum=0.0), trial(1)]
        rounds = Rounds(executor)
        assert [finalist.number for finalist in rounds(trials, 2)] == [1]
        assert [len(specs) for specs in rounds.specs] == [2, 1]

    def test_no_round_begins_when_time_is_up(self, executor):
        rounds = Rounds(executor, time_for=2)
        finalists = rounds([trial(0), trial(1)], 8)
        assert [finalist.trainings for finalist in finalists] == [2, 2]

    def test_a_round_that_the_deadline_cut_short_does_not_count(self, executor):
        rounds = Rounds(executor)
        deadlines = iter([math.inf, 0.0])

        def train(specs):
            return run(executor, specs, next(deadlines))

        rounds.train = train  # type: ignore[method-assign]
        (finalist,) = rounds([trial(0, epochs=4)], 2)
        assert finalist.trainings == 1

    def test_nor_does_it_help_the_one_that_was_quicker(self, executor):
        """Trial 1, the better one, has four epochs; the clock leaves the second round two."""
        trials = [trial(0, epochs=1, lr=1e-4), trial(1, epochs=4)]

        def train(specs):
            trainings = run(executor, specs)
            assert trainings is not None
            if specs[0].fold == 2:
                late = next(training for training in trainings if training.spec.epochs == 4)
                del late.reports[2:]
            return trainings

        rounds = Rounds(executor)
        rounds.train = train  # type: ignore[method-assign]
        finalists = rounds(trials, 8)
        assert [(one.number, one.trainings) for one in finalists] == [(1, 1), (0, 2)]

    def test_a_schedule_of_its_own_is_not_averaged(self, executor):
        rounds = Rounds(executor)
        rounds([trial(0, schedule="cosine")], 1)
        assert not rounds.specs[0][0].averaged

    def test_a_stop(self):
        params = params_of([trial(0)])
        play_off = PlayOff(1, 4, 0, "accuracy", "maximize")
        assert play_off.run(params, lambda specs: None, lambda s, p: True) is None


class TestPrefer:
    """Trial 0 is the default, 1 of the portfolio, 9 the sampler's."""

    @staticmethod
    def order(values: dict[int, float], noise: float = 0.01, maximize: bool = True) -> list[int]:
        best_first = sorted(values, key=lambda n: values[n], reverse=maximize)
        finalists = [Finalist(n, 1, values[n], values[n], None) for n in best_first]
        doubt = {1: 0, 0: 1, 9: 2}
        return [one.number for one in prefer(finalists, doubt.__getitem__, noise, maximize)]

    def test_the_likelier_of_those_that_are_close(self):
        assert self.order({9: 0.90, 0: 0.895, 1: 0.891}) == [1, 9, 0]
        assert self.order({9: 0.90, 0: 0.895, 1: 0.885}) == [0, 9, 1]
        assert self.order({0: 0.90, 1: 0.895}) == [1, 0]

    def test_what_is_better_beyond_noise_stays_first(self):
        assert self.order({9: 0.90, 0: 0.889, 1: 0.88}) == [9, 0, 1]
        assert self.order({0: 0.90, 1: 0.89}, noise=0.0) == [0, 1]

    def test_a_smaller_loss_is_better(self):
        assert self.order({9: 0.30, 1: 0.305}, maximize=False) == [1, 9]
        assert self.order({9: 0.30, 1: 0.32}, maximize=False) == [9, 1]

    def test_one_of_fewer_trainings_is_not_close(self):
        finalists = [Finalist(9, 4, 0.9, 0.9, None), Finalist(1, 1, 0.9, 0.9, None)]
        assert prefer(finalists, {9: 2, 1: 0}.__getitem__, 0.1, True) == finalists

    def test_none(self):
        assert prefer([], lambda number: 0, 0.1, True) == []
