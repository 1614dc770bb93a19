"""Safetensors files: the tensors alone, with the architecture in their description."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from cotune.inference.export.base import KEY, Exporter, Outputs


class SafetensorsExporter(Exporter):
    """Weights, statistics and the constants of the preprocessing, by name."""

    name = "safetensors"
    suffix = ".safetensors"

    def write(self, model: nn.Module, example: Tensor, about: str, path: Path) -> None:
        # Tensors that share their memory, as tied weights may, are stored apart.
        tensors = {name: value.detach().clone() for name, value in _tensors(model).items()}
        path.write_bytes(safetensors.torch.save(tensors, metadata={KEY: about}))

    def load(self, model: nn.Module, path: Path) -> Callable[[Tensor], Outputs]:
        again = copy.deepcopy(model)
        saved = safetensors.torch.load_file(path)
        for name, value in _tensors(again).items():
            value.data = saved.pop(name)
        assert not saved
        return again


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    (inner,) = model.children()
    return {**dict(inner.named_parameters()), **dict(inner.named_buffers())}
