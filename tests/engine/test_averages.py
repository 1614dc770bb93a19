"""Weights averaged over the latest steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cotune.engine.engine import Engine
from cotune.engine.lane import AVERAGE_EVERY, averages
from cotune.engine.networks import MLPArchitecture
from cotune.engine.step import make_cohort, train_epoch
from tests.engine.test_parity_cnn import grey
from tests.support.parity import (
    RUN_SEED,
    SINGLE,
    cnn,
    distance,
    go_on,
    same_bits,
    spec,
    start_lanes,
    train,
)


def averaged(number: int, **params):
    return replace(spec(number, **params), averaged=True)


@pytest.mark.parametrize("make", [spec, cnn])
def test_an_average_leaves_the_training_as_it_is(make):
    own, other = make(0), replace(make(0), averaged=True)
    data = SINGLE if make is spec else grey()
    _, _, plain = train([own], data)
    engine = Engine(data, RUN_SEED, max_lanes=1)
    engine.add([other])
    go_on(engine, engine.step())
    engine.step()
    lane = engine._lanes[0]
    assert same_bits(plain[0], {**lane.parameters, **lane.buffers})


def test_it_is_of_about_the_last_ninth_of_the_steps():
    """Of the numbers 1, 2, ... n the average lies at (1 + 8 n) / 9 and a bit."""
    (lane,), _ = start_lanes([averaged(0)], SINGLE)
    n = 900
    for i in range(1, n + 1):
        for value in (*lane.parameters.values(), *lane.buffers.values()):
            value.fill_(float(i))
        lane.accumulate()
    for value in lane.average.values():
        assert value.flatten()[0].item() == pytest.approx(n * 9 / 10, rel=0.01)
        assert value.min() == value.max()


def test_the_first_state_is_the_average():
    (lane,), _ = start_lanes([averaged(0)], SINGLE)
    lane.parameters["head.bias"].fill_(3.0)
    lane.accumulate()
    assert torch.equal(lane.average["head.bias"], lane.parameters["head.bias"])


def test_every_eighth_step_goes_in():
    (lane,), data = start_lanes([averaged(0)], SINGLE)
    trained = train_epoch(make_cohort([lane], data), data, RUN_SEED)
    assert trained
    assert lane.averaged == trained[2] // AVERAGE_EVERY


def test_the_average_is_scored_kept_and_handed_out():
    specs = [averaged(0), spec(1), averaged(2, width=20)]
    engine = Engine(SINGLE, RUN_SEED, max_lanes=3)
    engine.add(specs)
    reports = {report.number: report for report in engine.step()}
    lanes = [engine._lanes[s.number] for s in specs]
    for lane in lanes:
        number = lane.spec.number
        now = {**lane.parameters, **lane.buffers}
        model = engine.weights(number)
        assert same_bits(model, engine.weights(number, best=True))
        assert same_bits(model, lane.average if lane.spec.averaged else now)
        if lane.spec.averaged:
            assert distance(model, now) > 1e-3
        assert isinstance(lane.architecture, MLPArchitecture)
        network = lane.architecture.module([0.0, 0.0]).eval()
        network.load_state_dict({name: torch.from_numpy(v) for name, v in model.items()})
        rows, labels = SINGLE.inputs[SINGLE.n_train :], SINGLE.labels[SINGLE.n_train :]
        predicted = network(torch.from_numpy(rows)).argmax(1).numpy()
        assert reports[number].scores["accuracy"] == np.mean(predicted == labels)


def test_within_averages_the_weights_are_the_averages_and_after_them_what_they_were():
    lanes, data = start_lanes([averaged(0), spec(1)], SINGLE)
    train_epoch(make_cohort(lanes, data), data, RUN_SEED)
    before = [{n: v.clone() for n, v in lane.parameters.items()} for lane in lanes]
    with averages(lanes):
        for name, value in lanes[0].parameters.items():
            assert torch.equal(value, lanes[0].average[name])
        assert same_bits(before[1], lanes[1].parameters)
    assert all(same_bits(b, lane.parameters) for b, lane in zip(before, lanes, strict=True))
