"""The interface of an export format: how a kind of file is written and run again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

KEY: Final = "cotune"
"""Name of the description in a file."""

Outputs = tuple[Tensor, Tensor]
"""Logits and probabilities, ``[batch, classes]`` each."""


class Exporter(ABC):
    """A format: it writes a file, and runs it with the program that the file is for.

    Attributes:
        name: What users call it, and the extra that installs what it needs.
        suffix: Of its files.
        needs: Modules beside Cotune's own requirements.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def write(self, model: nn.Module, example: Tensor, about: str, path: Path) -> None:
        """Write the file.

        Args:
            model: From ``rows`` to :data:`Outputs`.
            example: Some rows.
            about: The description, which goes into the file.
        """

    @abstractmethod
    def load(self, model: nn.Module, path: Path) -> Callable[[Tensor], Outputs]:
        """Return the file as a function of rows.

        Args:
            model: The one that was written.
        """


def program_of(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """Return the graph of a model for any number of rows."""
    batch = torch.export.Dim("batch")
    return torch.export.export(model, (example,), dynamic_shapes={"rows": {0: batch}})
