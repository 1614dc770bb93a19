"""The treatment of rows for a user's own network: the first that the network takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from numpy.typing import NDArray

from cotune.data.dataset import Dataset
from cotune.data.preprocessing.preprocess import sample_rows
from cotune.data.preprocessing.treatment import Treatment, treatments_for_custom
from cotune.engine.networks import CustomNetwork
from cotune.engine.networks.custom.network import RowsRefusedError
from cotune.engine.networks.custom.space import CustomSpace
from cotune.exceptions import UsageError
from cotune.space.hyperparameters import OF_IMAGES

_TRIED: Final = 4


def fit_custom_space(
    custom: CustomNetwork,
    added: Mapping[str, Any],
    given: Mapping[str, Any],
    dataset: Dataset,
    split: tuple[float, int],
    asked: Treatment,
) -> CustomSpace:
    """Return the space of a user's network, with the treatment of its rows.

    The network is tried with rows of the dataset. One that converts its rows to whole numbers gets
    them unscaled.

    Args:
        added, given: As for :class:`CustomSpace`.
        split: Share of the validation part, and the seed.
        asked: The treatment that the user asks for.

    Raises:
        UsageError: The network cannot be made, or takes the rows under no treatment.
        SpaceError: As for :class:`CustomSpace`.
    """
    treatments = treatments_for_custom(dataset, asked)
    refused: list[str] = []
    fallback: CustomSpace | None = None
    for treatment in treatments:
        rows, shape = sample_rows(dataset, *split, treatment)
        offered = added
        if treatment.dtype == "int64":  # whole numbers are no images to be moved
            offered = {name: entry for name, entry in added.items() if name not in OF_IMAGES}
        try:
            space = CustomSpace(
                custom.tried_with(torch.from_numpy(rows)),
                offered,
                given,
                shape,
                len(dataset.classes),
            )
        except RowsRefusedError as error:
            refused.append(f"{rows.dtype}: {error}" if len(treatments) > 1 else str(error))
            continue
        space.treatment = treatment
        if treatment.inputs != "standardize" or len(treatments) == 1 or not space.looks_up:
            return space
        fallback = fallback or space
    if fallback is not None:
        return fallback
    message = "; ".join(line.replace("model: ", "", 1) for line in refused)
    if asked.inputs == "standardize":
        message += "; leave --inputs at auto, and whole numbers reach it as they are"
    raise UsageError(f"model: {message}")


def with_rows(custom: CustomNetwork, rows: NDArray[Any]) -> CustomNetwork:
    """Return the same maker, which tries networks with the first of these rows.

    Args:
        rows: ``[rows, features]``.
    """
    return custom.tried_with(torch.from_numpy(rows[:_TRIED]))
