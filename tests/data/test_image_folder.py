"""Folders of images: what is read, what is changed and said, and what is refused."""

from __future__ import annotations

import os
import re
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cotune.data.readers.image_folder import read_image_folder, read_images
from cotune.exceptions import DataError

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3


def save(path: Path, array: np.ndarray = GREY, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        for i in range(3):
            save(tmp_path / name / f"{i}.png", GREY + i)
    return tmp_path


class TestReading:
    def test_a_folder_per_class(self, folder):
        rows = read_image_folder(folder)
        test = rows.test
        assert test is None
        np.testing.assert_array_equal(rows.inputs, np.stack([GREY, GREY + 1, GREY + 2] * 2))
        assert rows.inputs.dtype == np.uint8
        assert rows.labels is not None
        assert rows.labels.tolist() == ["cat"] * 3 + ["dog"] * 3
        assert rows.remarks == ()

    def test_colours(self, tmp_path):
        colour = np.stack([GREY, GREY + 1, GREY + 2], axis=2)
        save(tmp_path / "a" / "x.png", colour)
        save(tmp_path / "b" / "deeper" / "x.JPEG", colour, quality=95)
        rows = read_image_folder(tmp_path)
        assert rows.inputs.shape == (2, 8, 8, 3)
        np.testing.assert_array_equal(rows.inputs[0], colour)
        assert np.abs(rows.inputs[1].astype(int) - colour).mean() < 10

    def test_parts(self, folder):
        for part, count in (("train", 3), ("val", 2), ("test", 1)):
            for name in ("cat", "dog"):
                for i in range(count):
                    save(folder / "set" / part / name / f"{i}.png")
        rows = read_image_folder(folder / "set")
        test = rows.test
        assert test is not None
        assert (len(rows.inputs), len(test.inputs)) == (10, 2)
        assert rows.remarks == ("val/ is added to the training set",)
        os.rename(folder / "set" / "test", folder / "set" / ".test")  # hidden
        rows = read_image_folder(folder / "set")
        test = rows.test
        assert test is not None
        assert (len(rows.inputs), len(test.inputs)) == (6, 4)
        assert test.remarks == ("val/ is read as the test set",)

    def test_what_is_no_image_is_counted(self, folder):
        (folder / "cat" / "notes.txt").write_text("hello")
        (folder / "labels.csv").write_text("hello")
        (folder / "dog" / ".hidden.png").write_text("hello")
        (folder / ".git").mkdir()
        rows = read_image_folder(folder)
        assert len(rows.inputs) == 6
        assert rows.remarks == ("2 files that are no images skipped (.txt, .csv)",)

    def test_new_images(self, folder):
        save(folder / "cat" / "large.png", np.zeros((16, 12, 3), np.uint8))
        rows = read_images(folder, (8, 8))
        assert rows.inputs.shape == (7, 8, 8)
        assert rows.labels is not None
        assert rows.labels.tolist() == ["cat"] * 4 + ["dog"] * 3
        one = read_images(folder / "cat" / "0.png", (4, 4, 3))
        assert one.inputs.shape == (1, 4, 4, 3)
        assert (
            "1 of 1 images resized to 4 x 4 pixels (heights and widths of 8 x 8" in one.remarks[0]
        )


class TestMixed:
    """Fault 13: made alike, and said."""

    def test_sizes(self, folder):
        save(folder / "cat" / "large.png", np.full((16, 24), 7, np.uint8))
        rows = read_image_folder(folder)
        assert rows.inputs.shape == (7, 8, 8)
        assert (rows.inputs[3] == 7).all()
        assert rows.remarks == (
            "1 of 7 images resized to 8 x 8 pixels (heights and widths of 8 x 8 to 16 x 24)",
        )

    def test_no_size_of_most(self, tmp_path):
        for i in range(5):
            save(tmp_path / "a" / f"{i}.png", np.zeros((10 + i, 20 - i), np.uint8))
        rows = read_image_folder(tmp_path)
        assert rows.inputs.shape == (5, 12, 18)
        assert rows.remarks[0].startswith("4 of 5 images resized to 12 x 18 pixels")

    def test_grey_and_colour(self, folder):
        colour = np.stack([GREY, GREY + 1, GREY + 2], axis=2)
        save(folder / "cat" / "colour.png", colour)
        rows = read_image_folder(folder)
        assert rows.inputs.shape == (7, 8, 8, 3)
        np.testing.assert_array_equal(rows.inputs[0], np.stack([GREY] * 3, axis=2))
        assert rows.remarks == ("6 grey images of 7 read as colour",)

    def test_the_test_set_is_made_like_the_training_set(self, tmp_path):
        save(tmp_path / "train" / "a" / "x.png")
        save(tmp_path / "test" / "a" / "x.png", np.zeros((4, 4, 3), np.uint8))
        rows = read_image_folder(tmp_path)
        test = rows.test
        assert test is not None
        assert rows.inputs.shape[1:] == test.inputs.shape[1:] == (8, 8)
        assert len(test.remarks) == 2

    def test_modes(self, tmp_path):
        """16 bits, palettes, transparency, black and white."""
        folder = tmp_path / "a"
        save(folder / "0.png", GREY.astype(np.uint16) * 256 + 99)
        Image.fromarray(GREY).convert("P").save(folder / "1.png")
        opaque = np.full((8, 8), 255, np.uint8)
        Image.fromarray(np.stack([GREY, opaque], axis=2)).save(folder / "2.png")
        Image.fromarray(GREY > 90).save(folder / "3.png")
        rows = read_image_folder(tmp_path)
        assert rows.inputs.shape == (4, 8, 8)
        for i in range(3):
            np.testing.assert_array_equal(rows.inputs[i], GREY)
        np.testing.assert_array_equal(rows.inputs[3], (GREY > 90) * 255)
        Image.fromarray(np.stack([GREY] * 3, axis=2)).quantize(16).convert("RGBA").save(
            folder / "4.png"
        )
        reds = Image.new("P", (8, 8))
        reds.putpalette([200, 0, 0] * 256)
        reds.save(folder / "5.png")
        rows = read_image_folder(tmp_path)
        assert rows.inputs.shape == (6, 8, 8, 3)
        assert (rows.inputs[5] == [200, 0, 0]).all()

    def test_a_photograph_is_turned_upright(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        image = np.zeros((8, 16), np.uint8)
        image[:, 8:] = 255
        save(tmp_path / "a" / "x.jpg", image, exif=exif, quality=95)
        rows = read_image_folder(tmp_path)
        assert rows.inputs.shape == (1, 16, 8)
        assert rows.inputs[0, :8].mean() < 10
        assert rows.inputs[0, 8:].mean() > 245
        assert rows.remarks == ()


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A grey PNG that says it has this size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


class TestHostile:
    @pytest.mark.parametrize("suffix", ["png", "jpg"])
    def test_a_truncated_image_is_named(self, folder, suffix):
        """Fault 12."""
        path = folder / "dog" / f"cut.{suffix}"
        noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
        save(path, noise)
        path.write_bytes(path.read_bytes()[:1500])
        with pytest.raises(
            DataError, match=f"^{path}: cannot be decoded .*; replace the file, or leav"
        ):
            read_image_folder(folder)

    @pytest.mark.parametrize("content", [b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
    def test_what_is_called_an_image_and_is_none(self, folder, content):
        path = folder / "dog" / "x.png"
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"^{path}: (is no PNG, JPEG, .*|cannot be decoded)"):
            read_image_folder(folder)

    @pytest.mark.parametrize(
        ("content", "what"), [(b"", "is empty"), (b"\0\0\0\x18ftypheic", "is HEIC, AVIF or a film")]
    )
    def test_what_is_none_by_its_first_bytes(self, folder, content, what):
        path = folder / "dog" / "x.jpg"
        path.write_bytes(content)
        with pytest.raises(
            DataError, match=f"^{path}: {what}.*; replace the file, or leave it out"
        ):
            read_image_folder(folder)

    def test_other_formats_are_not_decoded(self, folder):
        path = folder / "dog" / "x.png"
        Image.fromarray(GREY).save(path, format="PPM")
        with pytest.raises(DataError, match=f"^{path}: is no PNG, JPEG, .* image; replace the f"):
            read_image_folder(folder)

    @pytest.mark.parametrize("side", [8_000, 9_500, 20_000, 2**31 - 1])
    def test_a_bomb_is_not_decoded(self, folder, side):
        """Fault 66."""
        path = folder / "dog" / "bomb.png"
        path.write_bytes(png(side, side, zlib.compress(bytes(10**6))))
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match=f"^{path}: (has .* pixels, more|cannot be deco)"):
                read_image_folder(folder)
            assert tracemalloc.get_traced_memory()[1] < 2**22
        finally:
            tracemalloc.stop()

    def test_an_empty_class(self, folder):
        """Fault 14."""
        (folder / "emu").mkdir()
        (folder / "emu" / "notes.txt").touch()
        with pytest.raises(DataError, match=f"^{folder}/emu: has no images, so its class is empty"):
            read_image_folder(folder)

    def test_no_classes(self, tmp_path):
        save(tmp_path / "x.png")
        with pytest.raises(DataError, match=r"has no folders; put the images of each class into"):
            read_image_folder(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match=r"empty: has no images; give PNG, JPEG"):
            read_images(tmp_path / "empty", (8, 8))

    def test_links(self, folder, tmp_path_factory):
        """Fault 67: one that leads out is refused, one to a file within is that file."""
        (folder / "dog" / "again.png").symlink_to("../cat/1.png")
        rows = read_image_folder(folder)
        assert len(rows.inputs) == 7
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        save(elsewhere / "a" / "x.png")
        for link, target in (
            (folder / "dog" / "out.png", elsewhere / "a" / "x.png"),
            (folder / "dog" / "up.png", Path("../../nothing.png")),
            (folder / "emu", elsewhere / "a"),
        ):
            link.symlink_to(target)
            with pytest.raises(DataError, match=re.escape(f"{link}: is a link that leads out of")):
                read_image_folder(folder)
            link.unlink()
        (folder / "dog" / "loop").symlink_to(folder)
        with pytest.raises(DataError, match=r"loop: is a link to a folder; copy the folder there"):
            read_image_folder(folder)

    def test_a_pipe(self, folder):
        os.mkfifo(folder / "dog" / "pipe.png")
        with pytest.raises(
            DataError, match=r"pipe\.png: not a regular file; give the path of an i"
        ):
            read_image_folder(folder)
