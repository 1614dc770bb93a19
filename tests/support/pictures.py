"""Small images in folders, for tests of how folders are understood."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog")


def write_images(root: Path, *stems: str, count: int = 6, ending: str = ".png") -> None:
    """Write ``count`` grey images for each stem: ``train/cat/`` gives ``train/cat/0.png``."""
    generator = np.random.default_rng(len(stems))
    for stem in stems:
        for i in range(count):
            path = root / f"{stem}{i}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (6, 6), np.uint8)).save(path)


def write_parts(root: Path, *parts: str, classes: Sequence[str] = CLASSES, count: int = 6) -> None:
    """Write ``PART/CLASS/0.png`` and so on."""
    for part in parts:
        write_images(root, *(f"{part}/{name}/" for name in classes), count=count)
