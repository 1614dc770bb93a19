"""Every lane does what a network trained alone does, whatever its neighbours are.

Tolerances are on the norm of a tensor: ``|a - b| <= tolerance |b|``. Lanes compute a product's sums
in another order than a network alone, so the last bits may differ.

In float64 they stay the last bits. In float32 they can grow for reasons that say nothing of the
engine: where a gradient is zero but for rounding (a pixel that is the same in the whole minibatch,
under batch norm), Adam and RMSprop make a full step of the rounding error. The float32 tests
therefore use the pixels that vary everywhere, and a small network, where no ReLU sits within
rounding of its kink.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, f1_score, log_loss
from torch import Tensor

from cotune.data.dataset import TrainingData
from cotune.engine import Engine
from cotune.lanes import Cohort, export, key_of, merge, select, start
from cotune.modelfile import module_from_weights
from cotune.models import mlp
from cotune.models.mlp import MLPShape
from cotune.optim import MOMENTS
from cotune.results import Report, TrialSpec, Value, Verdict
from cotune.runner import DeviceData, evaluate, row_order, train_epoch
from cotune.testing.reference import train_reference

FLOAT32_TOLERANCE = 1e-5  # measured: 2e-6 beside the reference, 4e-7 between cohorts
FLOAT64_TOLERANCE = 1e-10  # measured: 7e-12
RUN_SEED = 11
EPOCHS = 2  # of 25 minibatches
RATES = {"adam": 2e-3, "adamw": 2e-3, "sgd": 0.03, "rmsprop": 3e-4}
CPU = torch.device("cpu")

Weights = dict[str, NDArray[Any]]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As in a worker process; the order of the sums depends on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def digits(
    n_train: int, n_validation: int, dtype: type = np.float32, inked: float = 0.0
) -> TrainingData:
    """Rows of the digits; the pixels that more than a share ``inked`` of the images have ink in."""
    bunch = load_digits()
    pixels = bunch.data[:, (bunch.data > 0).mean(0) > inked]
    rows = np.random.default_rng(0).permutation(len(pixels))[: n_train + n_validation]
    scaled = (pixels - pixels.mean(0)) / pixels.std(0).clip(min=1e-9)
    return TrainingData(
        np.ascontiguousarray(scaled[rows].astype(dtype)),
        bunch.target[rows].astype(np.int64),
        n_train,
        10,
    )


# 25 whole minibatches and a half one that has to be left out.
SINGLE = digits(16 * 25 + 8, 300, inked=0.6)
DOUBLE = digits(32 * 25 + 16, 300, dtype=np.float64)


def spec(number: int, **params: Value) -> TrialSpec:
    small: dict[str, Value] = {
        "optimizer": "adamw",
        "n_layers": 2,
        "width": 12,
        "batch_norm": True,
        "batch_size": 16,
        "dropout": 0.0,
        "weight_decay": 1e-2,
        "momentum": 0.9,
        "epochs": 1000,
    }
    merged = small | params
    merged.setdefault("lr", RATES[str(merged["optimizer"])])
    return TrialSpec(number, merged, seed=number + 5)


def go_on(engine: Engine, reports: Sequence[Report]) -> None:
    engine.apply([Verdict(report.number, stop=False) for report in reports if not report.error])


def train(
    specs: Sequence[TrialSpec], data: TrainingData, epochs: int = EPOCHS
) -> tuple[dict[int, Weights], dict[int, list[Report]], dict[int, Weights]]:
    """All as one cohort: weights at the start, reports and weights at the end, by trial."""
    engine = Engine(data, RUN_SEED, max_lanes=len(specs))
    engine.add(specs)
    at_start = {s.number: engine.weights(s.number) for s in specs}
    reports: dict[int, list[Report]] = {s.number: [] for s in specs}
    for epoch in range(epochs):
        came = engine.step()
        assert len(came) == len(specs), "not one cohort"
        for report in came:
            reports[report.number].append(report)
        if epoch < epochs - 1:
            go_on(engine, came)
    return at_start, reports, {s.number: engine.weights(s.number) for s in specs}


def distance(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """The largest relative difference of any tensor, by its norm."""
    assert ours.keys() == theirs.keys()
    worst = 0.0
    for name in ours:
        a, b = np.asarray(ours[name]), np.asarray(theirs[name])
        assert a.shape == b.shape, name
        if not np.array_equal(a, b):
            worst = max(worst, float(np.linalg.norm(a - b) / np.linalg.norm(b)))
    return worst


def same_bits(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return ours.keys() == theirs.keys() and all(
        np.asarray(ours[name]).tobytes() == np.asarray(theirs[name]).tobytes() for name in ours
    )


def check_against_reference(
    specs: Sequence[TrialSpec], data: TrainingData, tolerance: float
) -> None:
    at_start, reports, ours = train(specs, data)
    dtype = torch.from_numpy(data.inputs).dtype
    for s in specs:
        n = s.number
        reference = train_reference(
            s.params, at_start[n], data, RUN_SEED, EPOCHS, part=s.part, dtype=dtype
        )
        assert distance(ours[n], reference[-1].weights) <= tolerance, f"trial {n}"
        for report, epoch in zip(reports[n], reference, strict=True):
            assert report.train_loss == pytest.approx(epoch.train_loss, rel=10 * tolerance)
            assert report.train_accuracy == pytest.approx(epoch.train_accuracy, abs=1e-12)
            assert report.scores == pytest.approx(epoch.scores, rel=10 * tolerance)


shapes_and_optimizers = pytest.mark.parametrize(
    ("optimizer", "batch_norm", "n_layers"),
    list(itertools.product(MOMENTS, (True, False), (1, 2, 5))),
)


class TestReference:
    @shapes_and_optimizers
    def test_float32(self, optimizer, batch_norm, n_layers):
        shape = {"optimizer": optimizer, "batch_norm": batch_norm, "n_layers": n_layers}
        check_against_reference([spec(i, **shape) for i in range(2)], SINGLE, FLOAT32_TOLERANCE)

    @shapes_and_optimizers
    def test_float64(self, optimizer, batch_norm, n_layers):
        shape = {"optimizer": optimizer, "batch_norm": batch_norm, "n_layers": n_layers}
        specs = [spec(i, **shape, width=24, batch_size=32) for i in range(2)]
        check_against_reference(specs, DOUBLE, FLOAT64_TOLERANCE)

    @pytest.mark.parametrize("precision", ["float32", "float64"])
    @pytest.mark.parametrize("optimizer", MOMENTS)
    def test_eight_lanes_of_mixed_hyperparameters(self, optimizer, precision):
        factors = (0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 0.0, 0.7)
        decays = (0.0, 1e-1, 1e-2, 1e-3, 0.3, 1e-4, 0.1, 0.0)
        momenta = (0.9, 0.0, 0.5, 0.95, 0.8, 0.0, 0.99, 0.3)
        specs = [
            spec(
                i,
                optimizer=optimizer,
                lr=RATES[optimizer] * factor,
                weight_decay=decay,
                momentum=momentum,
            )
            for i, (factor, decay, momentum) in enumerate(
                zip(factors, decays, momenta, strict=True)
            )
        ]
        if precision == "float32":
            check_against_reference(specs, SINGLE, FLOAT32_TOLERANCE)
        else:
            check_against_reference(specs, DOUBLE, FLOAT64_TOLERANCE)

    def test_layers_of_different_widths(self):
        widths: dict[str, Value] = {"width_0": 20, "width_1": 7, "width_2": 13, "n_layers": 3}
        check_against_reference([spec(i, **widths) for i in range(2)], DOUBLE, FLOAT64_TOLERANCE)

    def test_all_rows(self):
        specs = [replace(spec(i), part="all") for i in range(2)]
        check_against_reference(specs, DOUBLE, FLOAT64_TOLERANCE)

    def test_fewer_rows_than_a_minibatch(self):
        few = digits(40, 40, dtype=np.float64)
        check_against_reference([spec(0, batch_size=64)], few, FLOAT64_TOLERANCE)


class TestNeighbours:
    """Dropout is on: a lane's noise is its own."""

    def test_alone_and_among_fifteen_others(self):
        lone = spec(0, dropout=0.3)
        others = [
            spec(i, lr=1e-4 * i, dropout=0.05 * (i % 10), weight_decay=0.01 * i)
            for i in range(1, 16)
        ]
        for among in ([lone, *others], [*others, lone], [*others[:7], lone, *others[7:]]):
            _, alone_reports, alone = train([lone], SINGLE)
            _, reports, weights = train(among, SINGLE)
            assert distance(weights[0], alone[0]) <= FLOAT32_TOLERANCE
            assert reports[0][-1].train_loss == pytest.approx(alone_reports[0][-1].train_loss)

    def test_survivors_of_two_cohorts_are_merged(self):
        specs = [spec(i, dropout=0.1 * (i % 3), lr=1e-3 * (i + 1)) for i in range(8)]
        engine = Engine(SINGLE, RUN_SEED, max_lanes=4)
        engine.add(specs)
        survivors = {1, 3, 4, 6}
        for first in (0, 4):
            reports = engine.step()
            assert [r.number for r in reports] == list(range(first, first + 4))
            engine.apply([Verdict(r.number, stop=r.number not in survivors) for r in reports])
        for epoch in (2, 3):
            reports = engine.step()
            assert {(r.number, r.epoch) for r in reports} == {(n, epoch) for n in survivors}
            if epoch == 2:
                go_on(engine, reports)
        for n in survivors:
            _, _, alone = train([specs[n]], SINGLE, epochs=3)
            assert distance(engine.weights(n), alone[n]) <= FLOAT32_TOLERANCE, n

    def test_others_may_wait_while_one_trains(self):
        """A cohort is taken apart when some of its lanes are told to go on before the others."""
        specs = [spec(i, dropout=0.2) for i in range(4)]
        engine = Engine(SINGLE, RUN_SEED, max_lanes=4)
        engine.add(specs)
        engine.step()
        waiting = engine.weights(0)
        engine.apply([Verdict(2, stop=False)])
        assert [r.number for r in engine.step()] == [2]
        assert same_bits(engine.weights(0), waiting)
        engine.apply([Verdict(n, stop=False) for n in (0, 1, 3)])
        assert [r.number for r in engine.step()] == [0, 1, 3]
        for s in specs:
            _, _, alone = train([s], SINGLE)
            assert distance(engine.weights(s.number), alone[s.number]) <= FLOAT32_TOLERANCE

    def test_lanes_of_other_shapes_are_trained_apart(self):
        engine = Engine(SINGLE, RUN_SEED, max_lanes=8)
        different: list[dict[str, Value]] = [
            {},
            {"width": 13},
            {"n_layers": 3},
            {"batch_norm": False},
            {"batch_size": 8},
            {"optimizer": "sgd"},
        ]
        engine.add([spec(i, **params) for i, params in enumerate(different)])
        engine.add([replace(spec(6), part="all"), spec(7)])
        cohorts = [[r.number for r in engine.step()] for _ in range(7)]
        assert cohorts == [[0, 7], [1], [2], [3], [4], [5], [6]]
        assert engine.step() == []


class TestIsolation:
    @pytest.mark.parametrize("batch_norm", [True, False])
    @pytest.mark.parametrize("optimizer", MOMENTS)
    def test_a_diverging_lane_leaves_its_neighbours_bits(self, optimizer, batch_norm):
        specs = [
            spec(i, optimizer=optimizer, batch_norm=batch_norm, dropout=0.1 * (i % 3))
            for i in range(6)
        ]
        wild = replace(specs[2], params={**specs[2].params, "lr": 1e30})
        results = []
        for third in (specs[2], wild):
            engine = Engine(SINGLE, RUN_SEED, max_lanes=6)
            engine.add([*specs[:2], third, *specs[3:]])
            results.append((engine, {r.number: r for r in engine.step()}))
        (calm, calm_reports), (engine, reports) = results
        assert calm_reports[2].error is None
        assert reports[2].error
        assert reports[2].epoch == 1
        for n in (0, 1, 3, 4, 5):
            assert same_bits(engine.weights(n), calm.weights(n)), n
            assert replace(reports[n], seconds=0.0) == replace(calm_reports[n], seconds=0.0)

        with pytest.raises(KeyError, match="trial 2"):
            engine.weights(2)
        go_on(engine, list(reports.values()))
        assert [(r.number, r.epoch) for r in engine.step()] == [(n, 2) for n in (0, 1, 3, 4, 5)]
        assert engine.waiting == 0

    def test_a_lane_that_diverges_later(self):
        """Decoupled decay makes each step double its weights, which overflow in the third epoch."""
        engine = Engine(SINGLE, RUN_SEED, max_lanes=3)
        slow = spec(1, lr=1e-3, weight_decay=3000.0, n_layers=1, batch_norm=False)
        engine.add([spec(0, n_layers=1, batch_norm=False), slow])
        epochs: dict[int, list[int]] = {0: [], 1: []}
        errors = []
        while engine.waiting and len(epochs[0]) < 5:
            reports = engine.step()
            for report in reports:
                epochs[report.number].append(report.epoch)
                if report.error:
                    errors.append((report.number, report.epoch))
            go_on(engine, reports)
        assert errors == [(1, 3)]
        assert epochs == {0: [1, 2, 3, 4, 5], 1: [1, 2, 3]}

    @pytest.mark.parametrize("batch_norm", [True, False])
    @pytest.mark.parametrize("optimizer", MOMENTS)
    def test_in_the_last_step_of_all_rows(self, optimizer, batch_norm):
        """The loss before the step is finite and nothing is validated after it."""
        specs = [
            spec(i, optimizer=optimizer, batch_norm=batch_norm, batch_size=1000, lr=lr)
            for i, lr in enumerate((1e-3, 1e39))
        ]
        engine = Engine(SINGLE, RUN_SEED, max_lanes=2)
        engine.add([replace(s, part="all") for s in specs])
        calm, wild = engine.step()
        assert calm.steps == 1
        assert calm.error is None
        assert np.isfinite(wild.train_loss)
        assert wild.error


class TestCohorts:
    """Taking cohorts apart and putting them together moves bits and changes none."""

    @staticmethod
    def trained(optimizer: str, numbers: Sequence[int]) -> Cohort:
        data = DeviceData.load(SINGLE, CPU)
        specs = [spec(i, optimizer=optimizer, dropout=0.3, lr=1e-3 * (i + 1)) for i in numbers]
        key = key_of(specs[0], SINGLE.inputs.shape[1], SINGLE.n_classes)
        cohort = merge([start(s, key, CPU) for s in specs])
        train_epoch(cohort, data, RUN_SEED)
        return cohort

    @staticmethod
    def assert_same(ours: Cohort, theirs: Cohort) -> None:
        def plain(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.tolist()
            if isinstance(value, torch.Generator):
                return value.get_state().tolist()
            if isinstance(value, dict):
                return {name: plain(part) for name, part in value.items()}
            return [plain(part) for part in value] if isinstance(value, list) else value

        for field in fields(Cohort):
            a, b = getattr(ours, field.name), getattr(theirs, field.name)
            assert plain(a) == plain(b), field.name

    @pytest.mark.parametrize("optimizer", MOMENTS)
    def test_select_and_merge(self, optimizer):
        whole = self.trained(optimizer, range(5))
        parts = [select(whole, [i]) for i in range(5)]
        self.assert_same(merge(parts), whole)
        self.assert_same(merge([select(whole, [0, 1]), select(whole, [2, 3, 4])]), whole)
        self.assert_same(select(whole, range(5)), whole)
        turned = select(whole, [4, 0, 3])
        assert [s.number for s in turned.specs] == [4, 0, 3]
        self.assert_same(select(turned, [1, 2]), select(whole, [0, 3]))
        for lane in range(5):
            assert same_bits(export(parts[lane], 0), export(whole, lane))

    def test_a_selection_is_a_copy(self):
        data = DeviceData.load(SINGLE, CPU)
        whole, untouched = self.trained("adam", range(3)), self.trained("adam", range(3))
        copy = select(whole, [0, 1, 2])
        train_epoch(copy, data, RUN_SEED)
        self.assert_same(whole, untouched)
        train_epoch(whole, data, RUN_SEED)
        self.assert_same(copy, whole)

    def test_an_exported_lane_is_a_copy(self):
        cohort = self.trained("adam", range(2))
        exported = export(cohort, 1)
        before = {name: value.clone() for name, value in exported.items()}
        train_epoch(cohort, DeviceData.load(SINGLE, CPU), RUN_SEED)
        assert same_bits(exported, before)
        assert not same_bits(exported, export(cohort, 1))

    def test_only_like_lanes_can_be_merged(self):
        cohort = self.trained("adam", [0])
        fresh = start(spec(1, optimizer="adam"), cohort.key, CPU)
        other = self.trained("sgd", [0])
        for stranger in (fresh, other):
            with pytest.raises(ValueError, match="same shape and epoch"):
                merge([cohort, stranger])

    @pytest.mark.parametrize("batch_norm", [True, False])
    def test_an_exported_lane_is_its_module_twin(self, batch_norm):
        specs = [spec(i, batch_norm=batch_norm, n_layers=3, dropout=0.2) for i in range(3)]
        key = key_of(specs[0], SINGLE.inputs.shape[1], SINGLE.n_classes)
        cohort = merge([start(s, key, CPU) for s in specs])
        train_epoch(cohort, DeviceData.load(SINGLE, CPU), RUN_SEED)
        rows = torch.from_numpy(SINGLE.inputs)
        logits = mlp.forward(
            key.shape, cohort.views(cohort.weights), cohort.buffers, rows, cohort.dropout, None
        )
        for lane in range(3):
            exported = {name: value.numpy() for name, value in export(cohort, lane).items()}
            twin = module_from_weights(key.shape, [0.2] * 3, exported)
            with torch.no_grad():
                torch.testing.assert_close(twin(rows), logits[:, lane], rtol=1e-5, atol=1e-6)

    def test_a_cancelled_cohort_is_gone(self):
        engine = Engine(SINGLE, RUN_SEED, max_lanes=2)
        engine.add([spec(0), spec(1), spec(2)])
        asked = iter([False, False, True])
        assert engine.step(cancelled=lambda: next(asked)) == []
        assert next(asked, None) is None
        assert engine.waiting == 1
        assert [r.number for r in engine.step()] == [2]
        engine.apply([Verdict(0, stop=True)])  # gone already

    def test_a_stopped_lane_is_not_trained_again(self):
        engine = Engine(SINGLE, RUN_SEED, max_lanes=1)
        engine.add([spec(0), spec(1)])
        engine.apply([Verdict(0, stop=True)])
        (report,) = engine.step()
        assert report.number == 1
        engine.apply([Verdict(1, stop=False)])
        engine.apply([Verdict(1, stop=True)])
        assert engine.waiting == 0
        assert engine.step() == []


class TestDropout:
    """Seen from outside: hidden units that are 1 and weights that pass them on to the logits."""

    BATCH, WIDTH = 400, 50

    def drawn(
        self, rates: Sequence[Sequence[float]], seeds: Sequence[int], training: bool = True
    ) -> list[Tensor]:
        """What is left of the units, ``[batch, width]`` a lane.

        Args:
            rates: For each layer, a rate for each lane.
        """
        lanes, width = len(seeds), self.WIDTH
        shape = MLPShape(3, (width,) * len(rates), False, width)
        one = torch.eye(width).expand(lanes, width, width)
        parameters = {f"hidden.{i}.weight": one for i in range(len(rates))}
        parameters |= {f"hidden.{i}.bias": torch.zeros(lanes, width) for i in range(len(rates))}
        parameters["hidden.0.weight"] = torch.zeros(lanes, width, 3)
        parameters["hidden.0.bias"] = torch.ones(lanes, width)
        parameters |= {"head.weight": one, "head.bias": torch.zeros(lanes, width)}
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        logits = mlp.forward(
            shape,
            parameters,
            {},
            torch.zeros(self.BATCH, 3),
            [torch.tensor(layer) for layer in rates],
            generators if training else None,
        )
        return list(logits.unbind(1))

    def test_each_lane_has_its_own_rate(self):
        rates = [0.0, 0.05, 0.2, 0.5, 0.9]
        zeros = np.zeros(len(rates))
        draws = 25
        for draw in range(draws):
            units = self.drawn([rates], seeds=range(10 * draw, 10 * draw + len(rates)))
            for lane, rate in enumerate(rates):
                zeros[lane] += int((units[lane] == 0).sum())
                # What is kept makes up for what is not.
                kept = units[lane][units[lane] != 0]
                torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)))
        n = draws * self.BATCH * self.WIDTH
        for lane, rate in enumerate(rates):
            # 6 standard deviations of a binomial count: passed by chance alone 2e-9 of the time.
            assert abs(zeros[lane] - n * rate) <= 6 * np.sqrt(n * rate * (1 - rate)), rate

    def test_no_two_units_rows_lanes_or_layers_share_their_noise(self):
        first, second = self.drawn([[0.5, 0.5]], seeds=[1, 2])
        for a, b in [
            (first, second),
            (first[0::2], first[1::2]),
            (first[:, 0::2], first[:, 1::2]),
            (self.drawn([[0.0], [0.5]], seeds=[1])[0], second),
        ]:
            agree = ((a == 0) == (b == 0)).float()
            n = agree.numel()
            assert abs(agree.sum() - n / 2) <= 6 * np.sqrt(n / 4)

    @pytest.mark.parametrize("own", [(0.3, 0.3), (0.0, 0.3), (0.3, 0.0)])
    @pytest.mark.parametrize("neighbour", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.7, 0.2)])
    def test_the_noise_does_not_depend_on_neighbours(self, own, neighbour):
        alone = self.drawn([[own[0]], [own[1]]], seeds=[7])[0]
        layers = [[neighbour[i], own[i], neighbour[i]] for i in range(2)]
        among = self.drawn(layers, seeds=[1, 7, 2])[1]
        assert torch.equal(alone, among)

    def test_none_in_evaluation(self):
        assert self.drawn([[0.5]], seeds=[1], training=False)[0].eq(1).all()

    def test_the_noise_is_not_what_the_weights_were_made_of(self):
        one = spec(0, dropout=0.5)
        cohort = start(one, key_of(one, 32, 10), CPU)
        weights = export(cohort, 0)["hidden.0.weight"].flatten()
        uniform = (weights - weights.min()) / (weights.max() - weights.min())
        noise = torch.empty_like(uniform).uniform_(generator=cohort.generators[0])
        correlation = np.corrcoef(uniform, noise)[0, 1]
        assert abs(correlation) < 5 / np.sqrt(len(uniform))


class TestRepeats:
    def test_the_same_seed_gives_the_same_bits(self):
        specs = [spec(i, dropout=0.2) for i in range(4)]
        _, reports, weights = train(specs, SINGLE)
        torch.manual_seed(99)  # PyTorch's global state has no part in it
        _, again_reports, again = train(specs, SINGLE)
        for n in range(4):
            assert same_bits(weights[n], again[n])
            assert [replace(r, seconds=0.0) for r in reports[n]] == [
                replace(r, seconds=0.0) for r in again_reports[n]
            ]

    def test_another_trial_seed_gives_other_weights(self):
        twins = [replace(spec(i), seed=seed) for i, seed in enumerate((1, 2))]
        at_start, _, _ = train(twins, SINGLE)
        assert not same_bits(at_start[0], at_start[1])

    def test_another_run_seed_gives_another_order(self):
        losses = []
        for seed in (1, 1, 2):
            engine = Engine(SINGLE, seed)
            engine.add([spec(0)])
            losses.append(engine.step()[0].train_loss)
        assert losses[0] == losses[1] != losses[2]

    def test_the_order_of_the_rows_depends_on_seed_and_epoch_alone(self):
        orders = {(s, e): row_order(97, s, e).tolist() for s in range(3) for e in range(3)}
        assert all(sorted(order) == list(range(97)) for order in orders.values())
        assert len({tuple(order) for order in orders.values()}) == 9
        torch.manual_seed(3)
        torch.randperm(5)
        assert row_order(97, 2, 1).tolist() == orders[2, 1]

    def test_a_lane_that_comes_later_has_the_same_order(self):
        """Epochs are the lane's own: what the engine has trained before does not matter."""
        _, _, expected = train([spec(9, dropout=0.2)], SINGLE)
        engine = Engine(SINGLE, RUN_SEED)
        engine.add([spec(0), spec(1, width=8)])
        for _ in range(6):
            go_on(engine, engine.step())
        engine.apply([Verdict(n, stop=True) for n in (0, 1)])
        engine.add([spec(9, dropout=0.2)])
        go_on(engine, engine.step())
        engine.step()
        assert same_bits(engine.weights(9), expected[9])


class TestScores:
    @pytest.mark.parametrize("dropped_class", [None, 9])
    def test_are_scikit_learns(self, dropped_class):
        """1,300 rows: more than are evaluated at a time."""
        data = digits(480, 1300)
        if dropped_class is not None:  # one that the validation part lacks, as may be predicted
            in_training = np.arange(len(data.labels)) < data.n_train
            kept = in_training | (data.labels != dropped_class)
            data = replace(data, inputs=data.inputs[kept], labels=data.labels[kept])
        specs = [spec(i, lr=lr, n_layers=1) for i, lr in enumerate((0.0, 1e-3, 1e-2))]
        key = key_of(specs[0], data.inputs.shape[1], data.n_classes)
        cohort = merge([start(s, key, CPU) for s in specs])
        on_device = DeviceData.load(data, CPU)
        train_epoch(cohort, on_device, RUN_SEED)
        scores = evaluate(cohort, on_device)
        rows, truth = torch.from_numpy(data.inputs[480:]), data.labels[480:]
        accuracies = []
        for lane in range(3):
            exported = {name: value.numpy() for name, value in export(cohort, lane).items()}
            with torch.no_grad():
                logits = module_from_weights(key.shape, [0.0], exported)(rows).double()
            guess = logits.argmax(1).numpy()
            accuracies.append(accuracy_score(truth, guess))
            expected = {
                "loss": log_loss(truth, logits.softmax(1).numpy(), labels=range(10)),
                "accuracy": accuracies[-1],
                "f1": f1_score(truth, guess, average="macro", labels=range(10), zero_division=0.0),
            }
            ours = {name: float(values[lane]) for name, values in scores.items()}
            assert ours == pytest.approx(expected, rel=1e-6)
        assert accuracies == sorted(set(accuracies))  # three that can be told apart
