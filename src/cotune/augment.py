"""Augmentation of images: every row of a minibatch is shifted and mirrored by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cotune.results import Value

_SALT = 0x61756774  # apart from the generator of the order of the rows


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image before a network is trained on it.

    Lanes that are trained together see the same images, so they share their augmentation.

    Attributes:
        shift: It moves by up to so many pixels up or down, and left or right; pixels at the edge
            are repeated.
        flip: Left and right are exchanged, with a chance of a half.
    """

    shift: int = 0
    flip: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Value]) -> Augmentation:
        """What ``shift`` and ``flip`` ask for."""
        return cls(int(params.get("shift", 0)), bool(params.get("flip", False)))

    def __bool__(self) -> bool:
        return self.shift > 0 or self.flip

    def draw(self, n_rows: int, seed: int, epoch: int) -> Tensor:
        """An epoch's random numbers: ``int64 [n_rows, 3]``: shift down, shift right, flip.

        They depend on the run's seed and the epoch alone, as the order of the rows does.
        """
        generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) ^ _SALT)
        shifts = torch.randint(-self.shift, self.shift + 1, (n_rows, 2), generator=generator)
        flips = torch.randint(0, 1 + self.flip, (n_rows, 1), generator=generator)
        return torch.cat([shifts, flips], 1)

    def apply(self, rows: Tensor, drawn: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """The images, moved.

        Args:
            rows: ``[batch, features]``.
            drawn: Of :meth:`draw`, ``[batch, 3]``, on the rows' device.
            input_shape: Height, width and perhaps channels, as they lie in a row.
        """
        height, width, *rest = input_shape
        channels = rest[0] if rest else 1
        down, right, flipped = drawn.unbind(1)
        y = torch.arange(height, device=rows.device) - down[:, None]
        x = torch.arange(width, device=rows.device) - right[:, None]
        x = torch.where(flipped[:, None] > 0, width - 1 - x, x)
        pixel = y.clamp_(0, height - 1)[:, :, None] * width + x.clamp_(0, width - 1)[:, None]
        source = pixel[..., None] * channels + torch.arange(channels, device=rows.device)
        return rows.gather(1, source.view(len(rows), -1))
