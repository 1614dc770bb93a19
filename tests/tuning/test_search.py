"""The search loop with a real study and a real engine on the digits."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cotune.data import load, prepare
from cotune.metrics import METRICS
from cotune.records import TrialResult, TrialSpec, Value, Verdict
from cotune.runs.directory import RunDirectory
from cotune.space.yaml import space_from_dict
from cotune.study.study import Study
from cotune.tuning.clock import Clock
from cotune.tuning.engine_runner import EngineRunner
from cotune.tuning.ledger import Ledger
from cotune.tuning.lineup import Lineup
from cotune.tuning.observer import Observer
from cotune.tuning.recorder import Recorder
from cotune.tuning.search import Search
from cotune.tuning.stop_rules import StopRules
from cotune.workers.base import EngineJob
from cotune.workers.in_process import InProcessExecutor

SMALL = {
    "width": {"type": "int", "low": 8, "high": 64, "step": 8},
    "lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "n_layers": 1,
    "epochs": 3,
}


class Build:
    """A search on the digits, ready to go; the parts are there to look at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.space = space_from_dict(SMALL)
        self.metric = "accuracy"
        self.pruner = "none"
        self.lanes = 2
        self.n_trials: int | None = None
        self.deadline = math.inf
        self.reserve: Callable[[Sequence[TrialResult]], float] = lambda ranked: 0.0
        self.most_epochs: Callable[[float], int | None] = lambda seconds: None
        self.stopped: Callable[[], bool] = lambda: False
        self.trained_as: Callable[[TrialSpec], TrialSpec] = lambda spec: spec
        self.too_slow: Callable[[TrialSpec], str] = lambda spec: ""
        self.enqueued: list[dict[str, Value]] = []
        self.ticks = 0

    def __call__(self, observer: Observer | None = None) -> Search:
        training, _ = prepare(load("digits"), seed=0)
        self.run = RunDirectory.create(self.path / "run")
        self.run.tables.start(self.space.searched)
        self.study = Study(
            self.run.journal_path, self.space, "random", self.pruner, self.metric, seed=0
        )
        self.study.enqueue(self.enqueued)
        self.executor = InProcessExecutor("cpu")
        self.executor.load(EngineJob(training, 0, self.lanes))
        self.ledger = Ledger(METRICS[self.metric].direction)
        runner = EngineRunner(
            self.study,
            self.executor,
            self.ledger,
            Lineup(tuple(self.enqueued)),
            self.metric,
            self.most_epochs,
            self.trained_as,
            self.too_slow,
        )
        return Search(
            runner,
            self.ledger,
            Recorder(
                self.study,
                self.run,
                observer or Observer(),
                lambda reported: self.run.tables.append_reports(one for one, _ in reported),
            ),
            StopRules(self.n_trials),
            # A tenth of a second from one tick to the next.
            Clock(0.0, self.deadline, lambda: self.stopped(), now=lambda: 0.1 * self.ticks),
            lambda: self.reserve(self.ledger.rank([*self.ledger.finished, *runner.so_far()])),
            self._tick,
        )

    def _tick(self) -> None:
        self.ticks += 1

    def rows(self) -> list[dict[str, str]]:
        with open(self.run.trials_path, newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    build = Build(tmp_path)
    yield build
    build.executor.close()
    build.run.close()


def test_it_runs_the_trials_asked_for(build: Build) -> None:
    build.n_trials = 5
    search = build()
    search.go()
    assert [trial.state for trial in build.ledger.finished] == ["complete"] * 5
    assert sorted(trial.number for trial in build.ledger.finished) == [0, 1, 2, 3, 4]
    assert all(trial.epochs == 3 for trial in build.ledger.finished)
    assert not build.ledger.running
    rows = build.rows()
    assert [int(row["number"]) for row in rows] == [t.number for t in build.ledger.finished]
    assert [float(row["value"]) for row in rows] == [t.value for t in build.ledger.finished]
    assert [row["width"] for row in rows] == [str(t.params["width"]) for t in build.ledger.finished]
    curves = build.run.tables.curves()
    assert {number: len(reports) for number, reports in curves.items()} == dict.fromkeys(
        range(5), 3
    )
    for trial in build.ledger.finished:
        assert curves[trial.number][-1].scores["accuracy"] == trial.value
        assert build.ledger.accuracies[trial.number] == trial.value


def test_all_places_are_busy(build: Build) -> None:
    class Most(Observer):
        most = 0

        def trial_reported(self, report: object, value: float) -> None:
            self.most = max(self.most, len(build.ledger.running))

    build.n_trials, build.lanes = 6, 3
    observer = Most()
    search = build(observer)
    search.go()
    assert observer.most == 3


def test_the_best_comes_first_by_the_metrics_direction(build: Build) -> None:
    build.n_trials, build.metric = 4, "loss"
    search = build()
    search.go()
    losses = [trial.value for trial in build.ledger.ranked()]
    assert losses == sorted(losses)  # type: ignore[type-var]
    assert all(value is not None and value > 0 for value in losses)


def test_a_pruned_trial_is_never_ranked_before_a_complete_one(build: Build) -> None:
    build.n_trials, build.pruner = 12, "median"
    search = build()
    search.go()
    states = {trial.state for trial in build.ledger.finished}
    assert states == {"complete", "pruned"}
    assert all(trial.state == "complete" for trial in build.ledger.ranked())
    pruned = [trial for trial in build.ledger.finished if trial.state == "pruned"]
    assert all(trial.epochs < 3 and trial.reason == "pruned" for trial in pruned)


def test_the_deadline_leaves_time_for_the_final_model(build: Build) -> None:
    build.deadline = 6.0
    build.reserve = lambda ranked: 4.0 if ranked else 0.0
    search = build()
    search.go()
    assert 0.1 * build.ticks == pytest.approx(2.0)
    assert build.ledger.ranked()


def test_what_is_in_training_at_the_deadline_is_cut_short(build: Build) -> None:
    build.space = space_from_dict({**SMALL, "epochs": 100_000})
    build.deadline = 1.0
    search = build()
    search.go()
    assert [trial.state for trial in build.ledger.finished] == ["pruned", "pruned"]
    assert all("time was up after epoch" in trial.reason for trial in build.ledger.finished)
    # With nothing complete, the best of those cut short is what there is.
    assert build.ledger.ranked()[0].value == max(
        trial.value or 0 for trial in build.ledger.finished
    )
    assert build.executor._engine.waiting == 0


def test_a_stop_ends_it_at_once(build: Build) -> None:
    class StopAfterTwo(Observer):
        ended = 0

        def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
            self.ended += 1

    observer = StopAfterTwo()
    build.stopped = lambda: observer.ended >= 2
    search = build(observer)
    search.go()
    complete = [trial for trial in build.ledger.finished if trial.state == "complete"]
    assert len(complete) == 2
    assert all(t.reason.startswith("stopped by the user") for t in build.ledger.finished[2:])
    assert build.rows()[0]["state"] == "complete"


def test_a_failed_trial_frees_its_place_and_is_never_best(build: Build) -> None:
    build.space = space_from_dict(
        {**SMALL, "lr": {"type": "float", "low": 1e-4, "high": 100.0, "log": True}}
        | {"optimizer": "sgd", "batch_norm": False, "momentum": 0.99, "n_layers": 3}
    )
    build.enqueued = [{"lr": lr, "width": 64} for lr in (100.0, 100.0, 0.001)]
    build.n_trials = 3
    search = build()
    search.go()
    by_number = {trial.number: trial for trial in build.ledger.finished}
    assert [by_number[i].state for i in range(3)] == ["failed", "failed", "complete"]
    assert by_number[0].reason.startswith("epoch 1: ")
    assert [trial.number for trial in build.ledger.ranked()] == [2]


def test_a_finished_row_never_changes(build: Build) -> None:
    class Watch(Observer):
        def __init__(self) -> None:
            self.rows: list[dict[str, str]] = []

        def trial_ended(self, trial: TrialResult, best: TrialResult | None) -> None:
            rows = build.rows()
            assert rows[: len(self.rows)] == self.rows
            self.rows = rows

    build.n_trials = 4
    watch = Watch()
    build(watch).go()
    assert len(watch.rows) == 4


def test_the_samplers_trials_wait_for_those_that_were_enqueued(build: Build) -> None:
    started: list[tuple[int, list[int]]] = []

    class Watch(Observer):
        def trial_started(self, spec: TrialSpec) -> None:
            started.append((spec.number, sorted(build.ledger.running)))

    build.lanes = 8
    build.enqueued = [{"width": 8}, {"width": 16}, {"width": 24}]
    build.n_trials = 6
    search = build(Watch())
    search.go()
    assert [number for number, _ in started] == list(range(6))
    waited = [running for number, running in started if number >= 3]
    assert all(sum(n < 3 for n in running) <= 1 for running in waited)


def test_a_trial_ends_where_the_time_allows_no_more_epochs(build: Build) -> None:
    build.most_epochs = lambda seconds: 2
    build.n_trials = 2
    search = build()
    search.go()
    assert [(trial.state, trial.epochs) for trial in build.ledger.finished] == [("complete", 2)] * 2


def test_of_equal_values_the_smaller_loss_ranks_first(build: Build) -> None:
    build()
    build.ledger.losses = {0: 0.1, 1: 0.5, 2: 0.3, 3: 0.4}
    for number, value in enumerate([0.9, 1.0, 1.0, 1.0]):
        build.ledger.add(TrialResult(number, "complete", value, 3, {}, 1.0))
    assert [trial.number for trial in build.ledger.ranked()] == [2, 3, 1, 0]


def test_a_trial_without_time_for_its_epochs_is_not_begun(build: Build) -> None:
    build.n_trials = 4
    build.too_slow = lambda spec: "time was up before it began" if spec.number % 2 else ""
    build().go()
    ended = {trial.number: trial for trial in build.ledger.finished}
    assert [ended[number].state for number in range(4)] == ["complete", "pruned"] * 2
    assert [ended[number].epochs for number in range(4)] == [3, 0, 3, 0]
    assert ended[1].stop_cause == "out_of_time"
    assert [trial.number for trial in build.run.tables.trials() if not trial.epochs] == [1, 3]
    assert not {1, 3} & {trial.number for trial in build.ledger.ranked()}


def test_the_rate_of_a_short_trial_falls_within_its_time(build: Build) -> None:
    """It has time for two epochs of three, and the pruner leaves it alone."""
    build.n_trials = 4
    build.pruner = "asha"
    build.most_epochs = lambda seconds: 2
    build.trained_as = lambda spec: replace(
        spec, params={**spec.params, "schedule": "linear"}, horizon=4
    )
    search = build()
    horizons: set[int | None] = set()
    apply = build.executor.apply

    def watch(verdicts: Sequence[Verdict]) -> None:
        horizons.update(verdict.horizon for verdict in verdicts)
        apply(verdicts)

    build.executor.apply = watch  # type: ignore[method-assign]
    search.go()
    assert horizons == {2}
    # Of a lane that is trained again after its engine was lost, too.
    assert len(search.runner.fill(1)) == 1
    (report,) = build.executor.reports(0.0)
    for _ in range(2):
        search.handle(search.runner._take([report]))  # type: ignore[attr-defined]
    assert horizons == {2}
    assert {(trial.state, trial.epochs) for trial in build.ledger.finished} == {("complete", 2)}
