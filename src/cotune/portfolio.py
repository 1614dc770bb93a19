"""Configurations that tend to do well, tried before the sampler's own."""

from __future__ import annotations

from typing import Final

from cotune.results import Value
from cotune.space import Space

_GOOD: Final[dict[str, tuple[dict[str, Value], ...]]] = {
    "mlp": (
        {"width": 256, "dropout": 0.3, "lr": 4e-3, "batch_size": 64, "epochs": 30},
        {"n_layers": 3, "width": 256, "dropout": 0.3, "lr": 2e-3, "batch_size": 64, "epochs": 30},
        {"width": 128, "dropout": 0.2, "lr": 2e-3, "batch_size": 32, "epochs": 30},
    ),
    "cnn": (
        {"filters_0": 32, "filters_1": 64, "dropout": 0.3, "lr": 2e-3, "batch_size": 64},
        {"n_blocks": 3, "filters_0": 32, "filters_1": 64, "filters_2": 64, "dropout": 0.3},
    ),
}


def portfolio(space: Space) -> list[dict[str, Value]]:
    """The default configuration first, then others, each moved into the space; none twice."""
    changes: list[dict[str, Value]] = [{}]
    for family in space.families:
        changes += [{"model": family}, *({"model": family, **good} for good in _GOOD[family])]
    configurations: list[dict[str, Value]] = []
    for change in changes:
        configuration = space.default(change)
        if configuration not in configurations:
            configurations.append(configuration)
    return configurations
