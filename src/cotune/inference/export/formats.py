"""Export formats by name; a new one is a module here and a line in ``_BUILT_IN``."""

from __future__ import annotations

from typing import Final

from cotune.inference.export.base import Exporter
from cotune.inference.export.onnx import OnnxExporter
from cotune.inference.export.tensors import SafetensorsExporter
from cotune.inference.export.torch_export import TorchExporter
from cotune.inference.export.torchscript import TorchScriptExporter

_BUILT_IN: Final[tuple[type[Exporter], ...]] = (
    OnnxExporter,
    TorchExporter,
    SafetensorsExporter,
    TorchScriptExporter,
)

FORMATS: Final[dict[str, Exporter]] = {kind.name: kind() for kind in _BUILT_IN}
"""Formats by name; add one from outside the package by an entry."""
