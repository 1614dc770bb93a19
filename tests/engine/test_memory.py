"""When memory runs out, fewer lanes are trained together, and no result changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cotune.engine import engine
from cotune.engine import step as runner
from cotune.engine.cohorts import mlp as cohort_mlp
from cotune.engine.engine import Engine
from cotune.records import EpochReport, TrialSpec, Value
from tests.support.parity import (
    RUN_SEED,
    SINGLE,
    cnn,
    digits,
    distance,
    go_on,
    same_bits,
    spec,
    train,
)

MESSAGE = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
NO_ROOM = "too little memory for this network"
BROKEN_OFF = "memory ran out in mid-epoch, when its weights had changed already"
IMAGES = digits(200, 100)
IMAGES = type(IMAGES)(
    np.ascontiguousarray(np.pad(IMAGES.inputs, ((0, 0), (0, 64 - IMAGES.inputs.shape[1])))),
    IMAGES.labels,
    200,
    10,
    (8, 8),
)


def fail_at(
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    calls: Sequence[int],
    error: Exception | None = None,
) -> None:
    """Let a function raise at these of its calls, counted from 1."""
    original: Callable[..., Any] = getattr(place, name)
    count = 0

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count in calls:
            raise error or RuntimeError(MESSAGE)
        return original(*args, **kwargs)

    monkeypatch.setattr(place, name, failing)


def summary(reports: Sequence[EpochReport]) -> list[tuple[int, int, int, str | None]]:
    return sorted((r.number, r.epoch, r.lanes, r.error) for r in reports)


def perceptrons(count: int = 4) -> list[TrialSpec]:
    return [spec(i, dropout=0.3, n_layers=3, width=10 + i) for i in range(count)]


class TestInTheFirstStep:
    @pytest.mark.parametrize(
        "error",
        [RuntimeError(MESSAGE), MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")],
        ids=["cpu", "python", "cuda"],
    )
    @pytest.mark.parametrize(
        ("place", "name"),
        [
            (engine, "make_cohort"),
            (runner, "row_order"),
            (cohort_mlp.MLPCohort, "_share"),
            (cohort_mlp.MLPCohort, "_heads"),  # statistics and noise were drawn on by then
            (cohort_mlp.MLPCohort, "_backward"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_the_lanes_go_on_in_halves(self, monkeypatch, place, name, error):
        trials = perceptrons()
        _, expected_reports, expected = train(trials, SINGLE, epochs=1)
        fail_at(monkeypatch, place, name, [1], error)
        ours = Engine(SINGLE, RUN_SEED, max_lanes=4)
        ours.add(trials)
        reports = [*ours.step(), *ours.step()]
        assert summary(reports) == [(n, 1, 2, None) for n in range(4)]
        for n in range(4):
            assert distance(ours.weights(n), expected[n]) < 1e-5
            (report,) = (r for r in reports if r.number == n)
            assert report.train_loss == pytest.approx(expected_reports[n][0].train_loss)

    def test_a_later_epoch(self, monkeypatch):
        """Of lanes that have moments and statistics to keep."""
        trials = perceptrons()
        _, _, expected = train(trials, SINGLE, epochs=2)
        ours = Engine(SINGLE, RUN_SEED, max_lanes=4)
        ours.add(trials)
        go_on(ours, ours.step())
        fail_at(monkeypatch, cohort_mlp.MLPCohort, "_loss", [1, 2])
        reports = [report for _ in range(4) for report in ours.step()]
        assert {(r.epoch, r.error) for r in reports} == {(2, None)}
        assert sorted(r.number for r in reports) == [0, 1, 2, 3]
        assert {r.lanes for r in reports} <= {1, 2}
        for n in range(4):
            assert distance(ours.weights(n), expected[n]) < 1e-5

    def test_convolutions_bit_for_bit(self, monkeypatch):
        trials = [cnn(i, dropout=0.3) for i in range(4)]
        _, _, expected = train(trials, IMAGES, epochs=1)
        fail_at(monkeypatch, torch.autograd, "grad", [1])
        ours = Engine(IMAGES, RUN_SEED, max_lanes=4)
        ours.add(trials)
        reports = [*ours.step(), *ours.step()]
        assert all(r.error is None for r in reports)
        for n in range(4):
            assert same_bits(ours.weights(n), expected[n])

    def test_a_lane_that_does_not_fit_alone(self, monkeypatch):
        """Then the others go on, as many together as before."""
        make = runner.make_cohort

        def with_room_for_small_ones(lanes, data, bfloat16=False):
            if any(lane.spec.params["width"] == 99 for lane in lanes):
                raise RuntimeError(MESSAGE)
            return make(lanes, data, bfloat16)

        monkeypatch.setattr(engine, "make_cohort", with_room_for_small_ones)
        ours = Engine(SINGLE, RUN_SEED, max_lanes=8)
        ours.add([spec(i, width=99 if i == 3 else 10 + i) for i in range(8)])
        reports: list[EpochReport] = []
        while ours.waiting:
            reports += ours.step()
        assert sorted(r.number for r in reports) == list(range(8))
        assert [(r.number, r.epoch, r.error) for r in reports if r.error] == [(3, 1, NO_ROOM)]
        go_on(ours, reports)
        assert summary(ours.step()) == [(n, 2, 7, None) for n in range(8) if n != 3]
        with pytest.raises(KeyError, match="trial 3"):
            ours.weights(3)

    def test_a_lane_alone_is_tried_again_without_what_others_hold(self, monkeypatch):
        ours = Engine(SINGLE, RUN_SEED, max_lanes=2)
        ours.add([spec(0), spec(1), spec(2, batch_norm=False)])
        assert len(ours.step()) == 2
        fail_at(monkeypatch, engine, "make_cohort", [1])
        assert summary(ours.step()) == [(2, 1, 1, None)]


class TestLater:
    def test_lanes_that_changed_fail(self, monkeypatch):
        fail_at(monkeypatch, cohort_mlp.MLPCohort, "_backward", [3])
        ours = Engine(SINGLE, RUN_SEED, max_lanes=4)
        ours.add(perceptrons(5))
        assert summary(ours.step()) == [(n, 1, 1, BROKEN_OFF) for n in range(4)]
        assert len(ours) == 1
        assert summary(ours.step()) == [(4, 1, 1, None)]

    def test_those_that_did_not_are_kept(self, monkeypatch):
        """Convolutional networks go one after another; the third has no room."""
        trials = [cnn(i, dropout=0.3, filters=9 - i) for i in range(4)]
        _, _, expected = train(trials, IMAGES, epochs=1)
        fail_at(monkeypatch, torch.autograd, "grad", [3])
        ours = Engine(IMAGES, RUN_SEED, max_lanes=4)
        ours.add(trials)
        assert summary(ours.step()) == [(n, 1, 1, BROKEN_OFF) for n in (0, 1)]
        assert summary(ours.step()) == [(n, 1, 2, None) for n in (2, 3)]
        for n in (2, 3):
            assert same_bits(ours.weights(n), expected[n])

    def test_fewer_rows_are_evaluated_at_a_time(self, monkeypatch):
        trials = perceptrons()
        _, expected_reports, expected = train(trials, SINGLE, epochs=1)
        fail_at(monkeypatch, runner, "_cross_entropy", [1, 2, 3])
        ours = Engine(SINGLE, RUN_SEED, max_lanes=4)
        ours.add(trials)
        for report in ours.step():
            (theirs,) = expected_reports[report.number]
            assert report.lanes == 4
            assert report.scores == pytest.approx(theirs.scores)
            assert same_bits(ours.weights(report.number), expected[report.number])


class TestStart:
    def test_a_lane_that_cannot_start_is_reported(self, monkeypatch):
        fail_at(monkeypatch, engine, "start", [2])
        ours = Engine(SINGLE, RUN_SEED, max_lanes=4)
        ours.add(perceptrons(3))
        assert len(ours) == 2
        assert ours.waiting == 3
        assert summary(ours.step()) == [(1, 1, 1, NO_ROOM)]
        assert summary(ours.step()) == [(0, 1, 2, None), (2, 1, 2, None)]
        assert ours.step() == []

    def test_it_is_forgotten_with_the_others(self, monkeypatch):
        fail_at(monkeypatch, engine, "start", [1])
        ours = Engine(SINGLE, RUN_SEED, max_lanes=4)
        ours.add(perceptrons(2))
        ours.clear()
        assert ours.waiting == 0
        assert ours.step() == []

    @pytest.mark.parametrize("name", ["start", "make_cohort", "train_epoch", "evaluate"])
    def test_other_errors_are_not_taken_for_this_one(self, monkeypatch, name):
        fail_at(monkeypatch, engine, name, [1], RuntimeError("shapes do not match"))
        ours = Engine(SINGLE, RUN_SEED, max_lanes=4)

        def train_an_epoch() -> None:
            ours.add(perceptrons(2))
            ours.step()

        with pytest.raises(RuntimeError, match="shapes do not match"):
            train_an_epoch()


# What it prints: the reports of 3 epochs, under a limit of the process's address space.
LIMITED = """
    import json, resource, sys
    import torch
    from cotune.engine.engine import Engine
    from cotune.records import Verdict
    from tests.engine.test_memory import limited_data, limited_specs

    torch.set_num_threads(1)
    family, giant, room = sys.argv[1], sys.argv[2] == "giant", int(sys.argv[3])
    engine = Engine(limited_data(), 0, max_lanes=8)
    first, *specs = limited_specs(family, giant)
    engine.add([first])
    engine.step()  # libraries take their own memory at their first use
    engine.clear()
    engine.add(specs)
    with open("/proc/self/status") as status:
        now = next(int(line.split()[1]) for line in status if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (now * 1024 + room * 2**20,) * 2)
    reports = []
    while engine.waiting:
        came = engine.step()
        reports += [[r.number, r.epoch, r.lanes, r.error, r.scores.get("loss")] for r in came]
        engine.apply([Verdict(r.number, r.epoch == 3) for r in came if not r.error])
    print(json.dumps(reports))
"""


def limited_data():
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((1000, 784), dtype=np.float32)
    return type(SINGLE)(inputs, generator.integers(0, 10, 1000), 800, 10, (28, 28))


def limited_specs(family: str, giant: bool) -> list[TrialSpec]:
    """One to warm up, and 8 of which one may be a giant."""
    make, name = (spec, "width") if family == "mlp" else (cnn, "filters")
    small, large, huge = (8, 1024, 50_000) if family == "mlp" else (2, 8, 2048)
    common: dict[str, Value] = {"batch_size": 128, "dropout": 0.2, "n_layers": 1}
    widths = [small, *(large for _ in range(8))]
    if giant:
        widths[4] = huge
    return [make(100 if i == 0 else i, **common | {name: w}) for i, w in enumerate(widths)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
class TestLimited:
    @staticmethod
    def train(family: str, giant: bool, room: int) -> list[list[Any]]:
        """Reports ``[number, epoch, lanes, error, loss]``.

        Args:
            room: MiB beyond what the lanes themselves take.
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(LIMITED), family, "giant" * giant, str(room)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
                "OMP_NUM_THREADS": "1",
                # Each tensor has pages of its own: what fits does not depend on how the heap's
                # free parts happen to lie.
                "MALLOC_MMAP_THRESHOLD_": "65536",
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        reports: list[list[Any]] = json.loads(done.stdout)
        return reports

    def test_a_cohort_that_does_not_fit(self):
        """8 lanes' weights together take 25 MiB, the values of their neurons 4 MiB each time."""
        reports = self.train("mlp", False, 35)
        assert sorted((n, epoch) for n, epoch, *_ in reports) == [
            (n, epoch) for n in range(1, 9) for epoch in (1, 2, 3)
        ]
        assert all(error is None for *_, error, _ in reports)
        assert {lanes for _, _, lanes, _, _ in reports} <= {2, 4}

        ours = Engine(limited_data(), 0, max_lanes=8)
        ours.add(limited_specs("mlp", False)[1:])
        for epoch in (1, 2, 3):
            expected = {r.number: r.scores["loss"] for r in ours.step()}
            came = {n: loss for n, e, _, _, loss in reports if e == epoch}
            assert came == pytest.approx(expected, rel=1e-4)
            go_on(ours, [EpochReport(n, 1, 0.0, 0.0, {}, 0.0, 1) for n in expected])

    @pytest.mark.parametrize("family", ["mlp", "cnn"])
    def test_a_giant_among_others(self, family):
        """Its weights take 150 MiB; what it holds is free for the others when it has failed."""
        reports = self.train(family, True, 100)
        failures = [report for report in reports if report[3]]
        assert [(n, epoch, error) for n, epoch, _, error, _ in failures] == [(4, 1, NO_ROOM)]
        others = [(n, epoch) for n, epoch, _, error, _ in reports if not error]
        assert sorted(others) == [(n, e) for n in range(1, 9) if n != 4 for e in (1, 2, 3)]
        assert max(lanes for _, _, lanes, _, _ in reports) > 2
