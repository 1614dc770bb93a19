"""A tuned model as a file for other programs: ONNX, torch.export, TorchScript, safetensors.

Every file takes rows as they are in the data, preprocessing included, and is read back by the
program that it is for and compared with PyTorch before it is put in its place.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import json
import logging
import os
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from torch import Tensor, nn

from cotune.arguments import named
from cotune.data.preprocessing.preprocess import Preprocessing, Standardize
from cotune.data.preprocessing.raw_rows import RawRows
from cotune.engine.networks.custom.given import ModelLike
from cotune.exceptions import CotuneError, UsageError, writing
from cotune.inference.ensemble import Ensemble, ensemble_folder
from cotune.inference.model_file import model_folder, read_card
from cotune.inference.predict import Predictor, load_predictor, rows_shape, run_of
from cotune.runs.paths import check_not_own
from cotune.runs.source import recorded_source
from cotune.version import VERSION

TOLERANCE: Final = 1e-4
"""How far probabilities may be from PyTorch's, and logits relative to the largest, if above 1."""

_BATCHES: Final = (1, 7)  # rows that a file is tried with
_TRACED: Final = 3  # rows of the example that a graph is made with
_MISSING: Final = 0.2  # share of the cells of a table that it is tried with
_KEY: Final = "cotune"  # what the description is called in the file

Outputs = tuple[Tensor, Tensor]
"""Logits and probabilities, ``[batch, classes]`` each."""


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: Where.
        size: Bytes.
        difference: The largest one between its outputs and PyTorch's: of probabilities, and of
            logits relative to the largest one where that is above 1.
    """

    path: Path
    size: int
    difference: float


class _WithProbabilities(nn.Module):
    """What is exported: ``rows`` to logits and probabilities."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Tensor) -> Outputs:
        logits = self.model(rows)
        return logits, logits.softmax(-1)


class _Format(ABC):
    """How a kind of file is written, and run by the program that it is for."""

    suffix: str
    needs: tuple[str, ...] = ()

    @abstractmethod
    def write(self, model: nn.Module, example: Tensor, about: str, path: Path) -> None:
        """Write the file.

        Args:
            about: The description, which goes into the file.
        """

    @abstractmethod
    def load(self, model: nn.Module, path: Path) -> Callable[[Tensor], Outputs]:
        """The file as a function of rows."""


def _program(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    return torch.export.export(model, (example,), dynamic_shapes={"rows": {0: batch}})


class _Onnx(_Format):
    suffix = ".onnx"
    needs = ("onnx", "onnxruntime", "onnxscript")

    def write(self, model: nn.Module, example: Tensor, about: str, path: Path) -> None:
        graph = torch.onnx.export(
            _program(model, example),
            (example,),
            input_names=["rows"],
            output_names=["logits", "probabilities"],
            dynamic_shapes={"rows": {0: "batch"}},
            dynamo=True,
            verbose=False,
        )
        assert graph is not None
        graph.model.metadata_props[_KEY] = about
        graph.save(path, external_data=False)

    def load(self, model: nn.Module, path: Path) -> Callable[[Tensor], Outputs]:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def run(rows: Tensor) -> Outputs:
            logits, probabilities = session.run(None, {"rows": rows.numpy()})
            return torch.from_numpy(logits), torch.from_numpy(probabilities)

        return run


class _TorchExport(_Format):
    suffix = ".pt2"

    def write(self, model: nn.Module, example: Tensor, about: str, path: Path) -> None:
        program = _program(model, example)
        torch.export.save(program, path, extra_files={f"{_KEY}.json": about})

    def load(self, model: nn.Module, path: Path) -> Callable[[Tensor], Outputs]:
        return torch.export.load(path).module()


class _TorchScript(_Format):
    suffix = ".pt"

    def write(self, model: nn.Module, example: Tensor, about: str, path: Path) -> None:
        traced = torch.jit.trace(model, (example,), check_trace=False)
        torch.jit.save(traced, path, _extra_files={f"{_KEY}.json": about})

    def load(self, model: nn.Module, path: Path) -> Callable[[Tensor], Outputs]:
        loaded: Callable[[Tensor], Outputs] = torch.jit.load(path)
        return loaded


class _Safetensors(_Format):
    suffix = ".safetensors"

    def write(self, model: nn.Module, example: Tensor, about: str, path: Path) -> None:
        # Tensors that share their memory, as tied weights may, are stored apart.
        tensors = {name: value.detach().clone() for name, value in _tensors(model).items()}
        path.write_bytes(safetensors.torch.save(tensors, metadata={_KEY: about}))

    def load(self, model: nn.Module, path: Path) -> Callable[[Tensor], Outputs]:
        twin = copy.deepcopy(model)
        saved = safetensors.torch.load_file(path)
        for name, value in _tensors(twin).items():
            value.data = saved.pop(name)
        assert not saved
        return twin


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Weights, statistics and what the preprocessing is made of, by name."""
    (inner,) = model.children()
    return {**dict(inner.named_parameters()), **dict(inner.named_buffers())}


_FORMATS: Final[dict[str, _Format]] = {
    "onnx": _Onnx(),
    "torch-export": _TorchExport(),
    "safetensors": _Safetensors(),
    "torchscript": _TorchScript(),
}
FORMATS: Final = tuple(_FORMATS)


def check_format(name: str) -> None:
    """Make sure that there is such a format, and what it needs.

    Raises:
        UsageError: There is not.
    """
    named(name, FORMATS, "format")
    for library in _FORMATS[name].needs:
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
    places in the list, -1 for an unknown one, NaN for what is missing), of any number, and gives
    ``logits`` and ``probabilities``. A description of all that is inside it, as JSON. A safetensors
    file holds the tensors alone, and the architecture in its description.

    Args:
        path: A run directory, or the folder that holds ``model.json``.
        format: ``onnx``, ``torch-export``, ``safetensors`` or ``torchscript``.
        output: The file, or a folder for it; by default ``export/`` in ``path``. A file that is
            there already is replaced.
        ensemble: The run's ensemble instead.
        model: What makes the network, as for :func:`run`, where it is one of your own.

    Raises:
        UsageError: There is no such format, or what it needs is not installed; or the network is
            one of your own, and ``model`` is not given.
        ModelFileError: There is no model, or it is damaged or altered.
        StorageError: The file cannot be written.
        CotuneError: The network cannot be written in that format, or what was written does not
            agree with PyTorch to 1e-4.
    """
    check_format(format)
    predictor = load_predictor(path, ensemble, model)
    name = ("ensemble" if ensemble else "model") + _FORMATS[format].suffix
    place = Path(path) / "export" / name if output is None else Path(output)
    if place.is_dir():
        place /= name
    if place.is_symlink():
        place = place.resolve()  # what it leads to is replaced, not the link
    if place.exists() and not place.is_file():
        raise UsageError(f"{place}: is no file; choose another -o FILE")
    check_not_own(place)
    return write_checked(predictor, format, place, json.dumps(_description(path, predictor)))


def write_checked(model: Predictor, format: str, place: Path, about: str) -> Exported:
    """Write a file, compare what it gives with what the model gives, and put it in its place.

    Args:
        about: The description that goes into the file.

    Raises:
        As :func:`export`.
    """
    with writing(place), _scratch(place) as scratch:
        writer = _FORMATS[format]
        file = scratch / f"model{writer.suffix}"  # PyTorch insists on .pt2
        try:
            with _quiet():
                difference = _write(writer, model, about, file)
        except OSError:
            raise
        except Exception as error:  # what PyTorch, ONNX and a network of one's own raise
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
    """A folder that is gone afterwards, on the same disk."""
    folder = place.absolute().parent
    while not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryDirectory(prefix=".cotune-", dir=folder) as scratch:
        yield Path(scratch)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is printed, logged or warned of: what went wrong is an error, or a difference."""
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
def _write(writer: _Format, model: Predictor, about: str, file: Path) -> float:
    """Write the file, run it, and give its largest difference from PyTorch."""
    both = _WithProbabilities(model).eval()
    rows = _sample(model.preprocessing, max(*_BATCHES, _TRACED))
    writer.write(both, rows[:_TRACED], about, file)
    run = writer.load(both, file)
    pairs = [(both(rows[:batch]), run(rows[:batch])) for batch in _BATCHES]
    return float(torch.stack([_difference(*pair) for pair in pairs]).max())


def _difference(ours: Outputs, theirs: Outputs) -> Tensor:
    """NaN where there is one in them."""
    logits, probabilities = (
        (mine - other).abs().max() for mine, other in zip(ours, theirs, strict=True)
    )
    return torch.maximum(logits / ours[0].abs().max().clamp(min=1.0), probabilities)


def _sample(preprocessing: Preprocessing, n_rows: int) -> Tensor:
    """Random rows in the training data's range; of a table, some cells are missing."""
    generator = torch.Generator().manual_seed(0)
    dtype = _rows_dtype(preprocessing)
    if isinstance(preprocessing, RawRows):
        low, high = torch.tensor(preprocessing.low), torch.tensor(preprocessing.high)
        shape = (n_rows, preprocessing.features)
        shares = torch.rand(shape, generator=generator, dtype=torch.float64)
        rows = low + (high.double() - low) * shares
        rows = rows.round().to(dtype) if dtype == torch.int64 else rows.to(dtype)
        return rows.view(n_rows, *preprocessing.input_shape)
    noise = torch.randn(n_rows, *rows_shape(preprocessing), generator=generator, dtype=dtype)
    if isinstance(preprocessing, Standardize):
        mean, std = (torch.tensor(value, dtype=dtype) for value in preprocessing.scales())
        return (mean + std * noise.flatten(1)).view_as(noise)
    cells = noise
    for place, part in preprocessing.numbers():
        cells[:, place] = part.center + cells[:, place] / (part.scale or 1.0)
    for place, _, _ in preprocessing.slots():
        n_categories = len(preprocessing.columns[place].categories)
        cells[:, place] = torch.randint(n_categories, (n_rows,), generator=generator).double()
    cells[torch.rand(cells.shape, generator=generator) < _MISSING] = torch.nan
    return cells


def _rows_dtype(preprocessing: Preprocessing) -> torch.dtype:
    """Pixels fit a float32; what other rows hold, such as dates in seconds, need not."""
    if isinstance(preprocessing, RawRows):
        is_float = preprocessing.columns or preprocessing.dtype == "float32"
        if not is_float:
            return torch.int64
        return torch.float64 if preprocessing.columns else torch.float32
    has_channels = isinstance(preprocessing, Standardize) and preprocessing.axis is not None
    is_flat = len(rows_shape(preprocessing)) == 1
    return torch.float64 if is_flat or has_channels else torch.float32


def _description(path: str | Path, model: Predictor) -> dict[str, Any]:
    """What one has to know to use the file."""
    columns = model.preprocessing.columns
    described: dict[str, Any] = {
        "cotune": VERSION,
        "classes": list(model.classes),
        "input": {
            "name": "rows",
            "dtype": str(_rows_dtype(model.preprocessing)).removeprefix("torch."),
            "shape": ["batch", *rows_shape(model.preprocessing)],
        },
        "outputs": ["logits", "probabilities"],
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
    """Where each network was read from."""
    if isinstance(model, Ensemble):
        return [ensemble_folder(path) / str(i) for i in range(len(model.members))]
    return [model_folder(path)]
