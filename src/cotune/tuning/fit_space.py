"""The space of a run, fitted to its dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cotune.data import Dataset
from cotune.data.mirror_images import may_be_mirrored
from cotune.data.preprocessing.channels import find_channels
from cotune.data.preprocessing.preprocess import is_series
from cotune.data.preprocessing.treatment import Treatment
from cotune.data.uneven import is_uneven
from cotune.engine.families import FAMILIES
from cotune.engine.networks.custom.given import ModelLike
from cotune.exceptions import UsageError
from cotune.space.given import SpaceLike, read_entries, read_space, whole_epochs
from cotune.space.hyperparameters import OF_IMAGES
from cotune.space.presets import PRESETS, training_entries, with_class_weight
from cotune.space.space import Space
from cotune.space.yaml import fix

if TYPE_CHECKING:
    from cotune.engine.networks import CustomNetwork

_AUTO: Final = Treatment()


def fit_space(
    space: SpaceLike,
    model: ModelLike,
    dataset: Dataset,
    fixed: Mapping[str, Any] | None = None,
    custom: CustomNetwork | None = None,
    validation: float = 0.2,
    seed: int = 0,
    treatment: Treatment = _AUTO,
) -> Space:
    """Return the space for a dataset; presets leave out what its rows cannot use.

    Where classes are of very different sizes, presets search their weights too. They mirror images
    only where the mirror image of a class is likely to be of it too.

    Args:
        fixed: Hyperparameters that are held at a value.
        custom: What makes the user's own networks; the space is then of their training, and of the
            arguments of a class.
        validation, seed: Of the split, by which the rows for such networks are preprocessed.
        treatment: What the user wants done to the rows.

    Raises:
        UsageError: The space is one of images, and the rows are none; or the user's network
            cannot be made.
    """
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    imbalanced = is_uneven(counts.tolist())
    fitted: Space
    is_preset = space is None or (isinstance(space, str) and space in PRESETS)
    images = dataset.has_images and not is_series(dataset, treatment)
    if custom is not None:
        from cotune.engine.networks.custom.rows import fit_custom_space

        added = training_entries(images, imbalanced, len(dataset))
        given = whole_epochs({**read_entries(space), **(fixed or {})})
        fitted = fit_custom_space(custom, added, given, dataset, (validation, seed), treatment)
    else:
        fitted = read_space(space, model, images, len(dataset))
        if is_preset and imbalanced:
            fitted = with_class_weight(fitted)
        if fixed:
            fitted = fix(fitted, whole_epochs(fixed))
    if dataset.has_images:
        if is_preset and "flip" in fitted.searched and not _may_flip(dataset, treatment):
            fitted = fix(fitted, {"flip": False})
        return fitted
    shape = f"the rows of {dataset.name} are no images: their shape is {dataset.input_shape}"
    for name in fitted.families:
        if name in FAMILIES and FAMILIES[name].needs_images:
            raise UsageError(f"model: a {name.upper()} needs images; {shape}; use mlp")
    for name in (*fitted.searched, *fitted.constants):
        if name in OF_IMAGES:
            raise UsageError(f"space: {name} is of images; {shape}; leave it out")
    return fitted


def _may_flip(dataset: Dataset, treatment: Treatment) -> bool:
    return may_be_mirrored(dataset, find_channels(dataset.inputs, treatment.channels))
