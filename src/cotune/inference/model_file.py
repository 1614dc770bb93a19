"""Saving and loading a tuned model: ``model.safetensors`` and ``model.json``.

Nothing is unpickled. ``model.json`` holds the architecture, the classes, the preprocessing, the
SHA-256 of the weights and its own; its claims are checked before anything is allocated.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from cotune.data.preprocessing.card import preprocessing_from_json
from cotune.data.preprocessing.preprocess import Preprocessing
from cotune.engine.families import FAMILIES, family_of
from cotune.engine.networks import CUSTOM, Architecture, CustomNetwork, Network
from cotune.exceptions import ModelFileError, UsageError
from cotune.inference.preprocessing_module import example_rows, preprocessing_module
from cotune.records import Value
from cotune.runs.files import write_files
from cotune.text import shown

_VERSION: Final = 2
_JSON_BYTES: Final = 16 << 20
_HEADER_BYTES: Final = 1 << 20  # more than safetensors' header takes for any of our models
_FLOAT_BYTES: Final = 4

T = TypeVar("T")
_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]
Temperature = Annotated[float, msgspec.Meta(ge=1e-3, le=1e3)]


class Classifier(nn.Module):
    """A tuned network with its preprocessing: raw rows in, logits out.

    Attributes:
        classes: Class names, in the order of the logits.
        network: The tuned network.
        class_counts: Rows of each class that it was trained on; None if unknown, as of models that
            an older Cotune saved.
        temperature: Divides the logits (Guo et al. 2017); set after training, 1 before.

    Args:
        network: Maps ``[batch, features]`` to logits.
        preprocessing: Fitted preprocessing of the training rows.
        classes: Class names.
        class_counts: Rows of each class that it was trained on.
    """

    class_counts: tuple[int, ...] | None = None
    temperature: float = 1.0

    def __init__(
        self,
        network: Network,
        preprocessing: Preprocessing,
        classes: tuple[str, ...],
        class_counts: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing
        self.classes = classes
        if class_counts is not None:
            self.class_counts = tuple(class_counts)
        self.to_features = preprocessing_module(preprocessing)

    def forward(self, rows: Tensor) -> Tensor:
        """Compute logits.

        Args:
            rows: ``[batch, *input_shape]``, values as in the data (pixels 0-255). Of a table
                ``float64 [batch, columns]``, see ``Dataset.columns``.

        Returns:
            ``[batch, classes]``.
        """
        logits: Tensor = self.network(self.to_features(rows))
        return logits / self.temperature


@dataclass(frozen=True)
class _Weights:
    sha256: str


@dataclass(frozen=True)
class _Card:
    """``model.json``, as far as it is needed to load the model."""

    architecture: dict[str, Any]
    classes: tuple[str, ...]
    preprocessing: dict[str, Any]
    weights: _Weights
    class_counts: tuple[_Count, ...] | None = None
    hyperparameters: Any = None
    temperature: Temperature = 1.0

    def __post_init__(self) -> None:
        counts = self.class_counts
        if counts is not None and (len(counts) != len(self.classes) or not any(counts)):
            raise ValueError("class_counts")


def save_model(
    folder: Path, model: Classifier, hyperparameters: Mapping[str, Any], version: str
) -> None:
    """Write a model to a folder, made when missing.

    Args:
        hyperparameters: Of its training; kept for people, and to make a user's own network
            again.
        version: Cotune's version.

    Raises:
        StorageError: The folder cannot be written.
    """
    weights = safetensors.torch.save(
        {name: value.contiguous() for name, value in model.network.tensors().items()}
    )
    card = {
        "format": "cotune-model",
        "version": _VERSION,
        "cotune": version,
        "architecture": model.network.describe(),
        "classes": list(model.classes),
        "class_counts": model.class_counts and list(model.class_counts),
        "temperature": model.temperature,
        "preprocessing": model.preprocessing.to_json(),
        "hyperparameters": dict(hyperparameters),
        "weights": {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)},
    }
    write_files(folder, {"model.safetensors": weights, "model.json": signed(card)})


def signed(card: Mapping[str, Any]) -> bytes:
    """Return a description as JSON, with the SHA-256 of all else that is in it."""
    plain = json.loads(json.dumps(card))  # as it will be read
    return json.dumps({**plain, "sha256": _checksum(plain)}, indent=1).encode()


def _checksum(card: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in card.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def load_model(folder: str | Path, custom: CustomNetwork | None = None) -> Classifier:
    """Load a saved model, ready to predict (``eval`` mode), on the CPU.

    Args:
        folder: A run directory, or the folder that holds ``model.json``.
        custom: Maker of the network, where it is the user's own: a model's files hold weights and
            no code.

    Raises:
        ModelFileError: There is none, or it is damaged, altered or of another version.
        UsageError: It is one of the user's own networks, and ``own`` is not given.
    """
    folder = model_folder(folder)
    card = read_card(folder)
    path = folder / "model.json"
    model = decode_card(card, _Card, path)
    try:
        preprocessing = preprocessing_from_json(model.preprocessing)
        if custom is not None and (rows := example_rows(preprocessing)) is not None:
            custom = custom.tried_with(rows)
        architecture, dropout = _architecture(model, custom)
    except UsageError:
        raise
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(f"{path}: is incomplete or damaged") from error
    expected = (len(model.classes), preprocessing.features)
    if (architecture.n_classes, architecture.n_inputs) != expected:
        raise ModelFileError(f"{path}: its parts contradict each other")
    state = _read_weights(folder / "model.safetensors", model.weights.sha256, architecture)
    try:
        network = architecture.module(dropout)
        network.load_tensors(state)
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(
            f"{folder / 'model.safetensors'}: the weights do not fit the architecture"
        ) from error
    classifier = Classifier(network, preprocessing, model.classes, model.class_counts)
    classifier.temperature = model.temperature
    return classifier.eval()


def model_folder(folder: str | Path) -> Path:
    """Return the folder that holds ``model.json``, given that or its run directory."""
    folder = Path(folder)
    if not os.path.exists(folder / "model.json") and os.path.exists(folder / "best"):
        return folder / "best"
    return folder


def read_card(folder: Path) -> dict[str, Any]:
    """Return the content of ``model.json``, not checked yet.

    Raises:
        ModelFileError: It is not there, or is something else.
    """
    return read_json(folder / "model.json", "cotune-model", _VERSION)


def _architecture(card: _Card, custom: CustomNetwork | None) -> tuple[Architecture, list[float]]:
    """Return the architecture and the dropout rates."""
    name = card.architecture["family"]
    if name == CUSTOM and custom is None:
        raise UsageError(
            "this model is a network of your own; give what makes it: model=build from Python, "
            "--model FILE.py:build on the command line"
        )
    if name != CUSTOM and name not in tuple(FAMILIES):
        raise ModelFileError(f"unknown family {shown(name)}; a newer Cotune may read it")
    family = family_of({"model": name}, custom if name == CUSTOM else None)
    return family.read(card.architecture, card.hyperparameters)


def decode_card(card: Mapping[str, Any], kind: type[T], path: Path) -> T:
    """Make a record of a description.

    Args:
        kind: A dataclass; keys that it does not have are left out.
        path: The file that it is from.

    Raises:
        ModelFileError: It is not what the record holds.
    """
    try:
        return msgspec.convert(card, kind)
    except msgspec.ValidationError as error:
        raise ModelFileError(f"{path}: is incomplete or damaged") from error


def read_json(path: Path, format: str, version: int) -> dict[str, Any]:
    """Read a description that Cotune wrote.

    Args:
        format: Its expected ``format``, such as ``cotune-model``.
        version: Its expected ``version``.

    Raises:
        ModelFileError: It is not there, or is something else.
    """
    what = format.removeprefix("cotune-")
    try:
        if path.stat().st_size > _JSON_BYTES:
            raise ModelFileError(f"{path}: is too large to be a {what}'s description")
        card = json.loads(path.read_bytes())
    except ModelFileError:
        raise
    except FileNotFoundError:
        raise ModelFileError(f"{path.parent}: no {what} is there (no {path.name})") from None
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: is not JSON") from error
    if not isinstance(card, dict) or card.get("format") != format:
        raise ModelFileError(f"{path}: is not a Cotune {what}")
    if card.get("version") != version:
        raise ModelFileError(
            f"{path}: is of version {shown(card.get('version'))}, this Cotune reads {version}"
        )
    if card.get("sha256") != _checksum(card):
        raise ModelFileError(f"{path}: is damaged or was altered (its SHA-256 differs)")
    return card


def _read_weights(path: Path, checksum: str, architecture: Architecture) -> dict[str, Tensor]:
    sizes = [
        *architecture.parameter_shapes().values(),
        *architecture.buffer_shapes().values(),
    ]
    needed = _FLOAT_BYTES * sum(math.prod(size) for size in sizes)
    try:
        # Neither a description that asks for more than the file holds nor a file that holds more
        # than the description asks for gets to fill the memory.
        size = path.stat().st_size
        if not needed <= size <= 2 * needed + _HEADER_BYTES:
            raise ModelFileError(f"{path}: has {size:,} bytes, its architecture {needed:,}")
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ModelFileError(f"{path}: is damaged or was altered (its SHA-256 differs)")
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path}: is not a safetensors file of weights") from error


def trained_network(
    params: Mapping[str, Value],
    weights: Mapping[str, Any],
    input_shape: tuple[int, ...],
    n_classes: int,
    custom: CustomNetwork | None = None,
    seed: int = 0,
) -> Network:
    """Return the network of a configuration with the weights that an engine gave out.

    Args:
        params: Its complete hyperparameters.
        input_shape: Shape of one row.
        custom: Maker of the networks where they are the user's own.
        seed: What such a network was made from in training.
    """
    family = family_of(params, custom)
    architecture = family.architecture(params, input_shape, n_classes, seed)
    return module_from_weights(architecture, family.dropout_rates(params), weights)


def module_from_weights(
    architecture: Architecture, dropout: list[float], weights: Mapping[str, Any]
) -> Network:
    """Return a lane's network as an ordinary module, from the arrays that an engine gives out."""
    network = architecture.module(dropout)
    # Counters of batch norms are in files, but not in lanes.
    counters = {n: v for n, v in network.tensors().items() if not v.is_floating_point()}
    given = {name: torch.from_numpy(value) for name, value in weights.items()}
    network.load_tensors({**counters, **given})
    return network.eval()
