"""First convolutions that whiten what they see: a start that knows the images."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS: Final = 1_000
"""Images that are looked at."""

_FLOOR: Final = 1e-2  # of the mean variance: what hardly varies is not blown up


@torch.no_grad()
def whiten(weights: Tensor, images: Tensor) -> None:
    """Replace filters by ones whose outputs on patches of images are uncorrelated, with variance 1.

    The principal components of the patches, the largest first, each divided by its standard
    deviation (Coates, Ng and Lee 2011, section 3.3); for half of the filters at most, and their
    negatives, as an activation lets one sign pass (Jordan 2024). The other filters stay.

    Args:
        weights: ``[filters, channels, height, width]``, changed in place.
        images: ``[some, channels, height, width]``, standardized.
    """
    filters, *shape = weights.shape
    patches = F.unfold(images.double(), weights.shape[2:]).transpose(1, 2).flatten(0, 1)
    variances, components = torch.linalg.eigh(patches.t() @ patches / len(patches))
    scales = (variances + _FLOOR * variances.mean()).clamp(min=1e-12).sqrt()
    white = (components / scales).t().flip(0)[: filters // 2].view(-1, *shape).to(weights)
    weights[: len(white)] = white
    weights[len(white) : 2 * len(white)] = -white
