"""Toys of what can be added to Cotune, registered from outside the package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import cotune
from cotune.engine.cohorts.base import Cohort
from cotune.engine.families import register, unregister
from cotune.engine.families.base import Family, read_count
from cotune.engine.lane import Lane
from cotune.engine.networks import Architecture, Network
from cotune.engine.optim import update
from cotune.exceptions import SpaceError
from cotune.inference.export import FORMATS, Exporter
from cotune.inference.export.base import Outputs
from cotune.records import Value
from cotune.space.hyperparameters import HyperparameterSpec


class Linear(Network):
    """One linear layer on scaled rows."""

    def __init__(self, architecture: LinearArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.head = nn.Linear(architecture.n_inputs, architecture.n_classes)

    def describe(self) -> dict[str, Any]:
        return {"family": "linear", **asdict(self.architecture)}

    def forward(self, rows: Tensor) -> Tensor:
        logits: Tensor = self.head(rows * self.architecture.gain)
        return logits


@dataclass(frozen=True)
class LinearArchitecture(Architecture):
    n_inputs: int
    n_classes: int
    gain: int

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"head.weight": (self.n_classes, self.n_inputs), "head.bias": (self.n_classes,)}

    def module(self, dropout: Sequence[float]) -> Linear:
        return Linear(self)


class LinearCohort(Cohort):
    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = list(lanes)

    def step(
        self, rows: Tensor, labels: Tensor, lr_factors: Sequence[float] | Tensor
    ) -> tuple[Tensor, Tensor]:
        losses, hits = [], []
        factors: list[float | Tensor] = list(lr_factors)
        for lane, factor in zip(self.lanes, factors, strict=True):
            weights = [value.detach().requires_grad_() for value in lane.parameters.values()]
            logits = F.linear(rows * float(lane.spec.params["gain"]), *weights)
            loss = F.cross_entropy(logits, labels)
            gradients = list(torch.autograd.grad(loss, weights))
            lane.steps.add_(1)
            moments = {name: list(own.values()) for name, own in lane.moments.items()}
            parameters = list(lane.parameters.values())
            update(lane.rates, factor, parameters, gradients, moments, lane.steps)
            losses.append(loss.detach())
            hits.append((logits.argmax(1) == labels).sum())
        return torch.stack(losses), torch.stack(hits)

    def logits(self, rows: Tensor) -> Tensor:
        of_lanes = [
            F.linear(rows * float(lane.spec.params["gain"]), *lane.parameters.values())
            for lane in self.lanes
        ]
        return torch.stack(of_lanes, 1)


class LinearFamily(Family):
    name = "linear"
    hyperparameters: ClassVar = {"gain": HyperparameterSpec(int, 1, 1, 9)}

    def architecture(
        self,
        params: Mapping[str, Value],
        input_shape: tuple[int, ...],
        n_classes: int,
        seed: int = 0,
    ) -> LinearArchitecture:
        return LinearArchitecture(int(np.prod(input_shape)), n_classes, int(params["gain"]))

    def dropout_rates(self, params: Mapping[str, Value]) -> list[float]:
        return []

    def cohort(
        self,
        lanes: Sequence[Lane],
        batch_size: int,
        bfloat16: bool = False,
        balanced: Tensor | None = None,
    ) -> LinearCohort:
        return LinearCohort(lanes)

    def read(
        self, described: Mapping[str, Any], params: Any
    ) -> tuple[LinearArchitecture, list[float]]:
        sizes = {name: read_count(described[name]) for name in ("n_inputs", "n_classes", "gain")}
        return LinearArchitecture(**sizes), []


class WeightsExporter(Exporter):
    """The one layer as a file of tensors, without the preprocessing."""

    name = "layer"
    suffix = ".layer"

    def write(self, model: nn.Module, example: Tensor, about: str, path: Path) -> None:
        save_file(dict(model.state_dict()), path, {"about": about})

    def load(self, model: nn.Module, path: Path) -> Callable[[Tensor], Outputs]:
        model.load_state_dict(load_file(path))
        return model


@pytest.fixture
def linear() -> Iterator[None]:
    register(LinearFamily())
    yield
    unregister("linear")


SPACE: dict[str, Any] = {
    "model": "linear",
    "gain": {"type": "int", "low": 1, "high": 3},
    "lr": 0.01,
    "batch_size": 32,
    "epochs": 5,
}


class TestFamily:
    @pytest.mark.usefixtures("linear")
    def test_a_toy_is_trained_saved_and_loaded(self, tmp_path):
        result = cotune.run(
            "digits", space=SPACE, n_trials=3, workers="in-process", out=tmp_path / "run"
        )
        assert (result.test_accuracy or 0.0) > 0.8
        model = cotune.load(tmp_path / "run")
        assert isinstance(model.network, Linear)
        assert 1 <= model.network.architecture.gain <= 3
        done = cotune.export(tmp_path / "run", "safetensors")
        assert done.difference == 0.0

    @pytest.mark.usefixtures("linear")
    def test_other_families_hyperparameters_are_refused(self, tmp_path):
        with pytest.raises(SpaceError, match="width: is for model mlp, this space is for model l"):
            cotune.run("digits", space={**SPACE, "width": 8}, n_trials=1, out=tmp_path / "run")

    def test_it_is_gone_when_it_was_taken_out(self, tmp_path):
        with pytest.raises(SpaceError, match="'linear' is not one of mlp, cnn"):
            cotune.run("digits", space={"model": "linear", "epochs": 3}, out=tmp_path / "run")


class TestExporter:
    def test_a_toy_is_written_and_checked(self, tmp_path, monkeypatch):
        monkeypatch.setitem(FORMATS, "layer", WeightsExporter())
        space = {"lr": {"type": "float", "low": 0.001, "high": 0.01}, "epochs": 1}
        cotune.run("digits", space=space, n_trials=1, workers="in-process", out=tmp_path / "run")
        done = cotune.export(tmp_path / "run", "layer")
        assert done.path == tmp_path / "run" / "export" / "model.layer"
        assert done.difference == 0.0
