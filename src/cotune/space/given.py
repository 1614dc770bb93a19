"""A space as it is given: a preset, a YAML file, a mapping; and ``--set NAME=VALUE``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from cotune.arguments import named
from cotune.exceptions import SpaceError, UsageError
from cotune.space.presets import load_space
from cotune.space.space import Space
from cotune.space.yaml import fix, read_yaml, space_from_dict
from cotune.text import shown, shown_key

MODELS: Final = ("mlp", "cnn", "auto")


SpaceLike = str | Path | Space | Mapping[str, Any] | None


def read_space(
    space: SpaceLike,
    model: object = None,
    images: bool = True,
    rows: int | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Space:
    """Read a space: a preset's name, a YAML file, a mapping, a space; or else a model's own.

    Args:
        images: Whether a preset is for images.
        rows: How many rows it is for; None: many.
        fixed: Hyperparameters that are held at a value.
    """
    if fixed:
        return fix(read_space(space, model, images, rows), whole_epochs(fixed))
    if space is None:
        return load_space(str(named(model or "auto", MODELS, "model")), images, rows)
    if model is not None:
        raise UsageError("model: give a model or a space, not both")
    if isinstance(space, Space):
        return space
    if isinstance(space, Mapping):
        return space_from_dict(dict(space))
    return load_space(str(space), images, rows)


def whole_epochs(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a user gave; whoever gives epochs and no more means passes over all rows."""
    return {"epoch_rows": 0, **given} if "epochs" in given else dict(given)


def read_entries(space: SpaceLike) -> dict[str, Any]:
    """Read the entries of a YAML file or a mapping, unchecked."""
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
    """Read texts such as ``lr=0.001``, with values written as in YAML."""
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
