from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cotune.data import from_arrays, load
from cotune.data.pictures import draw_grid, draw_samples, to_png
from cotune.exceptions import DataError, StorageError

GAP, CELL = 20, 140
CHECKERS = (np.indices((28, 28)).sum(axis=0) % 2 * 255).astype(np.uint8)


def cell_of(picture: Image.Image, index: int, columns: int = 4, lines: int = 1) -> np.ndarray:
    left = GAP + index % columns * (CELL + GAP)
    top = GAP + index // columns * (CELL + 6 + 17 * lines + GAP)
    return np.asarray(picture.crop((left, top, left + CELL, top + CELL)))


def title_of(picture: Image.Image, index: int, line: int = 0) -> np.ndarray:
    left = GAP + index % 4 * (CELL + GAP)
    top = GAP + CELL + 6 + 17 * line
    box = (left - GAP // 2, top, left + CELL + GAP // 2, top + 17)
    return np.asarray(picture.crop(box).convert("L"))


def test_samples_are_the_first_16_pixel_by_pixel(tmp_path):
    digits = load("digits")
    png = draw_samples(digits, tmp_path / "samples.png")
    assert (tmp_path / "samples.png").read_bytes() == png
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG"
    assert picture.width == GAP + 4 * (CELL + GAP)
    for index in range(16):
        # 8 x 8 in squares of 17, a frame of white left over
        cell = cell_of(picture, index)[2:138, 2:138]
        expected = np.rint(digits.inputs[index] / 16 * 255).astype(np.uint8)
        enlarged = expected.repeat(17, axis=0).repeat(17, axis=1)
        np.testing.assert_array_equal(cell, np.stack([enlarged] * 3, axis=2))
        assert (title_of(picture, index) < 100).any()


def test_fashion_mnist(fashion_mnist_dir):
    dataset = load("fashion-mnist-small")
    picture = Image.open(io.BytesIO(draw_samples(dataset)))
    enlarged = dataset.inputs[5].repeat(5, axis=0).repeat(5, axis=1)
    np.testing.assert_array_equal(cell_of(picture, 5)[..., 0], enlarged)


def test_colour():
    image = np.random.default_rng(0).integers(0, 256, (70, 70, 3), np.uint8)
    cell = cell_of(draw_grid([image], ["noise"]), 0)
    np.testing.assert_array_equal(cell, image.repeat(2, axis=0).repeat(2, axis=1))


def test_floats_are_scaled_from_the_range_of_all():
    images = np.array([[[-1.0, 0.0]], [[1.0, 3.0]]]) * np.ones((2, 2, 2))
    picture = draw_grid(images, ["a", "b"])
    shades = [int(cell_of(picture, index)[70, x, 0]) for index in (0, 1) for x in (10, 130)]
    assert shades == [0, 64, 128, 255]


def test_one_shade():
    assert cell_of(draw_grid([np.full((28, 28), 2.5)], [""]), 0).max() == 0


@pytest.mark.parametrize(("shape", "drawn"), [((300, 100), (140, 47)), ((10, 28), (50, 140))])
def test_proportions_are_kept(shape, drawn):
    cell = cell_of(draw_grid([np.zeros(shape, np.uint8)], [""]), 0)
    dark = cell[..., 0] == 0
    assert (dark.any(axis=1).sum(), dark.any(axis=0).sum()) == drawn


def test_two_lines():
    titles = ["Shirt\ntaken for Coat 98 %", "Bag"]
    picture = draw_grid([CHECKERS, CHECKERS], titles)
    first, second = title_of(picture, 0, 0), title_of(picture, 0, 1)
    assert first.min() < 60  # dark
    assert 60 < second.min() < 160  # fainter
    assert title_of(picture, 1, 1).min() == 255
    assert picture.size == (GAP + 2 * (CELL + GAP), GAP + CELL + 6 + 2 * 17 + GAP)


def test_long_title_stays_in_its_column():
    picture = draw_grid([CHECKERS] * 3, ["", "a name as long as a sentence is" * 50, ""])
    assert title_of(picture, 0).min() == title_of(picture, 2).min() == 255
    same = draw_grid([CHECKERS] * 3, ["", "a name as long as a sentence is", ""])
    assert to_png(picture) == to_png(same)  # cut at the same place


def test_percentage_is_spared():
    def drawn(share: str) -> bytes:
        title = f"Shirt\ntaken for a name as long as a sentence {share}"
        return to_png(draw_grid([CHECKERS], [title]))

    assert drawn("98 %") != drawn("97 %")


@pytest.mark.parametrize("title", ["\0\r\t\x1b[31m", "Wäsche – größer", "汉字", "<script>", "\n\n"])
def test_any_title_can_be_drawn(title):
    assert draw_grid([CHECKERS], [title]).width == CELL + 2 * GAP


@pytest.mark.parametrize(
    ("images", "titles", "message"),
    [
        ([], [], "0 images with 0 titles"),
        ([CHECKERS], [], "1 images with 0 titles"),
        ([np.zeros(5)], ["a"], r"an image has shape \(5,\)"),
        ([np.zeros((5, 5, 4))], ["a"], r"an image has shape \(5, 5, 4\)"),
        ([np.zeros((0, 5))], ["a"], r"an image has shape \(0, 5\)"),
    ],
)
def test_refused(images, titles, message):
    with pytest.raises(DataError, match=message):
        draw_grid(images, titles)


def test_tables_have_no_pictures(tmp_path):
    rows = np.eye(4)
    dataset = from_arrays(rows, [0, 1, 0, 1], test=(rows, [0, 1, 0, 1]), name="table")
    with pytest.raises(DataError, match=r"^table: the rows are not images"):
        draw_samples(dataset, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_file_that_cannot_be_written(tmp_path):
    with pytest.raises(StorageError, match=f"^{tmp_path}: cannot be written"):
        draw_samples(load("digits"), tmp_path)
