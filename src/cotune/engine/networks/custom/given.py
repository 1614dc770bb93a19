"""A user's ``model`` argument: a name, a function, a class of modules, ``FILE.py:NAME``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cotune.engine.networks import CustomNetwork, load_custom_network

ModelLike = str | Callable[..., Any] | CustomNetwork | None
"""``mlp``, ``cnn`` or ``auto``; or the maker of the user's own networks: a function, a class of
modules, ``FILE.py:NAME``, or one that was read before."""


def read_custom_network(model: ModelLike) -> CustomNetwork | None:
    """Return the maker of the user's own networks, or None for a built-in family."""
    if model is None or (isinstance(model, str) and ":" not in model):
        return None
    if isinstance(model, CustomNetwork):
        return model
    return load_custom_network(model) if isinstance(model, str) else CustomNetwork(model)
