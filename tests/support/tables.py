"""Tables for tests: real ones of scikit-learn's, and one with columns of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets


def real_table(name: str) -> Any:
    """``breast_cancer``, ``wine`` or ``iris`` as a DataFrame whose labels are names."""
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    return bunch.frame.assign(target=bunch.target_names[bunch.target])


def mixed_table() -> Any:
    """Wine with a category, a boolean, a date, an id, a constant and missing cells."""
    table = real_table("wine")
    random = np.random.default_rng(0)
    colours = pd.cut(table.color_intensity, 4, labels=["pale", "rosy", "red", "dark"])
    seconds = random.integers(0, 10**7, len(table))
    table = table.drop(columns="color_intensity").assign(
        colour=colours.astype(str),
        strong=table.alcohol > 13,
        bottled=pd.Timestamp("2020-01-01") + pd.to_timedelta(seconds, unit="s"),
        bottle=[f"bottle {i}" for i in range(len(table))],
        country="Italy",
        volume=0.75,
    )
    table.loc[random.random(len(table)) < 0.1, "ash"] = np.nan
    table.loc[random.random(len(table)) < 0.2, "colour"] = None
    return table
