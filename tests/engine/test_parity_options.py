"""Options of the training do what PyTorch's own do, beside neighbours that have other values."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from cotune.data.dataset import TrainingData
from cotune.engine.optim import MOMENTS
from cotune.engine.schedules import SCHEDULES
from cotune.records import TrialSpec, Value
from tests.engine.test_parity_cnn import grey
from tests.support.parity import (
    FLOAT32_TOLERANCE,
    FLOAT64_TOLERANCE,
    RUN_SEED,
    SINGLE,
    check_against_reference,
    cnn,
    digits,
    distance,
    spec,
    train,
)
from tests.support.reference import train_reference

INKED = digits(16 * 25 + 8, 300, dtype=np.float64, inked=0.6)

OPTIONS: tuple[dict[str, Value], ...] = (
    {},
    {"clip_norm": 0.5, "class_weight": 1.0, "warmup": 1.5},
    {"clip_norm": 0.1, "label_smoothing": 0.1, "schedule": "plateau", "plateau_patience": 0},
    {"class_weight": 0.4, "label_smoothing": 0.2, "schedule": "one-cycle", "warmup": 0.3},
    {"schedule": "cosine", "warmup": 1.0},
    {"class_weight": 1.0, "schedule": "plateau", "plateau_factor": 0.5, "warmup": 0.1},
)


def skewed(data: TrainingData) -> TrainingData:
    """The rows without most of those of the later classes."""
    draws = np.random.default_rng(4).random(len(data.labels))
    kept = draws < 0.75**data.labels
    kept[: 2 * data.n_classes] = True  # all classes occur
    return replace(
        data,
        inputs=data.inputs[kept],
        labels=data.labels[kept],
        n_train=int(kept[: data.n_train].sum()),
    )


def of_all_options(family, **params: Value) -> list[TrialSpec]:
    """Every option beside every other one, and beside none, of all optimizers."""
    return [
        family(i, epochs=2, optimizer=tuple(MOMENTS)[i % 4], **{**options, **params})
        for i, options in enumerate(OPTIONS)
    ]


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_mixed_in_one_cohort_of_perceptrons(batch_norm, precision):
    specs = [
        replace(one, params={**one.params, "n_layers": 1 + i % 3, "width": 9 + i})
        for i, one in enumerate(of_all_options(spec, batch_norm=batch_norm))
    ]
    if precision == "float32":
        check_against_reference(specs, skewed(SINGLE), FLOAT32_TOLERANCE)
    else:
        check_against_reference(specs, skewed(INKED), FLOAT64_TOLERANCE)


def test_mixed_in_one_cohort_of_cnns():
    check_against_reference(of_all_options(cnn), skewed(grey(np.float64)), FLOAT64_TOLERANCE)


def test_on_all_rows():
    """Of whose classes the weights are then; a plateau is one of the training's loss."""
    specs = [replace(one, part="all") for one in of_all_options(spec)]
    check_against_reference(specs, skewed(INKED), FLOAT64_TOLERANCE)


@pytest.mark.parametrize("optimizer", MOMENTS)
def test_clipping_alone(optimizer):
    check_against_reference(
        [
            spec(i, optimizer=optimizer, clip_norm=norm, width=8 + i)
            for i, norm in enumerate((0.0, 0.02, 0.5, 5.0))
        ],
        INKED,
        FLOAT64_TOLERANCE,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
def test_class_weights_alone(smoothing):
    check_against_reference(
        [
            spec(i, class_weight=weight, label_smoothing=smoothing * (i % 2))
            for i, weight in enumerate((0.0, 0.3, 1.0, 1.0))
        ],
        skewed(INKED),
        FLOAT64_TOLERANCE,
    )


def test_warming_up_to_every_schedule():
    pairs = itertools.product(SCHEDULES, (0.0, 0.02, 0.5, 3.0))
    check_against_reference(
        [
            spec(i, schedule=schedule, warmup=warmup, epochs=2)
            for i, (schedule, warmup) in enumerate(pairs)
        ],
        INKED,
        FLOAT64_TOLERANCE,
    )


class TestPlateau:
    """Rates so high that the loss stalls at once."""

    SPECS = tuple(
        spec(
            i,
            optimizer="sgd",
            momentum=0.0,
            lr=lr,
            schedule=schedule,
            plateau_factor=factor,
            plateau_patience=patience,
        )
        for i, (lr, schedule, factor, patience) in enumerate(
            [
                (2.0, "plateau", 0.1, 0),
                (2.0, "plateau", 0.5, 1),
                (1.5, "plateau", 0.5, 0),
                (0.01, "plateau", 0.1, 0),
                (1.0, "constant", 0.1, 0),
            ]
        )
    )

    @pytest.mark.parametrize("part", ["train", "all"])
    def test_is_torchs(self, part):
        specs = [replace(one, part=part) for one in self.SPECS]
        at_start, reports, ours = train(specs, INKED, epochs=7)
        for one in specs:
            n = one.number
            reference, steady = (
                train_reference(
                    {**one.params, "schedule": schedule},
                    at_start[n],
                    INKED,
                    RUN_SEED,
                    7,
                    part,
                    torch.float64,
                )
                for schedule in (one.params["schedule"], "constant")
            )
            # Steps as long as these multiply the rounding.
            assert distance(ours[n], reference[-1].weights) <= 1e-6
            losses = [report.train_loss for report in reports[n]]
            assert losses == pytest.approx([epoch.train_loss for epoch in reference], rel=1e-6)
            fell = distance(reference[-1].weights, steady[-1].weights) > 1e-3
            assert fell == (n < 3)
