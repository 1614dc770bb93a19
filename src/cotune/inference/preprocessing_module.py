"""Preprocessing as part of a network: raw rows to features, in tensor operations alone.

Exported models contain them, so no branch depends on the rows' values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cotune.data.preprocessing.preprocess import Preprocessing, Standardize
from cotune.data.preprocessing.raw_rows import RawRows
from cotune.data.preprocessing.table_preprocess import BOUND, FAR, TablePreprocessing


def preprocessing_module(preprocessing: Preprocessing) -> nn.Module:
    """Return a module that maps rows as they are in the data to ``[batch, features]``."""
    if isinstance(preprocessing, RawRows):
        return UnchangedRows(preprocessing)
    if isinstance(preprocessing, Standardize):
        return StandardizedRows(preprocessing)
    return TableFeatures(preprocessing)


def example_rows(preprocessing: Preprocessing) -> Tensor | None:
    """Return rows in the training data's range, ``[4, features]``, if rows are left unscaled.

    None where they are scaled: networks are then tried with random numbers.
    """
    if not isinstance(preprocessing, RawRows):
        return None
    low, high = torch.tensor(preprocessing.low), torch.tensor(preprocessing.high)
    shares = torch.linspace(1.0, 0.25, 4, dtype=torch.float64)[:, None]  # the greatest first
    rows = low + (high.double() - low) * shares
    if preprocessing.dtype == "int64":
        return rows.ceil().long().clamp(low, high).expand(4, preprocessing.features)
    return rows.float().expand(4, preprocessing.features)


class StandardizedRows(nn.Module):
    """Module of :class:`~cotune.data.preprocessing.preprocess.Standardize`."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Standardize) -> None:
        super().__init__()
        # as in training: of a large offset, such as dates in seconds, float32 leaves little
        mean, std = preprocessing.scales()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """``[batch, *input_shape]`` -> ``[batch, features]``."""
        return ((rows.flatten(1).double() - self.mean) / self.std).float()


class UnchangedRows(nn.Module):
    """Module of :class:`~cotune.data.preprocessing.raw_rows.RawRows`."""

    def __init__(self, preprocessing: RawRows) -> None:
        super().__init__()
        self._dtype = torch.int64 if preprocessing.dtype == "int64" else torch.float32

    def forward(self, rows: Tensor) -> Tensor:
        """``[batch, *input_shape]`` -> ``int64`` or ``float32 [batch, features]``."""
        return rows.flatten(1).to(self._dtype)


class TableFeatures(nn.Module):
    """Module of :class:`~cotune.data.preprocessing.table_preprocess.TablePreprocessing`.

    Features of categories are numbered across all columns. The feature of a cell is looked up in
    one table: ``turns_on[first + code]``. A column's last two entries are those of a missing cell
    (NaN) and of an unknown category (any other code).
    """

    scaled: Tensor  # columns of numbers, their centers and factors
    center: Tensor
    scale: Tensor
    missing: Tensor  # columns of numbers that may be missing
    coded: Tensor  # columns of categories, their first entries, and their numbers of codes
    first: Tensor
    n_codes: Tensor
    turns_on: Tensor
    column_of: Tensor  # for each feature of a category, its column among the coded ones

    def __init__(self, preprocessing: TablePreprocessing) -> None:
        super().__init__()
        numbers, slots = preprocessing.numbers(), preprocessing.slots()
        scaled = [(place, part) for place, part in numbers if part.scale > 0]
        first: list[int] = []
        turns_on: list[int] = []
        column_of: list[int] = []
        for i, (_, slot_of, count) in enumerate(slots):
            first.append(len(turns_on))
            turns_on += [slot + len(column_of) if slot >= 0 else -1 for slot in slot_of.tolist()]
            column_of += [i] * count
        for name, values in {
            "scaled": [place for place, _ in scaled],
            "missing": [place for place, part in numbers if part.missing],
            "coded": [place for place, _, _ in slots],
            "first": first,
            "n_codes": [len(slot_of) - 2 for _, slot_of, _ in slots],
            "turns_on": turns_on,
            "column_of": column_of,
        }.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.int64), persistent=False)
        # dates in seconds, and ids, take more digits than float32 has
        center = torch.tensor([part.center for _, part in scaled], dtype=torch.float64)
        scale = torch.tensor([part.scale for _, part in scaled], dtype=torch.float64)
        self.register_buffer("center", center, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, cells: Tensor) -> Tensor:
        """``float64 [batch, columns]``, NaN where a cell is missing -> ``[batch, features]``.

        An unknown category is -1.
        """
        cells = cells.double()
        parts = []
        if len(self.scaled):
            scaled = ((cells[:, self.scaled] - self.center) * self.scale).clamp(-FAR, FAR)
            scaled = torch.where(scaled.isnan(), 0.0, scaled)
            parts.append((scaled / (1.0 + (scaled / BOUND).square()).sqrt()).float())
        if len(self.missing):
            parts.append(cells[:, self.missing].isnan().float())
        if len(self.column_of):
            codes = cells[:, self.coded]
            known = (codes >= 0) & (codes < self.n_codes)
            others = self.n_codes.double() + (~codes.isnan()).double()
            entries = torch.where(known, codes, others).long() + self.first
            on = self.turns_on[entries][:, self.column_of]
            parts.append((on == torch.arange(len(self.column_of), device=on.device)).float())
        return torch.cat(parts, 1)
