"""One image file: its size before it is decoded, and its pixels as a viewer shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cotune.data.readers.files import open_regular
from cotune.exceptions import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".apng", ".mpo"),
)
"""Endings of the files that are read; the format is then known by their contents."""

OTHER_PICTURES = (
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".dcm", ".ico", ".tga", ".ppm"),
    *(".pgm", ".pbm", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw"),
)
"""Endings of pictures that are not read."""

FORMATS = "PNG, JPEG, WebP, GIF, BMP or TIFF"

_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")  # MPO comes with JPEG
_MOST_PIXELS = 50_000_000  # of one image: 150 MB once it is decoded
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112  # the EXIF tag; from 5 on height and width change places
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC = 256, 257, 258, 262  # tags of TIFF
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_WHITE_IS_ZERO = 0
_METADATA = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")  # of a PNG
_GREY_LEVEL = {"L;2": 85, "L;4": 17}  # of one step in a PNG of so few bits
_TWELVE_BITS = 2**12


class Look(NamedTuple):
    """Facts about an image that is not decoded.

    Attributes:
        size: Height and width once it is upright, pixels.
        is_colour: It has colours, or may have.
        is_series: It holds further pictures: an animation, or pages.
        is_cmyk: Its colours are those of a printer.
        orientation: As EXIF numbers them; 1 where decoding makes it upright.
    """

    size: tuple[int, int]
    is_colour: bool
    is_series: bool
    is_cmyk: bool
    orientation: int


class Pixels(NamedTuple):
    """An image that is decoded.

    Attributes:
        array: ``uint8 [height, width]`` or ``[height, width, 3]``.
        has_transparency: Parts of it are transparent, and white here.
        is_dim: It has 16 bits a pixel, of which at most the lower 12 are used.
    """

    array: NDArray[np.uint8]
    has_transparency: bool
    is_dim: bool


def look(path: Path) -> Look:
    """Return what the header of an image says.

    Raises:
        DataError: It is no image, damaged, too large, or its numbers have no known range.
    """
    with _opened(path) as image:
        width, height = image.size
        if image.format == "TIFF":  # releases of Pillow differ in whether the size is upright
            width, height = _tag(image, _WIDTH), _tag(image, _HEIGHT)
        orientation = _orientation(image)
        if orientation >= 5:
            width, height = height, width
        # the second picture in a photograph is a preview
        is_series = image.format != "MPO" and bool(getattr(image, "is_animated", False))
        is_cmyk = image.mode == "CMYK"
        if image.format == "TIFF":
            orientation = 1
        return Look((height, width), _is_colour(image), is_series, is_cmyk, orientation)


def decode(path: Path, orientation: int, height: int, width: int, is_colour: bool) -> Pixels:
    """Decode an image as a viewer shows it: upright, on white, its first picture.

    Args:
        orientation: What :func:`look` says.
        height, width: Pixels; it is resized to this.
        is_colour: Give three channels.

    Raises:
        DataError: It is no image, damaged, too large, or its numbers have no known range.
    """
    with _opened(path) as opened:
        image: Image = opened
        packing = opened.tile[0][3] if opened.tile else None
        alpha = _alpha(image, str(packing))
        is_dim = False
        if image.mode.startswith("I"):
            image, is_dim = _eight_bits(opened)
        grey_or_colour = _on_white(image, alpha, is_colour)
        if orientation != 1:
            from PIL import ImageOps

            grey_or_colour.getexif()[_ORIENTATION] = orientation
            grey_or_colour = ImageOps.exif_transpose(grey_or_colour)
        if grey_or_colour.size != (width, height):
            from PIL.Image import Resampling

            grey_or_colour = grey_or_colour.resize((width, height), Resampling.BILINEAR)
        return Pixels(np.asarray(grey_or_colour), alpha is not None, is_dim)


def as_shown(value: Any) -> Any:
    """Return an image of Pillow's with grey levels or three colours, on white; else the value.

    Indices into a palette, and transparent parts, are no brightness of a pixel.
    """
    if not all(hasattr(value, name) for name in ("mode", "info", "getpalette", "convert")):
        return value
    if value.mode[0] in "IF" or (
        value.mode in ("1", "L", "RGB") and "transparency" not in value.info
    ):
        return value
    return _on_white(value, _alpha(value, ""), _is_colour(value))


def _on_white(image: Image, alpha: Image | None, is_colour: bool) -> Image:
    """Composite an image of any mode on white, as RGB or as grey levels."""
    flat = image.convert("RGB" if is_colour else "L")
    if alpha is None:
        return flat
    from PIL import Image

    return Image.composite(flat, Image.new(flat.mode, flat.size, "white"), alpha)


def _alpha(image: Image, packing: str) -> Image | None:
    """Return the opacity of each pixel, 0-255; None where all are opaque.

    Args:
        packing: How the file packs its pixels, in Pillow's words.
    """
    key = image.info.get("transparency")
    if image.mode in ("RGBA", "LA", "PA"):
        alpha = image.getchannel("A")
    elif key is None:
        return None
    elif image.mode == "P":
        alpha = image.convert("RGBA").getchannel("A")
    else:  # one colour is transparent; it is written in the file's own bits, Pillow's pixels in 8
        pixels = np.asarray(image)
        if packing.startswith("RGB;16"):
            key = [value >> 8 for value in key]
        elif image.mode == "1":
            key = bool(key)
        else:
            key *= _GREY_LEVEL.get(packing, 1)
        is_key = pixels == np.array(key)
        is_key = is_key.all(axis=2) if is_key.ndim == 3 else is_key
        from PIL import Image

        alpha = Image.fromarray(np.where(is_key, 0, 255).astype(np.uint8))
    lowest: Any = alpha.getextrema()[0]
    return None if lowest == 255 else alpha


def _eight_bits(image: Image) -> tuple[Image, bool]:
    """Return the upper 8 of an image's 16 bits, and whether the upper 4 of these are unused."""
    from PIL import Image

    values = np.asarray(image).astype(np.int64)
    bits = 16
    if image.format == "TIFF":
        bits = _tag(image, _BITS, 16)
        if _tag(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO:  # Pillow inverts none of 16 bits
            values = 2**bits - 1 - values
    is_dim = bits == 16 and 0 < int(values.max()) < _TWELVE_BITS
    return Image.fromarray((values >> (bits - 8)).clip(0, 255).astype(np.uint8)), is_dim


def _is_colour(image: Image) -> bool:
    """Tell whether an image has colours; of a palette, whether any of it has."""
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette != palette[:, :1]).any())
    return image.mode not in _GREY


def _orientation(image: Image) -> int:
    """Return the number of EXIF's for how an image is turned, 1-8; nothing is decoded."""
    if image.format == "PNG" and not _has_late_metadata(image):
        if image.info.keys().isdisjoint(_METADATA):
            return 1
        from PIL import Image

        # PngImageFile.getexif would decode the image to see what comes after the pixels
        return int(Image.Image.getexif(image).get(_ORIENTATION, 1))
    if image.format == "TIFF":
        return _tag(image, _ORIENTATION, 1)
    return int(image.getexif().get(_ORIENTATION, 1))


def _has_late_metadata(image: Any) -> bool:
    """Tell whether a PNG has metadata after its pixels."""
    file = image.fp
    place = file.tell()  # at the contents of the first IDAT chunk
    file.seek(-8, 1)
    try:
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            if head[4:] in (b"eXIf", b"iTXt", b"zTXt", b"tEXt"):
                return True
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)  # its contents and checksum
        return False
    finally:
        file.seek(place)


def _tag(image: Any, number: int, default: int | None = None) -> int:
    """Return a whole number among a TIFF's tags, the first where it has several."""
    value = image.tag_v2.get(number, default)
    return int(value[0] if isinstance(value, tuple) else value)


def _check_pixels(path: Path, image: Any) -> None:
    """Raise where decoding would take too much memory, or what is white cannot be known."""
    sizes = [image.size]
    if image.format == "TIFF" and _tag(image, _TILE_WIDTH, 0):
        sizes.append((_tag(image, _TILE_WIDTH), _tag(image, _TILE_HEIGHT, 0)))
    for width, height in sizes:
        if width * height > _MOST_PIXELS:
            raise DataError(
                f"{path}: has {width:,} x {height:,} pixels, more than the {_MOST_PIXELS:,} of an "
                "image that is decoded; scale it down"
            )
    # releases of Pillow differ in the mode of a PNG of 16 bits
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise DataError(
            f"{path}: has pixels of 32 bits or with a sign, of which nothing says what is black "
            "and what white; save it with 8 or 16 bits"
        )


def _kind(file: BinaryIO) -> str:
    """Say what a file is that is no image, as far as its first bytes tell."""
    file.seek(0)
    head = file.read(12)
    if not head:
        return "is empty"
    if head[4:8] == b"ftyp":
        return "is HEIC, AVIF or a film, which is not read"
    return f"is no {FORMATS} image"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an image; what its decoder raises, here or later, becomes a DataError."""
    from PIL import Image, UnidentifiedImageError

    with open_regular(path, "an image") as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                _check_pixels(path, image)
                yield image
        except DataError:
            raise
        except UnidentifiedImageError:
            raise DataError(f"{path}: {_kind(file)}; replace the file") from None
        except Exception as error:  # decoders let nearly everything through
            reason = " ".join(str(error).split())[:100]
            raise DataError(f"{path}: cannot be decoded ({reason}); replace the file") from error
