"""The hyperparameters that the trainer knows: their types, ranges and defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cotune.exceptions import SpaceError
from cotune.records import Value
from cotune.text import shown, shown_value

MAX_LAYERS: Final = 10
ACTIVATIONS: Final = ("relu", "gelu", "silu")
DOWNSAMPLINGS: Final = ("pool", "stride")
HEADS: Final = ("flatten", "mean", "max")
PADDINGS: Final = ("edge", "reflect")


@dataclass(frozen=True)
class HyperparameterSpec:
    """A hyperparameter as the trainer knows it.

    Attributes:
        type: The values' type.
        default: Used where a space leaves it out.
        low, high: Smallest and largest value that makes sense (numbers).
        choices: The values there are (otherwise).
        fusible: May differ between lanes that are trained together.
        per_layer: May also be named for a single layer, as ``width_3``.
    """

    type: type[bool | int | float | str]
    default: Value
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[Value, ...] = ()
    fusible: bool = True
    per_layer: bool = False


_COMMON: Final = {
    "batch_norm": HyperparameterSpec(bool, True, choices=(True, False), fusible=False),
    "dropout": HyperparameterSpec(float, 0.2, 0.0, 0.95, per_layer=True),
    "lr": HyperparameterSpec(float, 1e-3, 1e-12, 100.0),
    "optimizer": HyperparameterSpec(
        str, "adamw", choices=("adam", "adamw", "sgd", "rmsprop", "muon")
    ),
    "momentum": HyperparameterSpec(float, 0.9, 0.0, 0.9999),
    "weight_decay": HyperparameterSpec(float, 1e-4, 0.0, 100.0),
    "batch_size": HyperparameterSpec(int, 128, 2, 1_048_576, fusible=False),
    "epochs": HyperparameterSpec(int, 20, 1, 100_000),
}
OF_FAMILY: Final[dict[str, Mapping[str, HyperparameterSpec]]] = {
    "mlp": {
        "n_layers": HyperparameterSpec(int, 2, 1, MAX_LAYERS),
        "width": HyperparameterSpec(int, 256, 1, 65_536, per_layer=True),
    },
    "cnn": {
        "n_blocks": HyperparameterSpec(int, 2, 1, MAX_LAYERS),
        "filters": HyperparameterSpec(int, 32, 1, 4_096, per_layer=True),
        "kernel_size": HyperparameterSpec(int, 3, choices=(1, 3, 5, 7)),
        "dense_width": HyperparameterSpec(int, 128, 0, 65_536),
        "convolutions": HyperparameterSpec(int, 1, 1, MAX_LAYERS, per_layer=True),
        "residual": HyperparameterSpec(bool, False, choices=(True, False)),
        "downsampling": HyperparameterSpec(str, "pool", choices=DOWNSAMPLINGS),
        "activation": HyperparameterSpec(str, "relu", choices=ACTIVATIONS),
        "head": HyperparameterSpec(str, "flatten", choices=HEADS),
        "mirrored": HyperparameterSpec(bool, False, choices=(True, False)),
        "whitened": HyperparameterSpec(bool, False, choices=(True, False)),
    },
}
"""Hyperparameters of each model family alone; :func:`add_family` adds to them.

Those of the built-in families stand here, as spaces are read where no engine is loaded.
"""

_EXTRA: Final = {
    "schedule": HyperparameterSpec(
        str,
        "constant",
        choices=("constant", "cooldown", "cosine", "linear", "one-cycle", "plateau"),
    ),
    "plateau_factor": HyperparameterSpec(float, 0.1, 0.001, 0.999),
    "plateau_patience": HyperparameterSpec(int, 5, 0, 100_000),
    "warmup": HyperparameterSpec(float, 0.0, 0.0, 1000.0),
    "clip_norm": HyperparameterSpec(float, 0.0, 0.0, 1e6),
    "early_stopping": HyperparameterSpec(int, 0, 0, 100_000),
    "label_smoothing": HyperparameterSpec(float, 0.0, 0.0, 0.9),
    "class_weight": HyperparameterSpec(float, 0.0, 0.0, 1.0),
    "shift": HyperparameterSpec(int, 0, 0, 64, fusible=False),
    "flip": HyperparameterSpec(bool, False, choices=(True, False), fusible=False),
    "erase": HyperparameterSpec(float, 0.0, 0.0, 0.5, fusible=False),
    "padding": HyperparameterSpec(str, "edge", choices=PADDINGS, fusible=False),
    "epoch_rows": HyperparameterSpec(int, 0, 0, 1 << 40, fusible=False),
    "nesterov": HyperparameterSpec(bool, False, choices=(True, False)),
    "beta1": HyperparameterSpec(float, 0.9, 0.0, 0.9999),
    "beta2": HyperparameterSpec(float, 0.999, 0.0, 0.999999),
}


KNOWN: Final[dict[str, HyperparameterSpec]] = {}
"""Every hyperparameter that a space can name: ``width_3`` is the width of one layer."""

NAMES: Final[list[str]] = []
"""Their names, those of single layers left out."""

SHARED: Final[list[str]] = []
"""Hyperparameters that lanes trained together have in common."""

OF_TRAINING: Final = tuple(
    name for name in (*_COMMON, *_EXTRA) if name not in ("batch_norm", "dropout")
)
"""Those that every network is trained with, whatever it is made of."""

OF_IMAGES: Final = ("shift", "padding", "flip", "erase")
"""Hyperparameters that make no sense for rows that are no images."""


def add_family(name: str, hyperparameters: Mapping[str, HyperparameterSpec]) -> None:
    """Let spaces name a model family, and hyperparameters of its own."""
    if OF_FAMILY.get(name) is not hyperparameters:
        OF_FAMILY[name] = hyperparameters
        _collect()


def remove_family(name: str) -> None:
    """Take a model family out again."""
    del OF_FAMILY[name]
    _collect()


def _collect() -> None:
    """Fill ``KNOWN``, ``NAMES`` and ``SHARED``, in place: other modules have imported them."""
    model = HyperparameterSpec(str, "mlp", choices=tuple(OF_FAMILY), fusible=False)
    known = {**_COMMON, "model": model, **_EXTRA}
    for hyperparameters in OF_FAMILY.values():
        known |= hyperparameters
    NAMES[:] = known
    layered = [name for name in known if known[name].per_layer]
    known |= {f"{n}_{layer}": known[n] for layer in range(MAX_LAYERS) for n in layered}
    KNOWN.clear()
    KNOWN.update(known)
    SHARED[:] = [name for name in known if not known[name].fusible]


_collect()


def defaults(family: str) -> dict[str, Value]:
    """Return a family's default configuration; of users' own networks, that of the training."""
    if family not in OF_FAMILY:
        return {name: known.default for name, known in _COMMON.items() if name in OF_TRAINING}
    known = {**OF_FAMILY[family], **_COMMON}
    return {name: hyperparameter.default for name, hyperparameter in known.items()}


def epochs_per_pass(epoch_rows: int, n_rows: int) -> int:
    """Return the epochs that a pass over the rows takes: one, or more where they are too many.

    Args:
        epoch_rows: Rows of an epoch; 0: all.
        n_rows: Rows that are trained on.
    """
    return max(1, round(n_rows / epoch_rows)) if epoch_rows else 1


def is_averaged(params: Mapping[str, Value]) -> bool:
    """Return whether a trial is scored by the average of its weights.

    At a constant rate the last weights are noisy, and their average is, at every epoch, as good as
    weights after a rate that fell. Under other schedules the rate falls by itself.
    """
    return params.get("schedule", "constant") == "constant"


def is_annealed(params: Mapping[str, Value]) -> bool:
    """Return whether finalists and final models of a configuration let the rate fall to zero.

    A trial has a constant rate, so that its first epochs tell how good it is.
    """
    return params.get("model") == "cnn" and is_averaged(params)


def families_of_name(name: str) -> tuple[str, ...]:
    """Return the families that know a hyperparameter, which are all but for a family's own."""
    plain = name.rstrip("0123456789").rstrip("_")
    return tuple(f for f, known in OF_FAMILY.items() if plain in known) or tuple(OF_FAMILY)


def known_value(
    name: str, value: Any, path: str, names: Mapping[str, HyperparameterSpec] | None = None
) -> Value:
    """Return the value in the hyperparameter's own type.

    Args:
        names: The hyperparameters there are; without it, :data:`KNOWN`.

    Raises:
        SpaceError: The trainer cannot use it; ``path`` says where it stands.
    """
    known = (KNOWN if names is None else names)[name]
    if known.choices:
        if not any(type(value) is type(choice) and value == choice for choice in known.choices):
            listed = ", ".join(shown_value(choice) for choice in known.choices)
            raise SpaceError(f"{path}: {shown(value)} is not one of {listed}")
        return value  # type: ignore[no-any-return]
    number = read_integer(value, path) if known.type is int else read_number(value, path)
    if not known.low <= number <= known.high:
        raise SpaceError(
            f"{path}: {shown_value(number)} is outside {shown_value(known.low)} to "
            f"{shown_value(known.high)}"
        )
    return number


def read_number(value: Any, path: str) -> float:
    """Read a finite number, or a text of one: YAML 1.1 reads 1e-5 (no dot) as a text."""
    number = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            raise SpaceError(f"{path}: {shown(value)} is not a number") from None
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise SpaceError(f"{path}: {shown(value)} is not a number")
    try:
        number = float(number)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SpaceError(f"{path}: {number} is not a finite number")
    return number


def read_integer(value: Any, path: str) -> int:
    """Read a whole number; ``20.0`` is one too."""
    number = read_number(value, path)
    if not number.is_integer():
        raise SpaceError(f"{path}: {shown_value(number)} is not a whole number")
    return int(number)
