"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from cotune.inference.export.base import KEY, Exporter, Outputs, program_of


class OnnxExporter(Exporter):
    """ONNX: one file with its weights inside."""

    name = "onnx"
    suffix = ".onnx"
    needs = ("onnx", "onnxruntime", "onnxscript")

    def write(self, model: nn.Module, example: Tensor, about: str, path: Path) -> None:
        graph = torch.onnx.export(
            program_of(model, example),
            (example,),
            input_names=["rows"],
            output_names=["logits", "probabilities"],
            dynamic_shapes={"rows": {0: "batch"}},
            dynamo=True,
            verbose=False,
        )
        assert graph is not None
        graph.model.metadata_props[KEY] = about
        graph.save(path, external_data=False)

    def load(self, model: nn.Module, path: Path) -> Callable[[Tensor], Outputs]:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def run(rows: Tensor) -> Outputs:
            logits, probabilities = session.run(None, {"rows": rows.numpy()})
            return torch.from_numpy(logits), torch.from_numpy(probabilities)

        return run
