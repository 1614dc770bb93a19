"""Images are read as a viewer shows them, whatever their format."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cotune.data.readers.image_folder import read_image_folder
from cotune.data.readers.reader import Rows
from cotune.data.reading import read_data
from cotune.exceptions import DataError
from tests.support.pictures import write_images

WHITE = 255
GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=2)
FORMATS = ("png", "jpg", "mpo", "webp", "tif", "gif", "bmp")


def one_class(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir(exist_ok=True)
    return tmp_path / "a"


def read(folder: Path) -> Rows:
    return read_image_folder(folder)


def png(
    width: int,
    height: int,
    bits: int,
    kind: int,
    rows: bytes,
    *,
    late: bytes = b"",
    early: bytes = b"",
) -> bytes:
    """A PNG that is made by hand.

    Args:
        kind: 0 grey, 2 colour, 3 palette.
        early, late: Chunks before and after the pixels.
    """
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + early + pixels + late + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


class TestUpright:
    @pytest.mark.parametrize("orientation", UPRIGHT)
    @pytest.mark.parametrize("format_", ["png", "webp", "tif", "jpg", "mpo"])
    def test_every_format(self, format_, orientation, tmp_path):
        stored = np.kron(COLOUR, np.ones((8, 8, 1), np.uint8))  # so that JPEG is close
        options: dict[str, Any] = {"exif": exif(orientation)}
        if format_ == "webp":
            options["lossless"] = True
        if format_ in ("jpg", "mpo"):
            options |= {"quality": 95, "subsampling": 0}
        if format_ == "mpo":
            options |= {"save_all": True, "append_images": [Image.new("RGB", (4, 4))]}
        path = one_class(tmp_path) / f"x.{'jpg' if format_ == 'mpo' else format_}"
        Image.fromarray(stored).save(
            path, format={"mpo": "MPO", "tif": "TIFF"}.get(format_), **options
        )
        rows = read(tmp_path)
        expected = UPRIGHT[orientation](stored)
        assert rows.inputs.shape[1:] == expected.shape
        distance = np.abs(rows.inputs[0].astype(int) - expected).mean()
        assert distance < (4 if format_ in ("jpg", "mpo") else 1e-9)
        assert rows.remarks == ()

    @pytest.mark.parametrize("place", ["early", "late"])
    def test_a_png_that_says_so_before_or_after_its_pixels(self, place, tmp_path):
        tag = chunk(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0"))
        rows = b"".join(b"\0" + row.tobytes() for row in GREY)
        (one_class(tmp_path) / "x.png").write_bytes(png(8, 6, 8, 0, rows, **{place: tag}))
        np.testing.assert_array_equal(read(tmp_path).inputs[0], UPRIGHT[6](GREY))

    def test_with_transparency(self, tmp_path):
        alpha = np.zeros((6, 8), np.uint8)
        alpha[:, :3] = 255
        image = Image.fromarray(np.dstack([COLOUR, alpha]))
        image.save(one_class(tmp_path) / "x.png", exif=exif(6))
        expected = COLOUR.copy()
        expected[:, 3:] = WHITE
        np.testing.assert_array_equal(read(tmp_path).inputs[0], UPRIGHT[6](expected))

    def test_two_photographs_are_of_one_size(self, tmp_path):
        """Sizes are those of the upright images, so nothing is resized."""
        folder = one_class(tmp_path)
        Image.fromarray(COLOUR).save(folder / "x.png", exif=exif(6))
        Image.fromarray(UPRIGHT[6](COLOUR).copy()).save(folder / "y.tif")
        rows = read(tmp_path)
        np.testing.assert_array_equal(rows.inputs[0], rows.inputs[1])
        assert rows.remarks == ()


class TestTransparency:
    """Shown on white."""

    REMARK = "1 of 1 images have transparent parts, read as white"

    @pytest.mark.parametrize("ending", ["png", "webp", "tif"])
    def test_alpha(self, ending, tmp_path):
        alpha = np.resize(np.array([0, 128, 255], np.uint8), (6, 8))
        options: dict[str, Any] = {"lossless": True, "exact": True} if ending == "webp" else {}
        black = np.zeros((6, 8, 3), np.uint8)
        image = Image.fromarray(np.dstack([black, alpha]))
        image.save(one_class(tmp_path) / f"x.{ending}", **options)
        rows = read(tmp_path)
        np.testing.assert_array_equal(rows.inputs[0], np.dstack([255 - alpha] * 3))
        assert rows.remarks == (self.REMARK,)

    def test_grey_and_alpha(self, tmp_path):
        alpha = np.where(GREY > 100, 255, 0).astype(np.uint8)
        Image.fromarray(np.dstack([GREY, alpha])).save(one_class(tmp_path) / "x.png")
        rows = read(tmp_path)
        np.testing.assert_array_equal(rows.inputs[0], np.where(GREY > 100, GREY, WHITE))
        assert rows.remarks == (self.REMARK,)

    @pytest.mark.parametrize("ending", ["png", "gif"])
    @pytest.mark.parametrize("green", [0, 200])
    def test_a_palette(self, ending, green, tmp_path):
        """A canvas's strokes: black is drawn, and the ground is black too, but transparent."""
        image = Image.fromarray(np.resize(np.array([0, 1, 2], np.uint8), (6, 8)), "P")
        image.putpalette([0, 0, 0, 0, 0, 0, 0, green, 0])
        image.save(one_class(tmp_path) / f"x.{ending}", transparency=0)
        rows = read(tmp_path)
        shown = rows.inputs[0] if green == 0 else rows.inputs[0][..., 0]
        np.testing.assert_array_equal(shown.ravel()[:3], [WHITE, 0, 0])
        assert rows.remarks == (self.REMARK,)

    @pytest.mark.parametrize(
        ("bits", "row", "key", "expected"),
        [
            (1, b"\x50", 1, [0, 255, 0, 255]),
            (1, b"\x50", 0, [255, 255, 255, 255]),
            (2, b"\x1b", 2, [0, 85, 255, 255]),
            (4, b"\x0f\x52", 5, [0, 255, 255, 34]),
            (8, b"\x00\xff\x05\x02", 5, [0, 255, 255, 2]),
            (16, struct.pack(">4H", 0, 0x1234, 0x12FF, 0xFFFF), 0x1234, [0, 255, 0x12, 255]),
        ],
    )
    def test_one_grey_level(self, bits, row, key, expected, tmp_path):
        """A PNG's tRNS chunk is written in the image's own bits."""
        content = png(4, 1, bits, 0, b"\0" + row, early=chunk(b"tRNS", struct.pack(">H", key)))
        (one_class(tmp_path) / "x.png").write_bytes(content)
        assert read(tmp_path).inputs.ravel().tolist() == expected

    @pytest.mark.parametrize("code", ["B", "H"])
    def test_one_colour(self, code, tmp_path):
        scale = 257 if code == "H" else 1
        pixels = [value * scale for value in (9, 8, 7, 1, 2, 3)]
        key = chunk(b"tRNS", struct.pack(">3H", *pixels[:3]))
        row = b"\0" + struct.pack(f">6{code}", *pixels)
        (one_class(tmp_path) / "x.png").write_bytes(
            png(2, 1, 8 * (1 + (code == "H")), 2, row, early=key)
        )
        assert read(tmp_path).inputs.ravel().tolist() == [255, 255, 255, 1, 2, 3]

    def test_opaque_images_are_as_before(self, tmp_path):
        opaque = np.full((6, 8), 255, np.uint8)
        Image.fromarray(np.dstack([COLOUR, opaque])).save(one_class(tmp_path) / "x.png")
        rows = read(tmp_path)
        np.testing.assert_array_equal(rows.inputs[0], COLOUR)
        assert rows.remarks == ()

    def test_what_is_drawn_in_the_alpha_channel_alone_is_learned(self, tmp_path):
        for name, columns in (("left", slice(0, 4)), ("right", slice(4, 8))):
            (tmp_path / name).mkdir()
            for i in range(4):
                drawing = np.zeros((6, 8, 4), np.uint8)
                drawing[i : i + 3, columns, 3] = 255
                Image.fromarray(drawing).save(tmp_path / name / f"{i}.png")
        dataset = read_data(tmp_path)
        left = dataset.inputs[dataset.labels == 0].mean(axis=(0, 1, 3))
        assert left[:4].max() < left[4:].min() == WHITE
        assert "8 of 8 images have transparent parts, read as white" in dataset.remarks


class TestFormats:
    @pytest.mark.parametrize("format_", FORMATS)
    def test_the_same_picture(self, format_, tmp_path):
        """By contents: the ending may be another, in small letters or in capitals."""
        stored = np.kron(COLOUR, np.ones((8, 8, 1), np.uint8))
        kind = {"jpg": "JPEG", "tif": "TIFF"}.get(format_, format_.upper())
        quality: dict[str, Any] = {"lossless": True} if format_ == "webp" else {"quality": 95}
        for name in (f"x.{format_.upper()}", "y.png"):
            Image.fromarray(stored).save(one_class(tmp_path) / name, kind, **quality)
        rows = read(tmp_path)
        np.testing.assert_array_equal(rows.inputs[0], rows.inputs[1])
        assert np.abs(rows.inputs[0].astype(int) - stored).mean() < 8
        assert rows.remarks == ()

    @pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
    def test_the_first_picture_of_several(self, ending, tmp_path):
        frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
        options: dict[str, Any] = {"lossless": True} if ending == "webp" else {}
        path = one_class(tmp_path) / f"x.{ending}"
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        rows = read(tmp_path)
        assert (rows.inputs == [255, 0, 0]).all()
        assert rows.remarks == ("1 of 1 images are animated or have pages: the first is taken",)

    def test_cmyk(self, tmp_path):
        """As Photoshop writes it: inverted."""
        Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(one_class(tmp_path) / "x.jpg", quality=95)
        rows = read(tmp_path)
        assert (np.abs(rows.inputs.astype(int) - [255, 0, 0]) < 4).all()
        assert rows.remarks == ("1 of 1 images turned from CMYK to RGB without a colour profile",)

    def test_pictures_that_are_not_read(self, tmp_path):
        write_images(tmp_path, "a/")
        for name in ("b.heic", "c.HEIC", "d.txt"):
            (tmp_path / "a" / name).write_bytes(b"x")
        assert read(tmp_path).remarks == (
            "2 pictures of other formats skipped (.heic); convert to PNG or JPEG",
            "1 file that is no image skipped (.txt)",
        )
        (tmp_path / "e").mkdir()
        (tmp_path / "e" / "f.heic").write_bytes(b"x")
        with pytest.raises(DataError, match=r"e: has no images of a format that is read \(\.heic "):
            read(tmp_path)
        with pytest.raises(DataError, match=r"heic: is of an image format that is not read; conv"):
            read_data(tmp_path / "e" / "f.heic")


class TestBits:
    @pytest.mark.parametrize("ending", ["png", "tif"])
    def test_sixteen(self, ending, tmp_path):
        Image.fromarray(GREY.astype(np.uint16) * 257).save(one_class(tmp_path) / f"x.{ending}")
        rows = read(tmp_path)
        np.testing.assert_array_equal(rows.inputs[0], GREY)
        assert rows.remarks == ()

    def test_twelve_in_sixteen_are_dark_and_said_so(self, tmp_path):
        Image.fromarray(GREY.astype(np.uint16) * 16).save(one_class(tmp_path) / "x.png")
        rows = read(tmp_path)
        np.testing.assert_array_equal(rows.inputs[0], GREY >> 4)
        (remark,) = rows.remarks
        assert remark.startswith(
            "1 of 1 images have 16 bits and use the lower 12 at most: nearly b"
        )

    def test_white_is_zero(self, tmp_path):
        image = Image.fromarray(GREY.astype(np.uint16) * 257)
        image.save(one_class(tmp_path) / "x.tif", tiffinfo={262: 0})
        np.testing.assert_array_equal(read(tmp_path).inputs[0], 255 - GREY)

    @pytest.mark.parametrize("dtype", [np.int32, np.float32])
    def test_thirty_two_have_no_white(self, dtype, tmp_path):
        path = one_class(tmp_path) / "x.tif"
        Image.fromarray(GREY.astype(dtype)).save(path)
        with pytest.raises(
            DataError, match=f"^{path}: has pixels of 32 bits or with a sign, of wh"
        ):
            read(tmp_path)

    @pytest.mark.parametrize("ending", ["png", "gif", "bmp", "tif"])
    def test_one(self, ending, tmp_path):
        Image.fromarray(GREY > 90).save(one_class(tmp_path) / f"x.{ending}")
        np.testing.assert_array_equal(read(tmp_path).inputs[0], (GREY > 90) * 255)


def bombs() -> dict[str, bytes]:
    """Files of a few bytes whose headers say 20,000 x 20,000 pixels, or a tile of that size."""
    side = 20_000
    made = {}
    for kind, place, code in (("GIF", 6, "<HH"), ("BMP", 18, "<II")):
        file = io.BytesIO()
        Image.fromarray(GREY).save(file, kind)
        content = bytearray(file.getvalue())
        content[place : place + struct.calcsize(code)] = struct.pack(code, side, side)
        made[kind] = bytes(content)
    canvas = (side - 1).to_bytes(3, "little") * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    made["WEBP"] = b"RIFF" + struct.pack("<I", len(body)) + body
    for name, tags in (("TIFF", {256: side, 257: side}), ("tile", {322: side, 323: side})):
        tags = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 64, 279: 64, **tags}
        if name == "tile":
            tags = {key: value for key, value in tags.items() if key not in (273, 278, 279)}
            tags |= {324: 8, 325: 64}
        entries = b"".join(struct.pack("<HHII", key, 4, 1, tags[key]) for key in sorted(tags))
        made[name] = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return made


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF", "tile"])
def test_a_bomb_is_not_decoded(kind, tmp_path):
    path = one_class(tmp_path) / "bomb.png"
    path.write_bytes(bombs()[kind])
    tracemalloc.start()
    try:
        with pytest.raises(
            DataError, match=f"^{path}: (has .* pixels, more|cannot be dec.*exceeds)"
        ):
            read(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA"])
def test_items_of_a_program(mode):
    """Pairs of an image of Pillow's and a label: a palette's indices are no grey levels."""
    drawings = []
    for i in range(8):
        if mode == "P":
            image = Image.fromarray(np.full((4, 4), i % 2, np.uint8), "P")
            image.putpalette([200, 200, 200, 0, 0, 0])
            image.info["transparency"] = 1
        else:
            image = Image.new(mode, (4, 4), (200, 200, 200, 255)[-len(mode) :])
            image.putalpha(255 * (1 - i % 2))
        drawings.append((image, i % 2))
    dataset = read_data(drawings)
    for label, level in ((0, 200), (1, WHITE)):
        assert (dataset.inputs[dataset.labels == label] == level).all()
