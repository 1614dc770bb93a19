"""A folder of PNG and JPEG images with a folder per class."""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cotune.data.files import open_regular
from cotune.data.memory import new_array
from cotune.exceptions import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg")

_FORMATS = ("PNG", "JPEG")
_MOST_PIXELS = 50_000_000  # of one image: 150 MB once it is decoded
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B")
_TRAIN, _TEST = ("train", "training"), ("test", "testing")
_VALIDATION = ("val", "valid", "validation")
_ORIENTATION = 0x0112  # the EXIF tag; from 5 on height and width change places
_MANY = 2_000  # files for which a bar is shown


@dataclass
class ImageRows:
    """Images of a folder, or of a part of it.

    Attributes:
        inputs: ``uint8 [rows, height, width]`` where all are grey, else ``[..., 3]``.
        labels: ``[rows]``: the names of their classes; None where they have none.
        paths: ``[rows]``.
        remarks: What was done to them: one line each.
    """

    inputs: NDArray[np.uint8]
    labels: NDArray[np.str_] | None
    paths: list[Path]
    remarks: tuple[str, ...]


def read_image_folder(
    folder: Path, shape: tuple[int, ...] | None = None
) -> tuple[ImageRows, ImageRows | None]:
    """Read ``FOLDER/CLASS/*.png``, or ``FOLDER/train/CLASS`` and ``FOLDER/test/CLASS``.

    Images of several sizes are resized to the one that most of them have, or else to the median
    height and width; where some are grey and some are not, all become colour. Sixteen bits become
    eight, palettes colours; transparency is dropped, and photographs are turned upright. Hidden
    files are passed over.

    Args:
        folder: Without a ``test`` folder ``val`` is the test set; beside one, it belongs to the
            training set.
        shape: Of an image, ``(height, width)`` or ``(height, width, 3)``; found out by default.

    Returns:
        The training images, and those of the test set where it has a folder.

    Raises:
        DataError: There are no folders of classes, one has no image, an image is damaged or too
            large, or a link leads out of the folder.
    """
    listing = _Listing(folder)
    parts = _parts(listing.folders(folder))
    if parts is None:
        listing.add_classes(folder)
        return _read(listing, shape), None
    train, validation, test = parts
    listing.add_classes(train)
    if validation is not None:
        listing.add_classes(validation)
        listing.remarks.append(f"{validation.name}/ is taken into the training set")
    rows = _read(listing, shape)
    if test is None:
        return rows, None
    sealed = _Listing(folder)
    sealed.add_classes(test)
    if test.name.lower() in _VALIDATION:
        sealed.remarks.append(f"{test.name}/ is taken as the test set")
    return rows, _read(sealed, rows.inputs.shape[1:])


def read_images(path: Path, shape: tuple[int, ...]) -> ImageRows:
    """An image, or all in a folder and the folders in it.

    Their classes are those of the folders in the folder, empty ones left out; where images are in
    the folder itself, they are not known.

    Args:
        path: A file or a folder.
        shape: What they are resized to; see :func:`read_image_folder`.

    Raises:
        DataError: There is no image, one is damaged or too large, or a link leads out of the
            folder.
    """
    listing = _Listing(path)
    if path.is_dir():
        listing.add(path)
    else:
        listing.paths.append(path)
    if not listing.paths:
        raise DataError(f"{path}: has no PNG or JPEG images")
    if path.is_dir() and all(one.parent != path for one in listing.paths):
        listing.labels = [one.relative_to(path).parts[0] for one in listing.paths]
    return _read(listing, shape)


def has_parts(folder: Path) -> bool:
    """Whether it has folders ``train`` and perhaps ``test`` with those of the classes in them."""
    listing = _Listing(folder)
    at_top = (path.suffix.lower() in SUFFIXES for path in listing.files(folder))
    return not any(at_top) and _parts(listing.folders(folder)) is not None


@dataclass
class _Listing:
    """Files below a folder."""

    root: Path
    paths: list[Path] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    others: int = 0

    def folders(self, folder: Path) -> list[Path]:
        return [path for path in self._entries(folder) if path.is_dir()]

    def files(self, folder: Path) -> list[Path]:
        return [path for path in self._entries(folder) if not path.is_dir()]

    def add_classes(self, folder: Path) -> None:
        """All images in a folder's folders, with the names of these."""
        classes = self.folders(folder)
        if not classes:
            raise DataError(
                f"{folder}: has no folders; put the images of each class into a folder of its own"
            )
        self.others += len(self.files(folder))
        for one in classes:
            before = len(self.paths)
            self.add(one)
            count = len(self.paths) - before
            if not count:
                raise DataError(
                    f"{one}: has no PNG or JPEG images, so its class is empty; add some or remove "
                    "the folder"
                )
            self.labels += [one.name] * count

    def add(self, folder: Path) -> None:
        """All images in a folder and in the folders in it."""
        for path in self._entries(folder):
            if path.is_dir():
                self.add(path)
            elif path.suffix.lower() in SUFFIXES:
                self.paths.append(path)
            else:
                self.others += 1

    def _entries(self, folder: Path) -> list[Path]:
        """What is in a folder and not hidden, by name."""
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            raise DataError(
                f"{folder}: cannot be read ({error.strerror or error}); check its permissions"
            ) from error
        paths = [folder / name for name in names if not name.startswith(".")]
        for path in paths:
            if path.is_symlink():
                self._check_link(path)
        return paths

    def _check_link(self, path: Path) -> None:
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root)):
            raise DataError(f"{path}: is a link that leads out of {self.root}; copy the file there")
        if path.is_dir():
            raise DataError(f"{path}: is a link to a folder; copy the folder there")


def _parts(folders: Sequence[Path]) -> tuple[Path, Path | None, Path | None] | None:
    """The folders to train on, to train on too, and to test with; None where they are classes."""
    named = {folder.name.lower(): folder for folder in folders}

    def one_of(names: Sequence[str]) -> Path | None:
        return next((named[name] for name in names if name in named), None)

    train, validation, test = one_of(_TRAIN), one_of(_VALIDATION), one_of(_TEST)
    if train is None or not set(named) <= {*_TRAIN, *_VALIDATION, *_TEST}:
        return None
    if not any(path.is_dir() and not path.name.startswith(".") for path in train.iterdir()):
        return None
    return (train, validation, test) if test else (train, None, validation)


def _read(listing: _Listing, shape: tuple[int, ...] | None) -> ImageRows:
    """Decode the images that were listed, all to one size and number of channels."""
    remarks = listing.remarks
    if listing.others:
        what = "files that are" if listing.others > 1 else "file that is"
        remarks.append(f"{listing.others:,} {what} no PNG or JPEG image passed over")
    with warnings.catch_warnings():
        from PIL.Image import DecompressionBombWarning

        warnings.simplefilter("ignore")  # of odd metadata
        warnings.simplefilter("error", DecompressionBombWarning)
        sizes, colours = _look(listing.paths)
        shape = _shape(sizes, colours) if shape is None else shape
        height, width = shape[:2]
        is_colour = len(shape) == 3
        resized = sum(size != (height, width) for size in sizes)
        if resized:
            low, high = min(sizes), max(sizes)
            remarks.append(
                f"{resized:,} of {len(sizes):,} images resized to {height} x {width} pixels "
                f"(heights and widths of {low[0]} x {low[1]} to {high[0]} x {high[1]})"
            )
        changed = colours.count(not is_colour)
        if changed:
            was, now = ("grey", "colour") if is_colour else ("colour", "grey")
            remarks.append(f"{changed:,} {was} images of {len(colours):,} taken as {now}")
        inputs = new_array((len(sizes), *shape), np.uint8)
        with _bar(len(sizes)) as advance:
            for i, path in enumerate(listing.paths):
                inputs[i] = _decode(path, height, width, is_colour)
                advance()
    labels = np.array(listing.labels) if listing.labels else None
    return ImageRows(inputs, labels, listing.paths, tuple(remarks))


def _look(paths: Sequence[Path]) -> tuple[list[tuple[int, int]], list[bool]]:
    """Every image's height and width, and whether it has colours; none is decoded."""
    sizes, colours = [], []
    for path in paths:
        with _opened(path) as image:
            width, height = image.size
            if image.format == "JPEG" and image.getexif().get(_ORIENTATION, 1) >= 5:
                width, height = height, width
            sizes.append((height, width))
            colours.append(_is_colour(image))
    return sizes, colours


def _shape(sizes: Sequence[tuple[int, int]], colours: Sequence[bool]) -> tuple[int, ...]:
    size, count = Counter(sizes).most_common(1)[0]
    if 2 * count <= len(sizes):
        height, width = np.median(np.array(sizes), axis=0).astype(int).tolist()
        size = (height, width)
    return (*size, 3) if any(colours) else size


def _is_colour(image: Image) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette != palette[:, :1]).any())
    return image.mode not in _GREY


def _decode(path: Path, height: int, width: int, is_colour: bool) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    with _opened(path) as opened:
        image: Image.Image = opened
        if image.mode.startswith("I"):  # 16 bits; Pillow would cut off at 255
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
        elif image.format == "JPEG":
            image = ImageOps.exif_transpose(image)
        image = image.convert("RGB" if is_colour else "L")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image)


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """An image that is not decoded yet; what its decoder raises becomes a DataError."""
    from PIL import Image, UnidentifiedImageError

    with open_regular(path, "a PNG or JPEG image") as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise DataError(
                        f"{path}: has {image.width:,} x {image.height:,} pixels, more than the "
                        f"{_MOST_PIXELS:,} of an image that is decoded; scale it down"
                    )
                yield image
        except DataError:
            raise
        except UnidentifiedImageError:
            raise DataError(f"{path}: is no PNG or JPEG image; replace the file") from None
        except Exception as error:  # decoders let nearly everything through
            reason = " ".join(str(error).split())[:100]
            raise DataError(f"{path}: cannot be decoded ({reason}); replace the file") from error


@contextmanager
def _bar(count: int) -> Iterator[Any]:
    """Yields what to call after each image; a bar is drawn on a terminal, for many of them."""
    if count < _MANY or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("reading images"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=count)
        yield lambda: bar.advance(task)
