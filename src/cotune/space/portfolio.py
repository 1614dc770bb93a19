"""Configurations that tend to do well, tried before the sampler's own."""

from __future__ import annotations

from typing import Final

from cotune.records import Value
from cotune.space.space import Space

_GOOD: Final[dict[str, tuple[dict[str, Value], ...]]] = {
    "mlp": (
        {"dropout": 0.2, "lr": 4e-3, "label_smoothing": 0.1, "epochs": 40},
        {"dropout": 0.1, "lr": 4e-3, "label_smoothing": 0.1, "shift": 1, "epochs": 80},
        {"n_layers": 3, "dropout": 0.3, "lr": 4e-3, "label_smoothing": 0.1, "epochs": 40},
    ),
    "own": (
        {"lr": 4e-3, "label_smoothing": 0.1, "epochs": 40},
        {"lr": 3e-4, "epochs": 40},
    ),
    "cnn": (
        {
            "n_blocks": 2,
            "filters_0": 16,
            "filters_1": 64,
            "dropout": 0.3,
            "lr": 2e-3,
            "batch_size": 64,
            "label_smoothing": 0.1,
            "shift": 1,
            "epochs": 40,
        },
        {
            "n_blocks": 3,
            "filters_0": 32,
            "filters_1": 64,
            "filters_2": 64,
            "dropout": 0.3,
            "lr": 2e-3,
            "batch_size": 64,
            "label_smoothing": 0.1,
            "shift": 1,
            "flip": True,
            "epochs": 40,
        },
    ),
}


def portfolio(space: Space) -> list[dict[str, Value]]:
    """Return the default configuration and other good ones, moved into the space.

    Where class weights are searched, the default with balanced ones comes second.

    Where there are several families, the first is the likelier one to win: of the others only
    their defaults are tried.
    """
    first, *others = space.families
    changes: list[dict[str, Value]] = [
        {},
        *({"model": first, **good} for good in _GOOD.get(first, ())),
    ]
    changes += [{"model": family} for family in others]
    if "class_weight" in space.searched:
        changes.insert(1, {"class_weight": 1.0})
    configurations: list[dict[str, Value]] = []
    for change in changes:
        configuration = space.default(change)
        if configuration not in configurations:
            configurations.append(configuration)
    return configurations
