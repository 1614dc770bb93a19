"""Writing a tuned model as a file for other programs, checked before it is put in its place.

Every file takes rows as they are in the data, preprocessing included, and is read back by the
program that it is for and compared with PyTorch.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from cotune.arguments import named
from cotune.engine.networks.custom.given import ModelLike
from cotune.exceptions import CotuneError, UsageError, writing
from cotune.inference.ensemble import Ensemble, ensemble_folder
from cotune.inference.export.base import Exporter, Outputs
from cotune.inference.export.formats import FORMATS
from cotune.inference.export.rows import rows_dtype, sample_rows
from cotune.inference.model_file import model_folder, read_card
from cotune.inference.predict import Predictor, load_predictor, rows_shape, run_of
from cotune.runs.paths import check_not_own
from cotune.runs.source import recorded_source
from cotune.version import VERSION

TOLERANCE: Final = 1e-4
"""Largest difference from PyTorch: of probabilities, and of logits relative to the largest, if
above 1."""

_BATCHES: Final = (1, 7)  # rows that a file is tried with
_TRACED: Final = 3  # rows of the example that a graph is made with


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: The file.
        size: Bytes.
        difference: The largest one between its outputs and PyTorch's, of probabilities, and of
            logits relative to the largest where that is above 1.
    """

    path: Path
    size: int
    difference: float


class _WithProbabilities(nn.Module):
    """A model from ``rows`` to logits and probabilities."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Tensor) -> Outputs:
        logits = self.model(rows)
        return logits, logits.softmax(-1)


def check_format(name: str) -> None:
    """Make sure that a format exists and is installed.

    Raises:
        UsageError: It does not, or is not.
    """
    named(name, tuple(FORMATS), "format")
    for library in FORMATS[name].needs:
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise UsageError(
                f"format: {name} needs {library}; pip install 'cotune[{name}]'"
            ) from error


def export(
    path: str | Path,
    format: str,
    output: str | Path | None = None,
    *,
    ensemble: bool = False,
    model: ModelLike = None,
) -> Exported:
    """Write a run's final model as a file that other programs read.

    The file takes ``rows``, as they are in the data (pixels 0-255, as ``float32``; other rows as
    ``float64``; of a table, ``[batch, columns]`` numbers, booleans as 0 and 1, categories as their
    places in the list, -1 for an unknown one, NaN for a missing cell), of any number, and gives
    ``logits`` and ``probabilities``. It contains a description of these, as JSON. A safetensors
    file holds the tensors alone, and the architecture in its description.

    Args:
        path: A run directory, or the folder that holds ``model.json``.
        format: ``onnx``, ``torch-export``, ``safetensors`` or ``torchscript``.
        output: The file, or a folder for it; by default ``export/`` in ``path``. A file that is
            there already is replaced.
        ensemble: The run's ensemble instead.
        model: Maker of the network, as for :func:`run`, where it is one of your own.

    Raises:
        UsageError: There is no such format, or a library that it needs is not installed; or the
            network is one of your own, and ``model`` is not given.
        ModelFileError: There is no model, or it is damaged or altered.
        StorageError: The file cannot be written.
        CotuneError: The network cannot be written in that format, or the file does not agree with
            PyTorch to 1e-4.
    """
    check_format(format)
    predictor = load_predictor(path, ensemble, model)
    name = ("ensemble" if ensemble else "model") + FORMATS[format].suffix
    place = Path(path) / "export" / name if output is None else Path(output)
    if place.is_dir():
        place /= name
    if place.is_symlink():
        place = place.resolve()  # its target is replaced, not the link
    if place.exists() and not place.is_file():
        raise UsageError(f"{place}: is no file; choose another -o FILE")
    check_not_own(place)
    return write_checked(predictor, format, place, json.dumps(_description(path, predictor)))


def write_checked(model: Predictor, format: str, place: Path, about: str) -> Exported:
    """Write a file, compare its outputs with the model's, and put it in its place.

    Args:
        about: The description that goes into the file.

    Raises:
        As :func:`export`.
    """
    with writing(place), _scratch(place) as scratch:
        writer = FORMATS[format]
        file = scratch / f"model{writer.suffix}"  # PyTorch insists on .pt2
        try:
            with _quiet():
                difference = _write(writer, model, about, file)
        except OSError:
            raise
        except Exception as error:  # PyTorch, ONNX and users' networks raise anything
            reason = next(iter(str(error).splitlines()), "")[:200]
            raise CotuneError(
                f"{place}: the network cannot be exported as {format}: "
                f"{type(error).__name__}: {reason}"
            ) from error
        if not difference <= TOLERANCE:
            raise CotuneError(
                f"{place}: what was exported as {format} differs from PyTorch by "
                f"{difference:.2g}, more than {TOLERANCE:g}; nothing was written"
            )
        size = file.stat().st_size
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
    return Exported(place, size, difference)


@contextlib.contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """Make a folder on the same disk, and remove it after the block."""
    folder = place.absolute().parent
    while not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryDirectory(prefix=".cotune-", dir=folder) as scratch:
        yield Path(scratch)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence printing, logging and warnings: failures are errors, or a difference."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            yield
    finally:
        logging.disable(before)


@torch.no_grad()
def _write(writer: Exporter, model: Predictor, about: str, file: Path) -> float:
    """Write the file, run it, and return its largest difference from PyTorch."""
    both = _WithProbabilities(model).eval()
    rows = sample_rows(model.preprocessing, max(*_BATCHES, _TRACED))
    writer.write(both, rows[:_TRACED], about, file)
    run = writer.load(both, file)
    pairs = [(both(rows[:batch]), run(rows[:batch])) for batch in _BATCHES]
    return float(torch.stack([_difference(*pair) for pair in pairs]).max())


def _difference(ours: Outputs, theirs: Outputs) -> Tensor:
    """Return the largest difference; NaN where an output is NaN."""
    logits, probabilities = (
        (mine - other).abs().max() for mine, other in zip(ours, theirs, strict=True)
    )
    return torch.maximum(logits / ours[0].abs().max().clamp(min=1.0), probabilities)


def _description(path: str | Path, model: Predictor) -> dict[str, Any]:
    """Return the facts that a user of the file needs."""
    columns = model.preprocessing.columns
    described: dict[str, Any] = {
        "cotune": VERSION,
        "classes": list(model.classes),
        "input": {
            "name": "rows",
            "dtype": str(rows_dtype(model.preprocessing)).removeprefix("torch."),
            "shape": ["batch", *rows_shape(model.preprocessing)],
        },
        "outputs": ["logits", "probabilities"],
        "temperature": model.temperature,
        "networks": [
            {key: card[key] for key in ("architecture", "preprocessing")}
            for card in map(read_card, _folders(path, model))
        ],
    }
    if columns:
        run = run_of(path)
        source = recorded_source(run) if run else None
        described["columns"] = [column.to_json() for column in columns]
        described["target"] = source.target if source else None
    return described


def _folders(path: str | Path, model: Predictor) -> list[Path]:
    """Return the folders that the networks were read from."""
    if isinstance(model, Ensemble):
        return [ensemble_folder(path) / str(i) for i in range(len(model.members))]
    return [model_folder(path)]
