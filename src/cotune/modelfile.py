"""Saving and loading a tuned model: ``model.safetensors`` and ``model.json``.

Nothing is unpickled. ``model.json`` holds the architecture, the classes, the preprocessing and the
SHA-256 of the weights; what it claims is checked before anything is allocated.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from cotune.data.preprocess import Standardize
from cotune.exceptions import ModelFileError, StorageError
from cotune.models.mlp import MLP, MLPShape, init_buffers

_VERSION: Final = 1
_JSON_BYTES: Final = 16 << 20
_FLOAT_BYTES: Final = 4


class Classifier(nn.Module):
    """A tuned network with its preprocessing: raw rows in, logits out.

    Attributes:
        classes: Class names, in the order of the logits.
        network: The tuned network.

    Args:
        network: Maps ``[batch, features]`` to logits.
        preprocessing: What was done to the rows in training.
        classes: Class names.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: MLP, preprocessing: Standardize, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing
        self.classes = classes
        self.register_buffer("mean", torch.tensor(preprocessing.mean), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits.

        Args:
            rows: ``[batch, *input_shape]``, values as they are in the data (pixels 0-255).

        Returns:
            ``[batch, classes]``.
        """
        logits: Tensor = self.network((rows.flatten(1).float() - self.mean) / self.std)
        return logits


def save_model(
    folder: Path, model: Classifier, hyperparameters: Mapping[str, Any], version: str
) -> None:
    """Write a model to a folder, made when missing.

    Args:
        hyperparameters: What it was trained with; kept for people.
        version: Cotune's version.

    Raises:
        StorageError: The folder cannot be written.
    """
    shape = model.network.shape
    weights = safetensors.torch.save(
        {name: value.contiguous() for name, value in model.network.state_dict().items()}
    )
    card = {
        "format": "cotune-model",
        "version": _VERSION,
        "cotune": version,
        "architecture": {
            "family": "mlp",
            "n_inputs": shape.n_inputs,
            "widths": list(shape.widths),
            "batch_norm": shape.batch_norm,
            "n_classes": shape.n_classes,
            "dropout": [layer.p for layer in model.network.dropout],
        },
        "classes": list(model.classes),
        "preprocessing": model.preprocessing.to_json(),
        "hyperparameters": dict(hyperparameters),
        "weights": {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "model.safetensors", weights)
        _write(folder / "model.json", json.dumps(card, indent=1).encode())
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror or error}") from error


def load_model(folder: str | Path) -> Classifier:
    """A saved model, ready to predict (``eval`` mode), on the CPU.

    Args:
        folder: A run directory, or the folder that holds ``model.json``.

    Raises:
        ModelFileError: There is none, or it is damaged, altered or of another version.
    """
    folder = Path(folder)
    if not (folder / "model.json").exists() and (folder / "best" / "model.json").exists():
        folder = folder / "best"
    card = _read_card(folder / "model.json")
    try:
        architecture = card["architecture"]
        if architecture["family"] != "mlp":
            raise ModelFileError(f"{folder}: unknown family {architecture['family']!r}")
        shape = MLPShape(
            _count(architecture["n_inputs"]),
            tuple(_count(width) for width in architecture["widths"]),
            bool(architecture["batch_norm"]),
            _count(architecture["n_classes"]),
        )
        dropout = [float(rate) for rate in architecture["dropout"]]
        classes = tuple(str(name) for name in card["classes"])
        preprocessing = Standardize.from_json(card["preprocessing"])
        checksum = str(card["weights"]["sha256"])
        consistent = (
            len(dropout) == len(shape.widths)
            and len(classes) == shape.n_classes
            and preprocessing.features == shape.n_inputs
            and all(0.0 <= rate < 1.0 for rate in dropout)
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{folder / 'model.json'}: is incomplete or damaged") from error
    if not consistent:
        raise ModelFileError(f"{folder / 'model.json'}: its parts contradict each other")
    state = _read_weights(folder / "model.safetensors", checksum, shape)
    network = MLP(shape, dropout)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelFileError(f"{folder}: the weights do not fit the architecture") from error
    return Classifier(network, preprocessing, classes).eval()


def _read_card(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _JSON_BYTES:
            raise ModelFileError(f"{path}: is too large to be a model's description")
        card = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelFileError(f"{path.parent}: no model is there (no model.json)") from None
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path}: is not JSON") from error
    if not isinstance(card, dict) or card.get("format") != "cotune-model":
        raise ModelFileError(f"{path}: is not a Cotune model")
    if card.get("version") != _VERSION:
        raise ModelFileError(
            f"{path}: is of version {card.get('version')!r}, this Cotune reads {_VERSION}"
        )
    return card


def _read_weights(path: Path, checksum: str, shape: MLPShape) -> dict[str, Tensor]:
    sizes = [math.prod(size) for size in shape.parameter_shapes().values()]
    try:
        # A description that asks for more than the file holds must not get to allocate it.
        if sum(sizes) * _FLOAT_BYTES > path.stat().st_size:
            raise ModelFileError(f"{path}: is shorter than its architecture needs")
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ModelFileError(f"{path}: is damaged or was altered (its SHA-256 differs)")
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise ModelFileError(f"{path}: is not a safetensors file: {error}") from error


def module_from_weights(shape: MLPShape, dropout: list[float], weights: Mapping[str, Any]) -> MLP:
    """The module twin of a lane, from the arrays that an engine gives out."""
    network = MLP(shape, dropout)
    state = network.state_dict()
    known = {*shape.parameter_shapes(), *init_buffers(shape)}
    state.update({name: torch.from_numpy(weights[name]) for name in known})
    network.load_state_dict(state)
    return network.eval()


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("not a positive whole number")
    return value


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
