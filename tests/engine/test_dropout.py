"""Dropout seen from outside: hidden units that are 1 and weights that pass them on to the logits.

Counts may be off by 6 standard deviations, which chance alone is 2e-9 of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from cotune.data.dataset import TrainingData
from cotune.engine.cohorts import cnn as cohort_cnn
from cotune.engine.cohorts.mlp import MLPCohort
from cotune.engine.lane import Lane
from cotune.records import Value
from tests.support.parity import cnn, spec, start_lanes

BATCH, WIDTH = 400, 50
LEVELS = 1 << 16  # a perceptron's rates are multiples of 1/65,536
DATA = TrainingData(
    np.zeros((BATCH, 4), np.float32), np.zeros(BATCH, np.int64), BATCH, WIDTH, (2, 2)
)
ROWS, LABELS = torch.from_numpy(DATA.inputs), torch.from_numpy(DATA.labels)


def perceptrons(rates: Sequence[Sequence[float]], seeds: Sequence[int]) -> list[Lane]:
    """Lanes whose every unit is 1 before its dropout.

    Args:
        rates: For each lane, a rate for each layer.
    """
    specs = []
    for i, (layers, seed) in enumerate(zip(rates, seeds, strict=True)):
        own: dict[str, Value] = {f"dropout_{j}": rate for j, rate in enumerate(layers)}
        plain: dict[str, Value] = {"optimizer": "sgd", "lr": 0.0, "batch_norm": False}
        trial = spec(i, n_layers=len(layers), width=WIDTH, batch_size=BATCH, **own | plain)
        specs.append(replace(trial, seed=seed))
    lanes, _ = start_lanes(specs, DATA)
    for lane in lanes:
        for value in lane.parameters.values():
            value.copy_(torch.eye(*value.shape) if value.ndim == 2 else torch.zeros_like(value))
        lane.parameters["hidden.0.bias"].fill_(1.0)
    return lanes


def drawn(rates: Sequence[Sequence[float]], seeds: Sequence[int]) -> list[Tensor]:
    """What is left of the units, ``[batch, width]`` a lane."""
    lanes = perceptrons(rates, seeds)
    cohort = MLPCohort(lanes, BATCH)
    cohort.step(ROWS, LABELS, [1.0] * len(lanes))
    by_lane = dict(zip(map(id, cohort.lanes), cohort._logits.unbind(1), strict=True))
    return [by_lane[id(lane)] for lane in lanes]


def check_share(dropped: float, n: int, rate: float) -> None:
    assert abs(dropped - n * rate) <= 6 * np.sqrt(n * rate * (1 - rate)), rate


class TestPerceptrons:
    def test_each_lane_has_its_own_rate(self):
        rates = [0.0, 0.05, 0.2, 0.37, 0.5, 0.9, 1 / 3, 0.95]
        zeros = np.zeros(len(rates))
        draws = 25
        for draw in range(draws):
            units = drawn([[rate] for rate in rates], range(10 * draw, 10 * draw + len(rates)))
            for lane, rate in enumerate(rates):
                zeros[lane] += int((units[lane] == 0).sum())
                # What is kept makes up for what is not.
                kept = units[lane][units[lane] != 0]
                scale = 1 / (1 - round(rate * LEVELS) / LEVELS)
                torch.testing.assert_close(kept, torch.full_like(kept, scale))
                assert scale == pytest.approx(1 / (1 - rate), rel=2e-4)
        for lane, rate in enumerate(rates):
            check_share(zeros[lane], draws * BATCH * WIDTH, rate)

    def test_a_rate_of_zero_changes_no_bit(self):
        alone, among = drawn([[0.0]], [1])[0], drawn([[0.5], [0.0]], [2, 1])[1]
        assert alone.eq(1.0).all()
        assert among.eq(1.0).all()

    def test_no_two_units_rows_lanes_or_layers_share_their_noise(self):
        first, second = drawn([[0.5], [0.5]], [1, 2])
        of_second_layer = drawn([[0.0, 0.5], [0.5, 0.5]], [1, 1])
        pairs = [(first, second), (of_second_layer[0], second), (first[:, 0::2], first[:, 1::2])]
        # One random number is the noise of four units.
        pairs += [(first[distance:], first[:-distance]) for distance in (1, 2, 3)]
        flat = first.flatten()
        pairs += [(flat[distance:], flat[:-distance]) for distance in (1, 2, 3, 4)]
        for a, b in pairs:
            agree = ((a == 0) == (b == 0)).float()
            check_share(float(agree.sum()), agree.numel(), 0.5)
        # Two layers in a row let a quarter through, if their noise has nothing in common.
        check_share(float((of_second_layer[1] == 0).sum()), BATCH * WIDTH, 0.75)

    @pytest.mark.parametrize("own", [(0.3, 0.3), (0.0, 0.3), (0.3, 0.0)])
    @pytest.mark.parametrize(
        "neighbour", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.7, 0.2), (0.4,), (0.0, 0.0, 0.6)]
    )
    def test_the_noise_does_not_depend_on_neighbours(self, own, neighbour):
        (alone,) = drawn([own], [7])
        assert torch.equal(alone, drawn([neighbour, own, neighbour], [1, 7, 2])[1])
        assert alone.eq(0).any()

    def test_no_two_steps_share_their_noise(self):
        (lane,) = perceptrons([[0.5]], [1])
        cohort = MLPCohort([lane], BATCH)
        steps = []
        for _ in range(2):
            cohort.step(ROWS, LABELS, [1.0])
            steps.append(cohort._logits[:, 0] == 0)
        agree = (steps[0] == steps[1]).float()
        check_share(float(agree.sum()), agree.numel(), 0.5)

    def test_none_in_evaluation(self):
        cohort = MLPCohort(perceptrons([[0.5], [0.3, 0.9]], [1, 2]), BATCH)
        assert cohort.logits(ROWS).eq(1.0).all()

    def test_what_is_dropped_passes_no_gradient(self):
        """The head's gradient is the units times the logits' slope: none where a unit is off."""
        trial = spec(0, optimizer="sgd", lr=1.0, momentum=0.0, weight_decay=0.0, dropout=0.5)
        batch: dict[str, Value] = {"batch_norm": False, "batch_size": 1}
        trial = replace(trial, params={**trial.params, "width": WIDTH, "n_layers": 1, **batch})
        (lane,), _ = start_lanes([trial], DATA)
        lane.parameters["hidden.0.bias"].fill_(1.0)
        cohort = MLPCohort([lane], 1)
        before = {name: value.clone() for name, value in lane.parameters.items()}
        cohort.step(ROWS[:1], LABELS[:1], [1.0])
        moved = {name: (lane.parameters[name] - value) != 0 for name, value in before.items()}
        kept = moved["head.weight"].any(0)
        assert 0 < kept.sum() < WIDTH
        assert torch.equal(moved["hidden.0.bias"], kept)


@pytest.mark.parametrize("family", [spec, cnn])
def test_the_noise_is_not_what_the_weights_were_made_of(family):
    (lane,), _ = start_lanes([family(0, dropout=0.5, width=300, filters=300)], DATA)
    name = "hidden.0.weight" if family is spec else "conv.0.weight"
    weights = lane.parameters[name].flatten()
    uniform = (weights - weights.min()) / (weights.max() - weights.min())
    noise = torch.empty_like(uniform).uniform_(generator=lane.generator)
    correlation = np.corrcoef(uniform, noise)[0, 1]
    assert abs(correlation) < 5 / np.sqrt(len(uniform))


class TestConvolutions:
    @staticmethod
    def lanes(rates: Sequence[float], seeds: Sequence[int]) -> list[Lane]:
        specs = [
            replace(cnn(i, dropout=rate, dense_width=WIDTH, lr=0.0, batch_size=BATCH), seed=seed)
            for i, (rate, seed) in enumerate(zip(rates, seeds, strict=True))
        ]
        lanes, _ = start_lanes(specs, DATA)
        for lane in lanes:
            lane.parameters["dense.weight"].zero_()
            lane.parameters["dense.bias"].fill_(1.0)
            lane.parameters["head.weight"].copy_(torch.eye(WIDTH))
            lane.parameters["head.bias"].zero_()
        return lanes

    def drawn(self, rate: float, seed: int) -> Tensor:
        (lane,) = self.lanes([rate], [seed])
        return cohort_cnn._logits(lane, lane.parameters, ROWS, training=True)

    @pytest.mark.parametrize("rate", [0.0, 0.05, 0.37, 0.9])
    def test_each_lane_has_its_own_rate(self, rate):
        units = torch.stack([self.drawn(rate, seed) for seed in range(10)])
        check_share(float((units == 0).sum()), units.numel(), rate)
        kept = units[units != 0]
        torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)))

    def test_each_lane_has_its_own_noise(self):
        agree = ((self.drawn(0.5, 1) == 0) == (self.drawn(0.5, 2) == 0)).float()
        check_share(float(agree.sum()), agree.numel(), 0.5)
        assert torch.equal(self.drawn(0.5, 1), self.drawn(0.5, 1))

    def test_none_in_evaluation(self):
        cohort = cohort_cnn.CNNCohort(self.lanes([0.5, 0.9], [1, 2]))
        assert cohort.logits(ROWS).eq(1.0).all()
