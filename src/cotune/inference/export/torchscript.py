"""TorchScript files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from cotune.inference.export.base import KEY, Exporter, Outputs


class TorchScriptExporter(Exporter):
    """A traced TorchScript module."""

    name = "torchscript"
    suffix = ".pt"

    def write(self, model: nn.Module, example: Tensor, about: str, path: Path) -> None:
        traced = torch.jit.trace(model, (example,), check_trace=False)
        torch.jit.save(traced, path, _extra_files={f"{KEY}.json": about})

    def load(self, model: nn.Module, path: Path) -> Callable[[Tensor], Outputs]:
        loaded: Callable[[Tensor], Outputs] = torch.jit.load(path)
        return loaded
