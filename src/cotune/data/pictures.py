"""Pictures of rows: a grid of images with a title beneath each."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cotune.data.dataset import Dataset
from cotune.exceptions import DataError, StorageError, writing

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

_SAMPLES = 16
_COLUMNS = 4
_CELL = 140  # pixels of the square that an image is fitted into
_GAP = 20  # pixels between cells and around them
_FONT_SIZE, _SMALL = 14, 12  # of a title's first line and of the others
_LINE = 17  # pixels from one title line to the next
_PAPER, _INK, _FAINT = "#ffffff", "#1f2328", "#656d76"
_FRAME = "#d0d7de"
_LONGEST = 200  # characters of a title line that are looked at


def draw_grid(
    images: Sequence[NDArray[np.generic]] | NDArray[np.generic],
    titles: Sequence[str],
) -> Image:
    """Draw images in rows of four, enlarged pixel by pixel, each with its title beneath.

    Args:
        images: ``[height, width]`` grey or ``[height, width, 3]`` colour. ``uint8`` is shown as it
            is; other types are scaled so that the least value of all images is black and the
            greatest white.
        titles: One an image; lines after the first are drawn smaller and fainter. What does not
            fit is cut with an ellipsis, which spares a percentage at the end.

    Raises:
        DataError: No images, images of another shape, or not one title an image.
    """
    from PIL import Image, ImageDraw, ImageFont

    if len(images) == 0 or len(images) != len(titles):
        raise DataError(f"{len(images)} images with {len(titles)} titles; give one title an image")
    pixels = _to_uint8(images)
    fonts = ImageFont.load_default(_FONT_SIZE), ImageFont.load_default(_SMALL)
    texts = [_printable_lines(title) for title in titles]
    columns = min(_COLUMNS, len(pixels))
    rows = -(-len(pixels) // columns)
    height = _CELL + 6 + _LINE * max(len(lines) for lines in texts)
    size = (_GAP + columns * (_CELL + _GAP), _GAP + rows * (height + _GAP))
    grid = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(grid)
    for index, (values, lines) in enumerate(zip(pixels, texts, strict=True)):
        left = _GAP + index % columns * (_CELL + _GAP)
        top = _GAP + index // columns * (height + _GAP)
        picture = _fit(Image.fromarray(values))
        x, y = left + (_CELL - picture.width) // 2, top + (_CELL - picture.height) // 2
        draw.rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline=_FRAME)
        grid.paste(picture, (x, y))
        for number, line in enumerate(lines):
            font = fonts[min(number, 1)]
            draw.text(
                (left + _CELL / 2, top + _CELL + 6 + number * _LINE),
                _shorten(line, font, _CELL + _GAP - 8),
                font=font,
                fill=_FAINT if number else _INK,
                anchor="ma",
            )
    return grid


def draw_samples(dataset: Dataset, path: str | os.PathLike[str] | None = None) -> bytes:
    """Draw the first 16 images of a dataset with their classes, as PNG; write them to ``path``.

    Raises:
        DataError: The rows are not images.
        StorageError: The file cannot be written.
    """
    if not dataset.has_images:
        raise DataError(f"{dataset.name}: the rows are not images; only images can be drawn")
    titles = [dataset.classes[label] for label in dataset.labels[:_SAMPLES]]
    png = to_png(draw_grid(dataset.inputs[:_SAMPLES], titles))
    if path is not None:
        try:
            Path(path).write_bytes(png)
        except OSError as error:
            raise StorageError(
                f"{os.fspath(path)}: cannot be written ({error.strerror}); choose another file"
            ) from error
    return png


def to_png(image: Image) -> bytes:
    """Return the image as the contents of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _to_uint8(
    images: Sequence[NDArray[np.generic]] | NDArray[np.generic],
) -> list[NDArray[np.uint8]]:
    arrays = [np.asarray(image) for image in images]
    for array in arrays:
        if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)) or array.size == 0:
            raise DataError(
                f"an image has shape {array.shape}; give [height, width] or [height, width, 3]"
            )
    if all(array.dtype == np.uint8 for array in arrays):
        return arrays
    low = min(float(array.min()) for array in arrays)
    span = max(float(array.max()) for array in arrays) - low or 1.0
    scaled = ((array.astype(np.float64) - low) * (255 / span) for array in arrays)
    return [np.rint(array).astype(np.uint8) for array in scaled]


def _fit(picture: Image) -> Image:
    """Enlarge by a whole factor, each pixel a crisp square; shrink smoothly what is too large."""
    from PIL import Image

    longest = max(picture.size)
    if longest > _CELL:
        width, height = (max(1, round(side * _CELL / longest)) for side in picture.size)
        return picture.resize((width, height), Image.Resampling.LANCZOS)
    factor = _CELL // longest
    return picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )


def _printable_lines(title: str) -> list[str]:
    lines = [line[:_LONGEST] for line in title.split("\n")] or [""]
    return ["".join(c if c.isprintable() else " " for c in line) for line in lines]


def _shorten(line: str, font: FreeTypeFont | ImageFont, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    share = re.search(r" \d+(\.\d+)? ?%$", line)
    end = "…" + (share.group() if share else "")
    line = line[: share.start()] if share else line
    while line and font.getlength(line + end) > width:
        line = line[:-1]
    return line.rstrip() + end


def draw_mistakes(
    dataset: Dataset,
    images: NDArray[np.generic],
    mistakes: Sequence[Mapping[str, float]],
    path: Path,
) -> None:
    """Draw misclassified images with true class, predicted class and probability, as PNG.

    Args:
        images: ``[mistakes, height, width(, channels)]``.
        mistakes: Of each, ``true`` and ``predicted`` class and ``probability``.

    Raises:
        StorageError: The file cannot be written.
    """
    titles = [
        f"{dataset.classes[int(m['true'])]}\ntaken for {dataset.classes[int(m['predicted'])]} "
        f"{m['probability']:.0%}"
        for m in mistakes
    ]
    png = to_png(draw_grid(images, titles))
    with writing(path):
        path.write_bytes(png)
