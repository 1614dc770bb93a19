"""Configurations that tend to do well, tried before the sampler's own."""

from __future__ import annotations

from typing import Final

from cotune.results import Value
from cotune.space import Space

_GOOD: Final[tuple[dict[str, Value], ...]] = (
    {"width": 256, "dropout": 0.3, "lr": 4e-3, "batch_size": 64, "epochs": 30},
    {"n_layers": 3, "width": 256, "dropout": 0.3, "lr": 2e-3, "batch_size": 64, "epochs": 30},
    {"width": 128, "dropout": 0.2, "lr": 2e-3, "batch_size": 32, "epochs": 30},
)


def portfolio(space: Space) -> list[dict[str, Value]]:
    """The default configuration first, then others, each moved into the space; none twice."""
    configurations: list[dict[str, Value]] = []
    for changes in ({}, *_GOOD):
        configuration = space.default(changes)
        if configuration not in configurations:
            configurations.append(configuration)
    return configurations
