"""The path of a GPU without one: no step mixes devices, and none makes the host wait."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cotune.data.dataset import TrainingData
from cotune.engine.cohorts.base import Cohort
from cotune.engine.cuda_graph import CapturedStep
from cotune.engine.engine import Engine
from cotune.engine.lane import AVERAGE_EVERY, Lane, averages, start
from cotune.engine.networks import CUSTOM, CustomNetwork
from cotune.engine.networks.custom.architecture import CustomArchitecture
from cotune.engine.optim import MOMENTS
from cotune.engine.step import DeviceData, evaluate, make_cohort, train_epoch
from cotune.exceptions import StorageError
from cotune.records import TrialSpec, Value
from cotune.space.hyperparameters import defaults
from tests.engine.test_parity_cnn import grey
from tests.support.device_path import META, OnDevice, on_device
from tests.support.parity import CPU, SINGLE, cnn, spec

OPTIONS: tuple[dict[str, Value], ...] = (
    {"dropout": 0.3},
    {"clip_norm": 0.5, "class_weight": 1.0, "warmup": 1.5},
    {"label_smoothing": 0.1, "schedule": "one-cycle", "dropout": 0.1},
    {"schedule": "plateau", "momentum": 0.0},
    {"nesterov": True, "class_weight": 0.4, "label_smoothing": 0.2},
)


def small(trial):
    return nn.Sequential(
        nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 10)
    )


def specs_of(make, **params: Value) -> list[TrialSpec]:
    """Every option, by every optimizer."""
    return [
        replace(
            make(i, optimizer=optimizer, **OPTIONS[i % len(OPTIONS)], **params), averaged=i % 2 == 0
        )
        for i, optimizer in enumerate(MOMENTS)
    ]


def to_device(lane: Lane) -> None:
    for tensors in (
        lane.parameters,
        lane.buffers,
        lane.best,
        lane.average,
        *lane.moments.values(),
    ):
        tensors.update({name: value.to(META) for name, value in tensors.items()})
    lane.steps = lane.steps.to(META)
    if isinstance(lane.architecture, CustomArchitecture):
        lane.architecture.live.to(META)


def there(
    data: TrainingData,
    streamed: bool = False,
    stacked: bool = True,
    custom: CustomNetwork | None = None,
) -> DeviceData:
    here = DeviceData.load(data, CPU, custom=custom)
    inputs = here.inputs if streamed else here.inputs.to(META)
    return replace(
        here,
        inputs=inputs,
        labels=here.labels.to(META),
        is_streamed=streamed,
        is_stacked=stacked,
    )


def cohort_of(kind: str, n_train: int = 400, streamed: bool = False) -> tuple[Cohort, DeviceData]:
    data = grey()
    folds = np.arange(n_train) % 3 + 1
    data = replace(
        data,
        inputs=data.inputs[: n_train + 100],
        labels=data.labels[: n_train + 100],
        n_train=n_train,
        fold_of=folds,
    )
    moved: dict[str, Value] = {"shift": 1, "flip": True, "erase": 0.2}
    custom = CustomNetwork(small) if kind in ("modules", "module alone") else None
    on_meta = there(data, streamed, kind != "ragged", custom)
    if kind == "cnn":
        specs = specs_of(cnn, **moved)
    elif custom is not None:
        specs = specs_of(
            lambda i, **params: TrialSpec(
                i,
                {**defaults(CUSTOM), "model": CUSTOM, "batch_size": 16, **params},
                i,
            )
        )
        specs = specs[:1] if kind == "module alone" else specs
    else:
        specs = specs_of(
            lambda i, **params: spec(i, n_layers=1 + i % 3, width=9 + i, **params), **moved
        )
    lanes = []
    for one in specs:
        one = replace(one, fold=1)
        lane = start(one, data.input_shape, data.n_classes, CPU, custom=custom)
        to_device(lane)
        lane.alone = "it is" if kind == "module alone" else ""
        lanes.append(lane)
    return make_cohort(lanes, on_meta), on_meta


def an_epoch(kind: str, n_train: int, streamed: bool = False, captured: bool = False) -> OnDevice:
    cohort, data = cohort_of(kind, n_train, streamed)
    if captured:
        cohort.captured = CapturedStep(
            data.inputs,
            data.labels,
            data.input_shape,
            16,
            cohort.lanes[0].key.augmentation,
            len(cohort.lanes),
        )
    with on_device() as noted:
        trained = train_epoch(cohort, data, 7)
        with averages(cohort.lanes):
            scores = evaluate(cohort, data)
        cohort.are_finite()
    assert trained
    assert trained[2] >= AVERAGE_EVERY
    assert all(value.is_meta for value in (*scores.values(), *trained[:2]))
    return noted


KINDS = ("stacked", "ragged", "cnn", "modules", "module alone")
CAPTURED = ("stacked", "ragged", "cnn")


@pytest.mark.parametrize("streamed", [False, True], ids=["on the device", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_waits_for_nothing_and_mixes_nothing(kind, streamed):
    few, many = (an_epoch(kind, n, streamed) for n in (200, 232))
    for noted in (few, many):
        assert noted.mixed == []
        assert noted.waits == []
    # The rows' order and what augmentation drew, once an epoch, however many steps it has.
    assert many.copies == few.copies
    assert len(many.copies) <= 5


@pytest.mark.parametrize("kind", ["stacked", "ragged"])
def test_an_epoch_of_steps_that_could_be_captured(kind):
    few, many = (an_epoch(kind, n, captured=True) for n in (200, 232))
    assert many.mixed == many.waits == []
    assert many.copies == few.copies


@pytest.mark.parametrize("kind", CAPTURED)
def test_a_graph_could_hold_the_step(kind):
    """Nothing comes from the host in it, not even without waiting."""
    cohort, data = cohort_of(kind)
    key = cohort.lanes[0].key
    captured = CapturedStep(
        data.inputs, data.labels, data.input_shape, 16, key.augmentation, len(cohort.lanes)
    )
    with on_device() as noted:
        losses, hits = captured._step(cohort)
    assert losses.shape == hits.shape == (len(cohort.lanes),)
    assert noted.in_graph == noted.copies == noted.mixed == noted.waits == []


class TestTheNet:
    """It catches what it is there for."""

    def test_mixed_devices(self):
        with on_device() as noted:
            torch.zeros(3, device=META).index_select(0, torch.tensor([1]))
        assert noted.mixed == ["aten.index_select.default"]

    def test_reading_a_value(self):
        with on_device() as noted, pytest.raises(RuntimeError):
            torch.zeros(3, device=META).sum().item()
        assert noted.waits == ["aten._local_scalar_dense.default"]

    def test_a_mask(self):
        values = torch.zeros(3, device=META)
        with on_device() as noted, pytest.raises((RuntimeError, NotImplementedError)):
            values[values > 0]
        assert noted.waits

    def test_copies_that_block(self):
        place = torch.zeros(3, device=META)
        with on_device() as noted:
            torch.zeros(3).to(META)
            place.copy_(torch.zeros(3))
            torch.tensor([1.0], device=META)
        assert len(noted.copies) == 3
        assert len(noted.in_graph) == 2

    def test_copies_that_do_not(self):
        place = torch.zeros(3, device=META)
        with on_device() as noted:
            torch.zeros(3).to(META, non_blocking=True)
            place.copy_(torch.zeros(3), non_blocking=True)
            place.copy_(torch.zeros(3, device=META))
            place.to(torch.float64)
            torch.zeros(3).to(torch.float64)
        assert noted.copies == []
        assert len(noted.in_graph) == 2

    def test_a_file_of_lanes_is_a_copy_from_the_device(self):
        with on_device() as noted, pytest.raises((RuntimeError, NotImplementedError)):
            torch.zeros(3, device=META).cpu()
        assert noted.copies


def test_a_device_that_fails_is_one_line():
    """No random numbers can be drawn on meta."""
    with pytest.raises(
        StorageError, match=r"^device: meta failed: .*; use --device cpu$"
    ) as caught:
        Engine(SINGLE, 7, "meta", max_lanes=1).add([spec(0)])
    assert "\n" not in str(caught.value)
