"""A run's arguments, checked before anything is done.

PyTorch is imported only where it has to be asked.
"""

from __future__ import annotations

import difflib
import math
import numbers
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import yaml

from cotune.data import Dataset
from cotune.data.dataset import COLUMN_KINDS, Reading
from cotune.data.preprocess import is_series
from cotune.data.reading import Data, read_data
from cotune.data.treatment import Treatment
from cotune.duration import parse_duration
from cotune.exceptions import SpaceError, UsageError
from cotune.hyperparameters import OF_IMAGES, shown, shown_key
from cotune.presets import PRESETS, load_space, training_entries, with_class_weight
from cotune.results import COSTS, DIRECTIONS
from cotune.space import Space
from cotune.space_yaml import fix, read_yaml, space_from_dict
from cotune.uneven import is_uneven

if TYPE_CHECKING:
    from cotune.models import OwnNetwork

DEFAULT_TIMEOUT: Final = 300.0
DEVICES: Final = ("auto", "cpu", "cuda")
ENSEMBLES: Final = ("search", "finalists")
INPUTS: Final = ("auto", "raw", "standardize")
CHANNELS: Final = ("auto", "first", "last", "none")
_AUTO: Final = Treatment()
MODELS: Final = ("mlp", "cnn", "auto")
PRECISIONS: Final = ("float32", "bfloat16")

T = TypeVar("T")


SpaceLike = str | Path | Space | Mapping[str, Any] | None


ModelLike = str | Callable[..., Any] | None
"""``mlp``, ``cnn`` or ``auto``; or what makes the user's own networks: a function, a class of
modules, ``FILE.py:NAME``."""


def read_own(model: ModelLike) -> OwnNetwork | None:
    """What makes the user's own networks, or None where they are of a built-in family."""
    if model is None or (isinstance(model, str) and ":" not in model):
        return None
    from cotune.models import OwnNetwork, load_own

    return load_own(model) if isinstance(model, str) else OwnNetwork(model)


def read_space(
    space: SpaceLike,
    model: ModelLike = None,
    images: bool = True,
    rows: int | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Space:
    """A preset's name, a YAML file, a mapping as in YAML, or a space; or else a model's own.

    Args:
        images: Whether a preset is for images.
        rows: How many rows it is for; None: many.
        fixed: Hyperparameters that are held at a value.
    """
    if fixed:
        return fix(read_space(space, model, images, rows), fixed)
    if space is None:
        return load_space(str(named(model or "mlp", MODELS, "model")), images, rows)
    if model is not None:
        raise UsageError("model: give a model or a space, not both")
    if isinstance(space, Space):
        return space
    if isinstance(space, Mapping):
        return space_from_dict(dict(space))
    return load_space(str(space), images, rows)


def fit_space(
    space: SpaceLike,
    model: ModelLike,
    dataset: Dataset,
    fixed: Mapping[str, Any] | None = None,
    own: OwnNetwork | None = None,
    validation: float = 0.2,
    seed: int = 0,
    treatment: Treatment = _AUTO,
) -> Space:
    """The space for a dataset; presets leave out what its rows cannot use.

    Where classes are of very different sizes, presets search their weights too.

    Args:
        fixed: Hyperparameters that are held at a value.
        own: What makes the user's own networks; the space is then of their training, and of the
            arguments of a class.
        validation, seed: Of the split, by which the rows for such networks are preprocessed.
        treatment: What the user wants done to the rows.

    Raises:
        UsageError: The space is one of images, and the rows are none; or the user's network
            cannot be made.
    """
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    imbalanced = is_uneven(counts.tolist())
    fitted: Space
    images = dataset.has_images and not is_series(dataset, treatment)
    if own is not None:
        from cotune.own_rows import fit_own_space

        added = training_entries(images, imbalanced, len(dataset))
        given = {**read_entries(space), **(fixed or {})}
        fitted = fit_own_space(own, added, given, dataset, (validation, seed), treatment)
    else:
        fitted = read_space(space, model, images, len(dataset))
        is_preset = space is None or (isinstance(space, str) and space in PRESETS)
        if is_preset and imbalanced:
            fitted = with_class_weight(fitted)
        if fixed:
            fitted = fix(fitted, fixed)
    if dataset.has_images:
        return fitted
    shape = f"the rows of {dataset.name} are no images: their shape is {dataset.input_shape}"
    if "cnn" in fitted.families:
        raise UsageError(f"model: a CNN needs images; {shape}; use mlp")
    for name in (*fitted.searched, *fitted.constants):
        if name in OF_IMAGES:
            raise UsageError(f"space: {name} is of images; {shape}; leave it out")
    return fitted


def read_entries(space: SpaceLike) -> dict[str, Any]:
    """What a YAML file or a mapping says of hyperparameters, unchecked."""
    if space is None:
        return {}
    if isinstance(space, Mapping):
        return dict(space)
    if isinstance(space, Space):
        return space.to_dict()
    data = read_yaml(Path(space))
    if not isinstance(data, dict):
        raise SpaceError(f"{space}: a space maps hyperparameters to distributions; none is there")
    return data


def read_fixed(texts: Sequence[str]) -> dict[str, Any]:
    """``lr=0.001``: hyperparameters and their values, which are written as in YAML."""
    fixed: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals:
            raise UsageError(f"fixed: {shown(text)} is not NAME=VALUE, such as lr=0.001")
        if name in fixed:
            raise UsageError(f"fixed.{shown_key(name)}: is there twice")
        try:
            fixed[name] = yaml.safe_load(value)
        except Exception as error:  # PyYAML lets a ValueError through, as of a day 32
            raise UsageError(f"fixed.{shown_key(name)}: {shown(value)} is no value") from error
    return fixed


def read_dataset(
    data: Data,
    target: str | int | None = None,
    test: Data = None,
    columns: Mapping[str, str] | None = None,
    skip_damaged: bool = False,
) -> Dataset:
    """A named dataset, a file or folder, or objects in memory; see :func:`read_data`."""
    reading = Reading(read_column_kinds(columns), bool(skip_damaged))
    return read_data(data, target=target, test=test, reading=reading)


def read_column_kinds(columns: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """Kinds of columns by name, given as a mapping or as texts ``NAME=KIND``.

    Raises:
        UsageError: A text is not of that form, a kind is unknown, or a column is named twice.
    """
    if columns is None:
        return {}
    kinds: dict[str, str] = {}
    pairs = columns.items() if isinstance(columns, Mapping) else map(_column_kind, columns)
    for name, kind in pairs:
        if name in kinds:
            raise UsageError(f"column: {shown(name)} is there twice")
        kinds[str(name)] = str(named(str(kind), COLUMN_KINDS, f"column {shown(name)}"))
    return kinds


def _column_kind(text: str) -> tuple[str, str]:
    name, equals, kind = text.rpartition("=")
    if not name.strip() or not equals:
        raise UsageError(f"column: {shown(text)} is not NAME=KIND, such as Id=skip")
    return name.strip(), kind.strip()


def named(value: str | T, names: tuple[str, ...], what: str) -> str | T:
    """The value, if it is one of the names or an object."""
    if not isinstance(value, str) or value in names:
        return value
    near = difflib.get_close_matches(value.lower(), names, n=1, cutoff=0.7)  # gpu is not cpu
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(names)}"
    raise UsageError(f"{what}: {shown(value)} is unknown; {hint}")


def read_samplers(samplers: str | Iterable[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """Several samplers: their names, or one text with commas between them.

    Args:
        names: Those there are.
    """
    given = samplers.split(",") if isinstance(samplers, str) else list(samplers)
    asked = [name.strip() if isinstance(name, str) else name for name in given]
    if not any(asked):
        raise UsageError(f"samplers: none is given; choose some of {', '.join(names)}")
    for i, name in enumerate(asked):
        if not isinstance(name, str):
            raise UsageError(f"samplers: {shown(name)} is not the name of a sampler")
        named(name, names, "samplers")
        if name in asked[:i]:
            raise UsageError(f"samplers: {name} is there twice")
    return tuple(asked)


def read_metrics(text: str) -> tuple[str, tuple[str, ...]]:
    """``accuracy,parameters``: a metric, and what is to be small beside it."""
    if not isinstance(text, str):
        raise UsageError(f"metric: {shown(text)} is not a name")
    metric, *costs = (name.strip() for name in text.split(","))
    named(metric, tuple(DIRECTIONS), "metric")
    for name in costs:
        named(name, COSTS, "metric")
        if costs.count(name) > 1:
            raise UsageError(f"metric: {name} is there twice")
    return metric, tuple(costs)


def positive(value: int | None, what: str) -> int | None:
    """The value, if it is None or a whole number above 0."""
    if value is None:
        return None
    if not _is_whole(value) or value < 1:
        raise UsageError(f"{what}: {shown(value)} is not a whole number above 0")
    return int(value)


def count(value: int, what: str) -> int:
    """The value, if it is a whole number from 0 to 1000."""
    if not _is_whole(value) or not 0 <= value <= 1000:
        raise UsageError(f"{what}: {shown(value)} is not a whole number from 0 to 1000")
    return int(value)


def read_seed(value: int) -> int:
    """The seed, if it is a whole number from 0 to 2**32 - 1."""
    if not _is_whole(value) or not 0 <= value < 2**32:
        raise UsageError(f"seed: {shown(value)} is not a whole number from 0 to {2**32 - 1}")
    return int(value)


def _is_whole(value: object) -> bool:
    """Whether it is a whole number, NumPy's among them."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def read_timeout(timeout: str | float | None, n_trials: int | None) -> float | None:
    """Seconds; without a timeout the default, or no limit when the trials are counted."""
    if timeout is None:
        return DEFAULT_TIMEOUT if n_trials is None else None
    return parse_duration(timeout)


def read_size(size: str | float, what: str) -> float:
    """Bytes, from a number or from ``500MB``, ``2GB``; at least a megabyte."""
    units = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
    text = size.strip().upper() if isinstance(size, str) else ""
    factor = units.get(text[-2:], 1.0)
    try:
        number = float(text[:-2] if text[-2:] in units else (text or size)) * factor
    except (TypeError, ValueError):
        number = math.nan
    if not 1e6 <= number < math.inf:
        raise UsageError(f"{what}: {shown(size)} is no size of 1MB or more; give 500MB, 2GB")
    return number


def read_device(device: str) -> str:
    """``cpu`` or ``cuda``, from these or ``auto``."""
    if device not in DEVICES:
        raise UsageError(f"device: {shown(device)} is unknown; choose auto, cpu or cuda")
    if device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise UsageError("device: PyTorch finds no CUDA device here; use --device cpu")
    return "cpu"


def read_precision(precision: str, device: str) -> str:
    """``float32`` or ``bfloat16``; warns where the device has no products of 16 bits."""
    named(precision, PRECISIONS, "precision")
    if precision == "bfloat16":
        import torch

        if device == "cuda":
            has_it = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            has_it = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        if not has_it:
            warnings.warn("precision: bfloat16 is slower than float32 here", stacklevel=2)
    return precision


def n_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
