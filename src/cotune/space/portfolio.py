"""Configurations that tend to do well, tried before the sampler's own."""

from __future__ import annotations

from typing import Final

from cotune.records import Value
from cotune.space.hyperparameters import KNOWN
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
            "n_blocks": 3,
            "filters_0": 32,
            "filters_1": 64,
            "filters_2": 96,
            "convolutions_1": 2,
            "convolutions_2": 2,
            "residual": True,
            "head": "max",
            "dense_width": 0,
            "dropout": 0.0,
            "lr": 5e-3,
            "weight_decay": 1e-2,
            "batch_size": 128,
            "label_smoothing": 0.1,
            "flip": True,
            "epochs": 40,
        },
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
    ),
}


def portfolio(space: Space, epochs_per_pass: int = 1) -> list[dict[str, Value]]:
    """Return the default configuration and other good ones, moved into the space.

    The default comes first; where class weights are searched, the default with balanced ones
    follows. Where there are several families, those of images come next, as they tend to win.

    Args:
        epochs_per_pass: How many epochs of the space are a pass over the rows.
    """
    families = sorted(space.families, key=lambda family: family == "mlp")
    changes: list[dict[str, Value]] = [{}]
    if "class_weight" in space.searched:
        changes.append({"class_weight": 1.0})
    changes += [{"model": f, **good} for f in families for good in _GOOD.get(f, ())]
    changes += [{"model": family} for family in families]
    configurations: list[dict[str, Value]] = []
    for change in changes:
        passes = int(change.get("epochs", KNOWN["epochs"].default))
        configuration = space.default({**change, "epochs": passes * epochs_per_pass})
        if configuration not in configurations:
            configurations.append(configuration)
    return configurations
