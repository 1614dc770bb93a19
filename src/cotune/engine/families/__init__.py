"""Model families by name; a new one is a module here and a line in ``_BUILT_IN``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cotune.engine.families.base import Family
from cotune.engine.families.cnn import CNNFamily
from cotune.engine.families.custom import CustomFamily
from cotune.engine.families.mlp import MLPFamily
from cotune.engine.networks.custom.network import CustomNetwork
from cotune.records import Value
from cotune.space.hyperparameters import KNOWN, add_family, remove_family

_BUILT_IN: Final[tuple[type[Family], ...]] = (
    MLPFamily,
    CNNFamily,
)

FAMILIES: Final[dict[str, Family]] = {}
"""Registered families by name; a user's own networks are none of them."""


def register(family: Family) -> None:
    """Add a family, or replace the one of that name; spaces can name it from now on.

    Worker processes know the families of the package alone, so one from outside is trained with
    ``workers="in-process"``.
    """
    FAMILIES[family.name] = family
    add_family(family.name, family.hyperparameters)


def unregister(name: str) -> None:
    """Take a family out again."""
    del FAMILIES[name]
    remove_family(name)


def family_of(params: Mapping[str, Value], custom: CustomNetwork | None = None) -> Family:
    """Return the family of a configuration.

    Args:
        custom: Maker of the user's own networks, whose family is theirs.
    """
    if custom is not None:
        return CustomFamily(custom)
    return FAMILIES[str(params.get("model", KNOWN["model"].default))]


for _family in _BUILT_IN:
    register(_family())
