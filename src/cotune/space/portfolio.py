"""Configurations that tend to do well, tried before the sampler's own."""

from __future__ import annotations

from typing import Final

from cotune.records import Value
from cotune.space.hyperparameters import KNOWN
from cotune.space.space import Space

_RESIDUAL: Final[dict[str, Value]] = {
    "filters_0": 16,
    "filters_1": 32,
    "filters_2": 64,
    "convolutions_1": 2,
    "convolutions_2": 2,
    "residual": True,
    "whitened": True,
    "head": "max",
    "dense_width": 0,
    "dropout": 0.0,
    "optimizer": "muon",
    "lr": 2e-2,
    "weight_decay": 1e-2,
    "batch_size": 128,
    "label_smoothing": 0.1,
    "flip": True,
    "epochs": 40,
}
_LR_OF_OTHERS: Final = 5e-3  # where a space has no Muon, whose rates are higher
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
        {**_RESIDUAL, "n_blocks": 3},
        {**_RESIDUAL, "n_blocks": 4, "filters_3": 128, "convolutions_3": 2},
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
        {**_RESIDUAL, "n_blocks": 3, "filters_0": 32, "filters_1": 64, "filters_2": 128},
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
        change = {**change, "epochs": passes * epochs_per_pass}
        configuration = space.default(change)
        if change.get("optimizer") not in (None, space.complete(configuration)["optimizer"]):
            configuration = space.default({**change, "lr": _LR_OF_OTHERS})
        if configuration not in configurations:
            configurations.append(configuration)
    return configurations
