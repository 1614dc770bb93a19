"""Files of ``torch.export``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from cotune.inference.export.base import KEY, Exporter, Outputs, program_of


class TorchExporter(Exporter):
    """A program of ``torch.export``."""

    name = "torch-export"
    suffix = ".pt2"

    def write(self, model: nn.Module, example: Tensor, about: str, path: Path) -> None:
        program = program_of(model, example)
        torch.export.save(program, path, extra_files={f"{KEY}.json": about})

    def load(self, model: nn.Module, path: Path) -> Callable[[Tensor], Outputs]:
        return torch.export.load(path).module()
