"""Search spaces by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cotune.exceptions import SpaceError
from cotune.space.hyperparameters import ACTIVATIONS, DOWNSAMPLINGS, HEADS, OF_IMAGES
from cotune.space.space import Space
from cotune.space.yaml import read_space, space_from_dict
from cotune.text import close_name, shown_key

_SWITCH: Final = {"type": "categorical", "choices": [False, True]}
_CLASS_WEIGHT: Final = {"type": "float", "low": 0.0, "high": 1.0}
_FEWEST_STEPS: Final = 8  # of a pass over the rows, where they suffice
_MOST_STEPS: Final = 2_000  # of one, in the smallest minibatches
_EPOCH_ROWS: Final = 6_000  # where there are at least twice as many
_FEWEST_OF_IMAGES: Final = 4_000  # rows; a pass of convolutions over them takes seconds
_MOST_EPOCHS: Final = 64  # of a pass
_BLOCKS: Final = 4


def _common() -> dict[str, Any]:
    return {
        "batch_norm": {"type": "categorical", "choices": [True, False]},
        "dropout": {"type": "float", "low": 0.0, "high": 0.5},
        "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
        "optimizer": {"type": "categorical", "choices": ["adam", "adamw", "sgd", "rmsprop"]},
        "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
        "weight_decay": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True},
        "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
        "label_smoothing": {"type": "float", "low": 0.0, "high": 0.2},
        "shift": {"type": "int", "low": 0, "high": 2},
        "epochs": {"type": "int", "low": 10, "high": 100, "step": 10},
    }


def _mlp() -> Space:
    layers = {"type": "int", "low": 1, "high": 5}
    width = {"type": "int", "low": 8, "high": 256, "step": 8}
    return space_from_dict({"n_layers": layers, "width": width, **_common()})


def _mlp_per_layer() -> Space:
    data = {"n_layers": {"type": "int", "low": 1, "high": 5}, **_common()}
    del data["dropout"]
    for layer in range(5):
        when = {"when": {"n_layers": list(range(layer + 1, 6))}} if layer else {}
        data[f"width_{layer}"] = {"type": "int", "low": 8, "high": 256, "step": 8, **when}
        data[f"dropout_{layer}"] = {"type": "float", "low": 0.0, "high": 0.5, **when}
    return space_from_dict(data)


def _cnn() -> Space:
    # Muon takes five times as long as the others for wide layers, and a fiftieth longer for
    # convolutions.
    common = _common()
    common["optimizer"]["choices"].append("muon")
    data: dict[str, Any] = {
        "model": "cnn",
        "n_blocks": {"type": "int", "low": 1, "high": _BLOCKS},
        "residual": _SWITCH,
        "whitened": _SWITCH,
        "downsampling": {"type": "categorical", "choices": list(DOWNSAMPLINGS)},
        "kernel_size": {"type": "categorical", "choices": [3, 5]},
        "activation": {"type": "categorical", "choices": list(ACTIVATIONS)},
        "head": {"type": "categorical", "choices": list(HEADS)},
        "dense_width": {"type": "int", "low": 0, "high": 256, "step": 32},
        "flip": _SWITCH,
        **common,
    }
    for block in range(_BLOCKS):
        when = {"when": {"n_blocks": list(range(block + 1, _BLOCKS + 1))}} if block else {}
        data[f"filters_{block}"] = {"type": "int", "low": 16, "high": 256, "step": 16, **when}
        data[f"convolutions_{block}"] = {"type": "int", "low": 1, "high": 2, **when}
    return space_from_dict(data)


def _auto() -> Space:
    """Merge both families; what only one of them has exists only for that one."""
    mlp, cnn = _mlp().to_dict(), _cnn().to_dict()
    models = {"type": "categorical", "choices": ["mlp", "cnn"]}
    return space_from_dict({**cnn, **mlp, "optimizer": cnn["optimizer"], "model": models})


def training_entries(
    images: bool, imbalanced: bool = False, rows: int | None = None
) -> dict[str, Any]:
    """Return the hyperparameters of the training of a user's own network, as YAML writes them.

    Args:
        images: Whether the rows are images.
        imbalanced: Whether classes are of very different sizes.
        rows: How many there are to train on; see :func:`load_space`.
    """
    of_built_in = ("batch_norm", "dropout")
    entries = {name: entry for name, entry in _common().items() if name not in of_built_in}
    if rows is not None:
        entries |= _of_rows(rows)
    if imbalanced:
        entries["class_weight"] = _CLASS_WEIGHT
    return {name: entry for name, entry in entries.items() if images or name not in OF_IMAGES}


PRESETS: Final[dict[str, Callable[[], Space]]] = {
    "mlp": _mlp,
    "mlp-per-layer": _mlp_per_layer,
    "cnn": _cnn,
    "auto": _auto,
}
"""Spaces by name.

``mlp`` has one width for all hidden layers, ``mlp-per-layer`` one for each; ``cnn`` has blocks of
convolutions, and ``auto`` both.
"""


def with_class_weight(space: Space) -> Space:
    """Return a space that searches how far rare classes weigh more."""
    return space_from_dict({**space.to_dict(), "class_weight": _CLASS_WEIGHT})


def load_space(name: str, images: bool = True, rows: int | None = None) -> Space:
    """Load a preset by its name, or a space from a YAML file.

    Args:
        images: Whether the rows are images. A preset for other rows has no hyperparameters of
            images, and ``auto`` is ``mlp``.
        rows: How many there are to train on. A preset for few has small minibatches alone: of 120
            rows, 128 at a time would be one step an epoch. One for many has large ones, and
            epochs of a part of the rows, so that trials can be judged before a pass over them.

    Raises:
        SpaceError: It is neither, or the file holds no valid space.
    """
    if name in PRESETS:
        preset = "mlp" if name == "auto" and not images else name
        data = PRESETS[preset]().to_dict()
        if rows is not None:
            data |= _of_rows(rows, has_convolutions="filters_0" in data)
        return space_from_dict({key: data[key] for key in data if images or key not in OF_IMAGES})
    if Path(name).suffix in (".yaml", ".yml") or os.path.exists(name):
        return read_space(Path(name))
    raise SpaceError(
        f"{shown_key(name)}: there is no such preset or file{close_name(name, PRESETS)}"
    )


def _of_rows(rows: int, has_convolutions: bool = False) -> dict[str, Any]:
    """Return the entries that depend on the number of rows."""
    entries = {"batch_size": _batch_sizes(rows)}
    if rows >= (_FEWEST_OF_IMAGES if has_convolutions else 2 * _EPOCH_ROWS):
        passed = min(_MOST_EPOCHS, max(2, round(rows / _EPOCH_ROWS)))
        tens = 10 * passed
        entries["epoch_rows"] = round(rows / passed)
        entries["epochs"] = {"type": "int", "low": tens, "high": 10 * tens, "step": tens}
    return entries


def _batch_sizes(rows: int) -> Any:
    """Return the batch sizes with eight steps a pass or more; without any, the smallest.

    The smallest of many rows has 2,000 steps a pass at most.
    """
    smallest = 16
    while rows > _MOST_STEPS * smallest:
        smallest *= 2
    fitting = [smallest << i for i in range(4) if (smallest << i) * _FEWEST_STEPS <= rows]
    if len(fitting) < 2:
        return smallest
    return {"type": "categorical", "choices": fitting}
