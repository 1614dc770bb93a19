"""A step from tensors that stay in place, and, on a GPU, from a graph."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from cotune.engine.cuda_graph import CapturedStep
from cotune.engine.engine import Engine
from cotune.engine.schedules import SCHEDULES
from cotune.engine.step import make_cohort, train_epoch
from cotune.records import TrialSpec
from tests.engine.test_parity_cnn import grey
from tests.support.parity import CPU, RUN_SEED, SINGLE, cnn, distance, go_on, spec, start_lanes

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def trials(family) -> list[TrialSpec]:
    optimizers = itertools.cycle(("adam", "adamw", "sgd", "rmsprop"))
    return [
        family(
            i,
            optimizer=next(optimizers),
            schedule=schedule,
            epochs=2,
            dropout=0.0,
            warmup=0.5 * (i % 2),
            clip_norm=0.5 * (i % 3),
            class_weight=0.3 * (i % 3),
        )
        for i, schedule in enumerate(SCHEDULES)
    ]


@pytest.mark.parametrize(
    ("data", "moves"),
    [(SINGLE, {}), (grey(), {"shift": 2, "flip": True, "erase": 0.3})],
    ids=["rows", "images"],
)
def test_rates_that_are_tensors_make_the_same_steps_as_numbers(data, moves):
    """What a graph needs of the step, without a graph."""
    specs = [replace(one, params={**one.params, **moves}) for one in trials(spec)]
    lanes, _ = start_lanes(specs, data)
    in_place, data = start_lanes(specs, data)
    key = lanes[0].key
    assert bool(key.augmentation) == bool(moves)
    cohort, other = make_cohort(lanes, data), make_cohort(in_place, data)
    other.captured = CapturedStep(
        data.inputs, data.labels, data.input_shape, 16, key.augmentation, len(lanes)
    )
    for _ in range(2):
        ours, theirs = train_epoch(other, data, RUN_SEED), train_epoch(cohort, data, RUN_SEED)
        assert ours
        assert theirs
        assert torch.allclose(ours[0], theirs[0], rtol=1e-5)
        assert torch.equal(ours[1], theirs[1])
    for a, b in zip(in_place, lanes, strict=True):
        assert distance(a.parameters, b.parameters) < 1e-5
    assert in_place[0].parameters["head.weight"].device == CPU


@on_a_gpu
@pytest.mark.parametrize("family", [spec, cnn])
def test_a_graph_trains_as_the_cpu_does(family):
    data = SINGLE if family is spec else grey()
    weights = []
    for device in ("cpu", "cuda"):
        engine = Engine(data, RUN_SEED, device, max_lanes=len(SCHEDULES))
        engine.add(trials(family))
        go_on(engine, engine.step())
        engine.step()
        if device == "cuda":
            (cohort,) = engine._cohorts.values()
            assert cohort.captured is not None
            assert cohort.captured._graph is not None
        weights.append([engine.weights(i) for i in range(len(SCHEDULES))])
    for ours, theirs in zip(*weights, strict=True):
        assert distance(ours, theirs) < 1e-3


@on_a_gpu
def test_every_replay_draws_its_own_noise():
    engine = Engine(SINGLE, RUN_SEED, "cuda", max_lanes=1)
    engine.add([spec(0, dropout=0.5, lr=0.0, optimizer="sgd")])
    lane = engine._lanes[0]
    before = lane.generator.get_state()
    engine.step()
    assert not torch.equal(lane.generator.get_state(), before)
