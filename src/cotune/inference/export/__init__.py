"""A tuned model as a file for other programs: ONNX, torch.export, TorchScript, safetensors."""

from __future__ import annotations

from cotune.inference.export.base import Exporter
from cotune.inference.export.formats import FORMATS
from cotune.inference.export.write import (
    TOLERANCE,
    Exported,
    check_format,
    export,
    write_checked,
)

__all__ = [
    "FORMATS",
    "TOLERANCE",
    "Exported",
    "Exporter",
    "check_format",
    "export",
    "write_checked",
]
