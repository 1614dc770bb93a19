"""Augmentation of images: each is shifted, mirrored and partly erased by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Final

import torch
from torch import Tensor

from cotune.records import Value
from cotune.space.hyperparameters import PADDINGS

_SALT = 0x61756774  # apart from the generator of the order of the rows
_COIN_SALT = 0x636F696E
_UNITS: Final = 1 << 16  # of an image's height and width, in which a rectangle's edges are drawn
_EDGE, _REFLECT = PADDINGS
_SLIMMEST: Final = 0.3  # height to width, as shares of the image's; the broadest is its inverse


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of images before a network is trained on them.

    Lanes that are trained together see the same images, so they share their augmentation.

    Attributes:
        shift: It moves by up to so many pixels up or down, and left or right.
        padding: What comes in at a side: ``edge`` repeats the pixels there, ``reflect`` mirrors
            those beside them, as a crop of an image that ``numpy.pad`` has made larger.
        flip: Left and right are exchanged: of each image in every second pass over the rows, of
            half of them in each (Jordan 2024).
        erase: Then a rectangle of up to this share of it becomes 0, which is the mean of
            standardized pixels (random erasing, Zhong et al. 2020).
    """

    shift: int = 0
    flip: bool = False
    erase: float = 0.0
    padding: str = _EDGE

    @classmethod
    def from_params(cls, params: Mapping[str, Value]) -> Augmentation:
        """Return the augmentation that these hyperparameters ask for."""
        return cls(
            int(params.get("shift", 0)),
            bool(params.get("flip", False)),
            float(params.get("erase", 0.0)),
            str(params.get("padding", _EDGE)),
        )

    def __bool__(self) -> bool:
        return self.shift > 0 or self.flip or self.erase > 0.0

    @property
    def n_drawn(self) -> int:
        """Random numbers an image."""
        return 7 if self.erase else 3

    def draw(self, rows: Tensor, n_rows: int, seed: int, epoch: int, turn: int) -> Tensor:
        """Draw an epoch's random numbers ``int64 [some, 3 or 7]``: shift down, shift right, flip.

        Where something is erased, the top, bottom, left and right of the rectangle follow, in
        65,536ths of the image. Its share is uniform from 0 to the largest, the logarithm of its
        ratio of height to width too, from 0.3 to its inverse; what would be higher or wider than
        the image is cut to it.

        They depend on the run's seed and the epoch alone, as the order of the rows does; what is
        flipped, on the row too.

        Args:
            rows: ``[some]``, the rows of the epoch, on the CPU.
            n_rows: How many there are in all.
            seed: The run's.
            epoch: From 0.
            turn: Passes over the rows before this one.
        """
        some = len(rows)
        generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) ^ _SALT)
        shifts = torch.randint(-self.shift, self.shift + 1, (some, 2), generator=generator)
        flips = torch.zeros(some, 1, dtype=torch.int64)
        if self.flip:
            coin = torch.Generator().manual_seed(seed ^ _COIN_SALT)
            flips = (torch.randint(0, 2, (n_rows, 1), generator=coin)[rows] + turn) % 2
        if not self.erase:
            return torch.cat([shifts, flips], 1)
        numbers = torch.rand(some, 4, generator=generator, dtype=torch.float64)
        share, ratio, top, left = numbers.unbind(1)
        area, ratio = share * self.erase, ((2.0 * ratio - 1.0) * -log(_SLIMMEST)).exp()
        height, width = (area * ratio).sqrt().clamp(max=1.0), (area / ratio).sqrt().clamp(max=1.0)
        top, left = top * (1.0 - height), left * (1.0 - width)
        edges = torch.stack([top, top + height, left, left + width], 1)
        return torch.cat([shifts, flips, (edges * _UNITS).round().long()], 1)

    def apply(self, rows: Tensor, drawn: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Move and partly erase images: a pixel is erased where its centre lies in the rectangle.

        Args:
            rows: ``[batch, features]``.
            drawn: Of :meth:`draw`, ``[batch, 3 or 7]``, on the rows' device.
            input_shape: Height, width and perhaps channels, as they lie in a row.
        """
        height, width, *rest = input_shape
        channels = rest[0] if rest else 1
        down, right, flipped = drawn[:, :3].unbind(1)
        y = torch.arange(height, device=rows.device) - down[:, None]
        x = torch.arange(width, device=rows.device) - right[:, None]
        x = torch.where(flipped[:, None] > 0, width - 1 - x, x)
        if self.padding == _REFLECT:
            y, x = _reflected(y, height), _reflected(x, width)
        pixel = y.clamp_(0, height - 1)[:, :, None] * width + x.clamp_(0, width - 1)[:, None]
        source = pixel[..., None] * channels + torch.arange(channels, device=rows.device)
        moved = rows.gather(1, source.view(len(rows), -1))
        if not self.erase:
            return moved
        top, bottom, left, right = drawn[:, 3:, None].unbind(1)
        y, x = (
            (2 * torch.arange(n, device=rows.device) + 1) * _UNITS // (2 * n)
            for n in (height, width)
        )
        inside_y, inside_x = (y >= top) & (y < bottom), (x >= left) & (x < right)
        erased = (inside_y[:, :, None] & inside_x[:, None])[..., None]
        return moved.masked_fill_(erased.expand(-1, -1, -1, channels).reshape(moved.shape), 0.0)


def _reflected(places: Tensor, length: int) -> Tensor:
    """Mirror places beyond an edge at the pixel there; those too far out stay out."""
    last = length - 1
    return last - (last - places.abs()).abs()
