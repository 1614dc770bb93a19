"""Rows that an exported file takes: their type, and a sample to try it with."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from cotune.data.preprocessing.preprocess import Preprocessing, Standardize
from cotune.data.preprocessing.raw_rows import RawRows
from cotune.inference.predict import rows_shape

_MISSING: Final = 0.2  # share of the cells of a table


def sample_rows(preprocessing: Preprocessing, n_rows: int) -> Tensor:
    """Return random rows in the training data's range; of a table, some cells are missing."""
    generator = torch.Generator().manual_seed(0)
    dtype = rows_dtype(preprocessing)
    if isinstance(preprocessing, RawRows):
        low, high = torch.tensor(preprocessing.low), torch.tensor(preprocessing.high)
        shape = (n_rows, preprocessing.features)
        shares = torch.rand(shape, generator=generator, dtype=torch.float64)
        rows = low + (high.double() - low) * shares
        rows = rows.round().to(dtype) if dtype == torch.int64 else rows.to(dtype)
        return rows.view(n_rows, *preprocessing.input_shape)
    noise = torch.randn(n_rows, *rows_shape(preprocessing), generator=generator, dtype=dtype)
    if isinstance(preprocessing, Standardize):
        mean, std = (torch.tensor(value, dtype=dtype) for value in preprocessing.scales())
        return (mean + std * noise.flatten(1)).view_as(noise)
    cells = noise
    for place, part in preprocessing.numbers():
        cells[:, place] = part.center + cells[:, place] / (part.scale or 1.0)
    for place, _, _ in preprocessing.slots():
        n_categories = len(preprocessing.columns[place].categories)
        cells[:, place] = torch.randint(n_categories, (n_rows,), generator=generator).double()
    cells[torch.rand(cells.shape, generator=generator) < _MISSING] = torch.nan
    return cells


def rows_dtype(preprocessing: Preprocessing) -> torch.dtype:
    """Return the dtype of the rows that a file takes.

    Pixels fit a float32; values of other rows, such as dates in seconds, may not.
    """
    if isinstance(preprocessing, RawRows):
        is_float = preprocessing.columns or preprocessing.dtype == "float32"
        if not is_float:
            return torch.int64
        return torch.float64 if preprocessing.columns else torch.float32
    has_channels = isinstance(preprocessing, Standardize) and preprocessing.axis is not None
    is_flat = len(rows_shape(preprocessing)) == 1
    return torch.float64 if is_flat or has_channels else torch.float32
