"""Dropout whose rate and noise are tensors, so that lanes computed as one have their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cotune.engine.hashing import GOLDEN, LEVELS, noise


class LaneDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) by a hash of a seed and the place of each value.

    The noise does not depend on other lanes, and needs no generator inside ``vmap``.

    Attributes:
        rate: Scalar, 0-1.
        seed: ``int32`` scalar, new at each step.

    Args:
        layer: Its place among the network's dropout layers: no two have the same noise.
    """

    rate: Tensor
    seed: Tensor

    def __init__(self, rate: float, layer: int) -> None:
        super().__init__()
        self._salt = (layer + 1) * 0x3C6EF35F % 2**31
        self.register_buffer("rate", torch.tensor(rate), persistent=False)
        self.register_buffer("seed", torch.zeros((), dtype=torch.int32), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Set values to 0 at random and scale up the others, while training."""
        if not self.training:
            return values
        place = torch.arange(values.numel(), dtype=torch.int32, device=values.device)
        drawn = noise((place.view(values.shape) + self._salt) * GOLDEN ^ self.seed)
        kept = drawn >= self.rate * LEVELS
        return values * kept / (1.0 - self.rate)


def with_lane_dropout(module: nn.Module) -> list[str]:
    """Replace each ``nn.Dropout`` in a module, in place.

    Returns:
        Names of the new layers, in the order of the module.
    """
    found = [name for name, part in module.named_modules() if type(part) is nn.Dropout]
    for layer, name in enumerate(found):
        parent, _, last = name.rpartition(".")
        old = module.get_submodule(name)
        assert isinstance(old, nn.Dropout)
        setattr(module.get_submodule(parent), last, LaneDropout(old.p, layer))
    return found


def dropout_rates_of(module: nn.Module) -> list[float]:
    """Return the rates of the ``nn.Dropout`` layers, in the order of :func:`with_lane_dropout`."""
    return [float(part.p) for part in module.modules() if type(part) is nn.Dropout]
