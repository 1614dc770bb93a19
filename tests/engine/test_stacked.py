"""Lanes that are padded and stacked, as on a GPU, do what they do side by side on a CPU."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cotune.engine.cohorts import mlp, stacked_mlp
from cotune.engine.cohorts.mlp import MLPCohort
from cotune.engine.cohorts.stacked_mlp import StackedMLPCohort
from cotune.engine.cuda_graph import CapturedStep
from cotune.engine.engine import Engine
from cotune.engine.lane import Lane
from cotune.engine.optim import MOMENTS
from cotune.engine.schedules import SCHEDULES
from cotune.engine.step import STACKED, DeviceData, evaluate, make_cohort, train_epoch
from cotune.records import TrialSpec, Value, Verdict
from tests.engine.test_memory import BROKEN_OFF, fail_at, summary
from tests.engine.test_parity import bits, mixed
from tests.engine.test_parity_options import INKED, OPTIONS, of_all_options, skewed
from tests.support.parity import (
    DOUBLE,
    FLOAT32_TOLERANCE,
    FLOAT64_TOLERANCE,
    RATES,
    RUN_SEED,
    SINGLE,
    check_against_reference,
    distance,
    go_on,
    same_bits,
    spec,
    start_lanes,
    train,
    train_beside_a_diverging_lane,
)

norms = pytest.mark.parametrize("batch_norm", [True, False])


@pytest.fixture
def stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STACKED, "1")


def every_optimizer(count: int, **params: Value) -> list[TrialSpec]:
    """Perceptrons of 1-5 layers and 3-16 neurons, by all optimizers and with all options."""
    specs = []
    for i, one in enumerate(mixed(count, **params)):
        own: dict[str, Value] = {
            **OPTIONS[i % len(OPTIONS)],
            "optimizer": tuple(MOMENTS)[i % 5],
            "nesterov": i % 2 == 0,
            "momentum": (0.9, 0.5, 0.0)[i % 3],
            "beta1": (0.9, 0.0, 0.7)[i % 3],
            "beta2": (0.999, 0.9)[i % 2],
        }
        own["lr"] = RATES[str(own["optimizer"])]
        specs.append(replace(one, params={**one.params, **own}, averaged=i % 3 == 0))
    return specs


@pytest.mark.usefixtures("stacked")
class TestReference:
    @norms
    @pytest.mark.parametrize("optimizer", MOMENTS)
    def test_float64(self, optimizer, batch_norm):
        shape = {"optimizer": optimizer, "batch_norm": batch_norm, "width": 24, "batch_size": 32}
        specs = [spec(n, **shape, n_layers=n) for n in (1, 2, 5)]
        check_against_reference(specs, DOUBLE, FLOAT64_TOLERANCE)

    @norms
    def test_widths_depths_and_optimizers_in_float32(self, batch_norm):
        check_against_reference(mixed(12, batch_norm=batch_norm), SINGLE, FLOAT32_TOLERANCE)

    @norms
    def test_all_options(self, batch_norm):
        specs = [
            replace(one, params={**one.params, "n_layers": 1 + i % 3, "width": 9 + i})
            for i, one in enumerate(of_all_options(spec, batch_norm=batch_norm))
        ]
        check_against_reference(specs, skewed(INKED), FLOAT64_TOLERANCE)

    def test_every_schedule_of_every_optimizer(self):
        pairs = itertools.product(MOMENTS, SCHEDULES)
        specs = [
            spec(i, optimizer=o, schedule=s, epochs=2, n_layers=1 + i % 3, width=10 + i % 5)
            for i, (o, s) in enumerate(pairs)
        ]
        check_against_reference(specs, INKED, FLOAT64_TOLERANCE)


def both(
    specs: Sequence[TrialSpec], data: Any, epochs: int, stacked_in: Sequence[bool]
) -> tuple[list[Lane], list[Tensor]]:
    """Lanes after some epochs, each stacked or not, and the losses of those."""
    lanes, on_device = start_lanes(specs, data)
    losses = []
    for epoch in range(epochs):
        here = replace(on_device, is_stacked=stacked_in[epoch])
        for lane in lanes:
            lane.leave()
        cohort = make_cohort(lanes, here)
        assert type(cohort) is (StackedMLPCohort if stacked_in[epoch] else MLPCohort)
        trained = train_epoch(cohort, here, RUN_SEED)
        assert trained
        by_lane = dict(zip(map(id, cohort.lanes), trained[0], strict=True))
        losses.append(torch.stack([by_lane[id(lane)] for lane in lanes]))
    return lanes, losses


def states(lane: Lane) -> dict[str, Tensor]:
    """All tensors that decide how a lane goes on, but SGD's and RMSprop's moments at rate 0."""
    kinds = {"weights": lane.parameters, "buffers": lane.buffers, "average": lane.average}
    kinds |= dict(lane.moments)
    if lane.rates.momentum == 0.0:
        kinds.pop("velocity", None)  # one has the last gradient, the other nothing
    return {f"{kind}.{n}": v for kind, tensors in kinds.items() for n, v in tensors.items()}


class TestSideBySide:
    @norms
    def test_the_state_is_the_same_whichever_way_it_came(self, batch_norm):
        """A lane may change between a CPU and a GPU after any epoch."""
        specs = every_optimizer(15, batch_norm=batch_norm)
        expected, expected_losses = both(specs, INKED, 3, (False, False, False))
        for ways in ((True, True, True), (True, False, True), (False, True, False)):
            lanes, losses = both(specs, INKED, 3, ways)
            for ours, theirs in zip(losses, expected_losses, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0.0)
            for lane, other in zip(lanes, expected, strict=True):
                assert distance(states(lane), states(other)) < 1e-9, lane.spec
                assert lane.averaged == other.averaged
                assert lane.steps == other.steps

    @norms
    def test_float32(self, batch_norm):
        specs = [one for one in every_optimizer(15, batch_norm=batch_norm) if one.number % 5 != 4]
        assert "muon" not in {one.params["optimizer"] for one in specs}
        expected, _ = both(specs, SINGLE, 2, (False, False))
        lanes, _ = both(specs, SINGLE, 2, (True, True))
        for lane, other in zip(lanes, expected, strict=True):
            assert distance(lane.parameters, other.parameters) < 10 * FLOAT32_TOLERANCE

    def test_scores(self):
        specs = every_optimizer(8)
        results = []
        for is_stacked in (False, True):
            lanes, on_device = start_lanes(specs, INKED)
            here = replace(on_device, is_stacked=is_stacked)
            cohort = make_cohort(lanes, here)
            train_epoch(cohort, here, RUN_SEED)
            scores = evaluate(cohort, here, auc=True)
            order = {id(lane): i for i, lane in enumerate(cohort.lanes)}
            results.append(
                {n: [float(v[order[id(lane)]]) for lane in lanes] for n, v in scores.items()}
            )
        for name, values in results[0].items():
            assert values == pytest.approx(results[1][name], rel=1e-6), name

    def test_sixteen_bits_are_those_of_the_first_layer(self):
        specs = [spec(i, width=9 + i, n_layers=1 + i % 3) for i in range(4)]
        ended = []
        for is_stacked in (False, True):
            lanes, on_device = start_lanes(specs, SINGLE)
            here = replace(on_device, is_stacked=is_stacked)
            train_epoch(make_cohort(lanes, here, bfloat16=True), here, RUN_SEED)
            ended.append([lane.state_dict() for lane in lanes])
        lanes, on_device = start_lanes(specs, SINGLE)
        train_epoch(make_cohort(lanes, on_device), on_device, RUN_SEED)
        for ours, theirs, wide in zip(*ended, lanes, strict=True):
            assert distance(ours, theirs) < 0.05
            assert distance(ours, wide.state_dict()) > 1e-5

    def test_a_rate_that_is_a_tensor(self):
        specs = every_optimizer(10)
        ended = []
        for is_captured in (False, True):
            lanes, on_device = start_lanes(specs, SINGLE)
            data = replace(on_device, is_stacked=True)
            cohort = make_cohort(lanes, data)
            if is_captured:
                cohort.captured = CapturedStep(
                    data.inputs, data.labels, data.input_shape, 16, lanes[0].key.augmentation, 10
                )
            train_epoch(cohort, data, RUN_SEED)
            ended.append([lane.state_dict() for lane in lanes])
        assert all(map(same_bits, *ended))


@norms
def test_padding_stays_exactly_zero(batch_norm):
    lanes, on_device = start_lanes(every_optimizer(15, batch_norm=batch_norm, dropout=0.3), SINGLE)
    data = replace(on_device, is_stacked=True)
    cohort = make_cohort(lanes, data)
    assert isinstance(cohort, StackedMLPCohort)
    for _ in range(2):
        train_epoch(cohort, data, RUN_SEED)
    used = torch.zeros_like(cohort._rows.weights, dtype=torch.bool)
    stacked = cohort._stacked(used)
    for i, lane in enumerate(cohort.lanes):
        for name, value in lane.parameters.items():
            stacked[name][i][tuple(map(slice, value.shape))] = True
    assert not used.all()
    assert cohort._average is not None
    rows = cohort._rows
    for value in (rows.weights, rows.gradients, rows.mean, rows.square, cohort._average):
        assert (value[~used] == 0.0).all()
    assert (rows.weights[used] != 0.0).float().mean() > 0.9


class TestDropout:
    def test_steps_are_those_of_the_masks(self):
        """Beside PyTorch's own backward pass, with the same masks."""
        specs = [
            spec(
                i, n_layers=1 + i, width=9 + 3 * i, dropout=rate, optimizer="sgd", weight_decay=0.0
            )
            for i, rate in enumerate((0.3, 0.0, 0.6))
        ]
        lanes, data = start_lanes(specs, INKED)
        expected = {}
        cohort = StackedMLPCohort(lanes, 16)
        rows, labels = data.inputs[:16], data.labels[:16]
        noise = cohort._noise.of_step(cohort._steps)
        masks = [dropout.draw(noise) for dropout in cohort._dropouts]
        for i, lane in enumerate(cohort.lanes):
            leaves = {n: v.clone().requires_grad_() for n, v in lane.parameters.items()}
            hidden = rows
            for layer in range(int(lane.spec.params["n_layers"])):
                hidden = F.linear(hidden, leaves[f"hidden.{layer}.weight"])
                gain, bias = leaves[f"norm.{layer}.weight"], leaves[f"norm.{layer}.bias"]
                hidden = F.relu(F.batch_norm(hidden, None, None, gain, bias, training=True))
                mask = masks[layer]
                assert mask is not None
                own = mask[:, i, : hidden.shape[1]]
                rate = float(lane.spec.params["dropout"])
                assert sorted(set(own.unique().tolist())) == pytest.approx(
                    sorted({0.0, 1 / (1 - rate)} if rate else {1.0}), rel=1e-6
                )
                hidden = hidden * own
            logits = F.linear(hidden, leaves["head.weight"], leaves["head.bias"])
            slopes = torch.autograd.grad(F.cross_entropy(logits, labels), list(leaves.values()))
            stepped = zip(leaves.items(), slopes, strict=True)
            expected[i] = {n: (v - lane.rates.lr * slope).detach() for (n, v), slope in stepped}
        cohort.step(rows, labels, [1.0] * 3)
        for i, lane in enumerate(cohort.lanes):
            assert distance(lane.parameters, expected[i]) < 1e-12

    def test_noise_does_not_depend_on_neighbours_and_differs_between_steps_lanes_and_layers(self):
        lane = spec(1, n_layers=2, width=40, dropout=0.5)
        wide = spec(2, n_layers=3, width=70, dropout=0.2)
        masks = []
        for group in ([lane], [wide, lane, spec(3, width=41, dropout=0.5)]):
            lanes, _ = start_lanes(group, SINGLE)
            cohort = StackedMLPCohort(lanes, 64)
            place = [one.spec.number for one in cohort.lanes].index(1)
            for step in (0.0, 1.0):
                cohort._steps.fill_(step)
                noise = cohort._noise.of_step(cohort._steps)
                drawn = [dropout.draw(noise) for dropout in cohort._dropouts[:2]]
                masks += [mask[:, place, :40] for mask in drawn if mask is not None]
        assert len(masks) == 8
        for alone, among in zip(masks[:4], masks[4:], strict=True):
            assert torch.equal(alone, among)
        for one, other in itertools.combinations(masks[:4], 2):
            assert (one == other).float().mean().item() == pytest.approx(0.5, abs=0.06)

    @pytest.mark.parametrize("rate", [0.1, 0.5, 0.95])
    def test_its_share_is_the_rate(self, rate):
        lanes, _ = start_lanes([spec(i, width=400, dropout=rate) for i in range(3)], SINGLE)
        cohort = StackedMLPCohort(lanes, 500)
        mask = cohort._dropouts[0].draw(cohort._noise.of_step(cohort._steps))
        assert mask is not None
        n, dropped = mask.numel(), (mask == 0.0).double()
        assert abs(dropped.mean().item() - rate) < 6 * (rate * (1 - rate) / n) ** 0.5
        for side in (0, 2):  # neither rows nor neurons are dropped as a whole
            share = dropped.mean(side)
            assert share.std().item() == pytest.approx(
                (rate * (1 - rate) / mask.shape[side]) ** 0.5, rel=0.2
            )


@pytest.mark.usefixtures("stacked")
class TestEngine:
    @norms
    @pytest.mark.parametrize("optimizer", MOMENTS)
    def test_a_diverging_lane_leaves_its_neighbours_bits(self, optimizer, batch_norm):
        train_beside_a_diverging_lane(optimizer, batch_norm)

    def test_moving_between_cohorts_keeps_the_state(self):
        lanes, data = start_lanes(every_optimizer(8, dropout=0.3), SINGLE)
        train_epoch(make_cohort(lanes, data), data, RUN_SEED)
        before = [bits(lane) for lane in lanes]
        for group in ([4, 0, 3], [2], [7, 6, 5, 4, 3, 2, 1, 0], [1, 2]):
            make_cohort([lanes[i] for i in group], data)
            assert [bits(lane) for lane in lanes] == before

    def test_a_lane_goes_on_bit_for_bit_from_a_file(self, tmp_path):
        specs = every_optimizer(6, dropout=0.2)
        engine = Engine(SINGLE, RUN_SEED, max_lanes=6)
        engine.add(specs)
        for _ in range(2):
            go_on(engine, engine.step())
        engine.save(tmp_path / "lanes")
        other = Engine(SINGLE, RUN_SEED, max_lanes=6)
        other.resume(specs, [tmp_path / "lanes"])
        for each in (engine, other):
            go_on(each, each.step())
        for one in specs:
            assert same_bits(engine.weights(one.number), other.weights(one.number))

    @pytest.mark.parametrize("first", [True, False], ids=["stacked first", "stacked then"])
    def test_a_run_goes_on_on_another_device(self, first, monkeypatch, tmp_path):
        specs = every_optimizer(10)
        ended = []
        for ways in ((False, False), (first, not first)):
            weights = None
            for part, way in enumerate(ways):
                monkeypatch.setenv(STACKED, "1") if way else monkeypatch.delenv(STACKED, False)
                engine = Engine(INKED, RUN_SEED, max_lanes=10)
                engine.resume(specs, [tmp_path / "lanes"] if part else [])
                reports = engine.step()
                assert [r.epoch for r in reports] == [part + 1] * 10
                go_on(engine, reports)
                engine.save(tmp_path / "lanes")
                weights = [engine.weights(one.number) for one in specs]
            ended.append(weights)
        for ours, theirs in zip(*ended, strict=True):
            assert distance(ours, theirs) < 1e-9

    @pytest.mark.parametrize("name", ["_share", "_heads", "_backward"])
    def test_where_memory_runs_out_lanes_go_on_in_halves(self, monkeypatch, name):
        trials = [spec(i, dropout=0.3, n_layers=3, width=10 + i) for i in range(4)]
        _, _, expected = train(trials, SINGLE, epochs=1)
        fail_at(monkeypatch, stacked_mlp.StackedMLPCohort, name, [1])
        engine = Engine(SINGLE, RUN_SEED, max_lanes=4)
        engine.add(trials)
        reports = [*engine.step(), *engine.step()]
        assert summary(reports) == [(n, 1, 2, None) for n in range(4)]
        for n in range(4):
            assert distance(engine.weights(n), expected[n]) < 1e-5

    def test_lanes_that_changed_fail(self, monkeypatch):
        fail_at(monkeypatch, stacked_mlp.StackedMLPCohort, "_backward", [3])
        engine = Engine(SINGLE, RUN_SEED, max_lanes=4)
        engine.add([spec(i) for i in range(4)])
        assert summary(engine.step()) == [(n, 1, 1, BROKEN_OFF) for n in range(4)]


class Lacking(TorchDispatchMode):
    """A device without batched products, from some call of them on."""

    def __init__(self, calls: int = 0) -> None:
        super().__init__()
        self._calls = calls

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.bmm.out:
            self._calls -= 1
            if self._calls < 0:
                raise NotImplementedError("the operator 'aten::bmm' is missing here.\nSee ...")
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("stacked")
class TestWithoutAnOperation:
    WARNING = (
        "^training networks one by one, more slowly: the operator 'aten::bmm' is missing here.$"
    )

    def test_lanes_go_on_side_by_side(self, monkeypatch):
        specs = every_optimizer(6)
        engine = Engine(SINGLE, RUN_SEED, max_lanes=6)
        engine.add(specs)
        go_on(engine, engine.step())
        with Lacking(), pytest.warns(UserWarning, match=self.WARNING):
            reports = engine.step()
        assert summary(reports) == [(n, 2, 6, None) for n in range(6)]
        (cohort,) = engine._cohorts.values()
        assert isinstance(cohort, mlp.MLPCohort)
        monkeypatch.delenv(STACKED)
        expected = Engine(SINGLE, RUN_SEED, max_lanes=6)
        expected.add(specs)
        go_on(expected, expected.step())
        expected.step()
        for one in specs:
            ours, theirs = engine.weights(one.number), expected.weights(one.number)
            assert distance(ours, theirs) < (1e-2 if one.params["optimizer"] == "muon" else 1e-4)

    def test_in_mid_epoch_those_that_changed_fail(self):
        engine = Engine(SINGLE, RUN_SEED, max_lanes=2)
        engine.add([spec(0), spec(1), spec(2)])
        with Lacking(30), pytest.warns(UserWarning, match=self.WARNING):
            reports = engine.step()
        why = (
            "the operator 'aten::bmm' is missing here., "
            "in mid-epoch, when its weights had changed already"
        )
        assert summary(reports) == [(n, 1, 1, why) for n in (0, 1)]
        assert summary(engine.step()) == [(2, 1, 1, None)]


class TestGraphs:
    """Where no graph can be made, as on any CPU."""

    def test_the_step_goes_on_without(self, monkeypatch):
        monkeypatch.setattr(CapturedStep, "works", True)
        specs = [spec(i, dropout=0.3) for i in range(3)]
        ended = []
        for fails in (False, True):
            lanes, data = start_lanes(specs, SINGLE)
            cohort = make_cohort(lanes, data)
            step = CapturedStep(
                data.inputs, data.labels, data.input_shape, 16, lanes[0].key.augmentation, 3
            )
            cohort.captured = step
            if fails:
                step._until_capture = 0
                warning = "^training without CUDA graphs, more slowly: [^\n]+$"
                with pytest.warns(UserWarning, match=warning):
                    train_epoch(cohort, data, RUN_SEED)
                assert not CapturedStep.works
            else:
                train_epoch(cohort, data, RUN_SEED)
            ended.append([bits(lane) for lane in lanes])
        assert ended[0] == ended[1]


def test_selected_by_the_device(monkeypatch):
    monkeypatch.delenv(STACKED, False)
    assert not DeviceData.load(SINGLE, torch.device("cpu")).is_stacked
    assert DeviceData.load(SINGLE, torch.device("meta")).is_stacked


def test_a_verdict_to_stop_compacts_the_rows(monkeypatch):
    monkeypatch.setenv(STACKED, "1")
    engine = Engine(SINGLE, RUN_SEED, max_lanes=4)
    engine.add([spec(i, width=10 + 10 * i) for i in range(4)])
    engine.step()
    engine.apply([Verdict(n, stop=n > 1) for n in range(4)])
    engine.step()
    (cohort,) = engine._cohorts.values()
    assert isinstance(cohort, StackedMLPCohort)
    assert cohort._width == [20, 20]
    assert np.isfinite(engine.weights(1)["head.bias"]).all()
