"""A user's own network as it is given: a function, a class of modules, ``FILE.py:NAME``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cotune.engine.networks import OwnNetwork, load_own

ModelLike = str | Callable[..., Any] | None
"""``mlp``, ``cnn`` or ``auto``; or what makes the user's own networks: a function, a class of
modules, ``FILE.py:NAME``."""


def read_own(model: ModelLike) -> OwnNetwork | None:
    """What makes the user's own networks, or None where they are of a built-in family."""
    if model is None or (isinstance(model, str) and ":" not in model):
        return None
    from cotune.engine.networks import OwnNetwork

    return load_own(model) if isinstance(model, str) else OwnNetwork(model)
