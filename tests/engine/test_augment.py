"""Images that are moved while a network is trained on them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer

from cotune.api import run
from cotune.data import from_arrays
from cotune.engine.augment import Augmentation
from cotune.exceptions import UsageError
from cotune.space.portfolio import portfolio
from cotune.space.presets import PRESETS, load_space
from tests.engine.test_parity_cnn import colour, grey
from tests.support.parity import FLOAT64_TOLERANCE, check_against_reference, cnn, spec, train

SEARCHED = {"lr": {"type": "float", "low": 1e-4, "high": 1e-2}}
IMAGE = torch.arange(6.0)[None]  # 0 1 2 / 3 4 5


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ((0, 0, 0), [0, 1, 2, 3, 4, 5]),
        ((1, 0, 0), [0, 1, 2, 0, 1, 2]),
        ((-1, 0, 0), [3, 4, 5, 3, 4, 5]),
        ((0, 1, 0), [0, 0, 1, 3, 3, 4]),
        ((0, -2, 0), [2, 2, 2, 5, 5, 5]),
        ((0, 0, 1), [2, 1, 0, 5, 4, 3]),
        ((0, 1, 1), [2, 2, 1, 5, 5, 4]),
    ],
)
def test_how_an_image_is_moved(drawn, expected):
    moved = Augmentation(2, True).apply(IMAGE, torch.tensor([drawn]), (2, 3))
    assert moved[0].tolist() == expected


@pytest.mark.parametrize("move", list(itertools.product((-2, -1, 0, 1, 2), (-2, 0, 1))))
def test_what_comes_in_may_be_a_reflection(move):
    """As a crop of an image that NumPy has padded."""
    image = torch.rand(5, 4, 3, generator=torch.Generator().manual_seed(0))
    padded = np.pad(image.numpy(), [(2, 2), (2, 2), (0, 0)], mode="reflect")
    top, left = 2 - move[0], 2 - move[1]
    augmentation = Augmentation.from_params({"shift": 2, "padding": "reflect"})
    moved = augmentation.apply(image.view(1, -1), torch.tensor([[*move, 0]]), (5, 4, 3))
    assert moved.view(5, 4, 3).tolist() == padded[top : top + 5, left : left + 4].tolist()


def test_channels_move_together():
    moved = Augmentation(0, True).apply(IMAGE, torch.tensor([[0, 0, 1]]), (1, 3, 2))
    assert moved[0].tolist() == [4, 5, 2, 3, 0, 1]


def draw(augmentation: Augmentation, n_rows: int, seed: int = 3, epoch: int = 0) -> torch.Tensor:
    return augmentation.draw(torch.arange(n_rows), n_rows, seed, epoch, epoch)


def test_an_image_is_mirrored_in_every_second_pass():
    """A half of them in each."""
    rows = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    flips = [Augmentation(0, True).draw(rows, 1000, 3, turn, turn)[:, 2] for turn in range(3)]
    assert torch.equal(flips[0], 1 - flips[1])
    assert torch.equal(flips[0], flips[2])
    assert abs(flips[0].float().mean() - 0.5) < 0.1
    again = Augmentation(0, True).draw(rows[:10], 1000, 3, 7, 0)
    assert torch.equal(again[:, 2], flips[0][:10])


def test_all_moves_are_drawn_equally_often():
    drawn = draw(Augmentation(1, True), 18_000)
    moves, counts = np.unique(drawn.numpy(), axis=0, return_counts=True)
    assert moves.tolist() == [
        list(move) for move in itertools.product((-1, 0, 1), (-1, 0, 1), (0, 1))
    ]
    assert abs(counts - 1000).max() < 5 * 1000**0.5


def test_pixels_are_erased_where_their_centres_are_inside():
    """Rows 0 and 1 of 4, columns 1 and 2 of 3; all channels."""
    image = torch.ones(1, 4 * 3 * 2)
    edges = [0.1, 0.4, 0.4, 0.9]  # top, bottom, left, right
    drawn = torch.tensor([[0, 0, 0, *(round(edge * 65_536) for edge in edges)]])
    erased = Augmentation(erase=0.5).apply(image, drawn, (4, 3, 2)).view(4, 3, 2)
    assert erased[..., 0].tolist() == erased[..., 1].tolist()
    assert erased[..., 0].tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 1], [1, 1, 1]]
    assert image.eq(1.0).all()


def test_rectangles_are_inside_and_as_large_as_was_asked():
    drawn = draw(Augmentation(1, True, 0.4), 20_000)
    assert torch.equal(drawn[:, :3], draw(Augmentation(1, True), 20_000))
    top, bottom, left, right = (drawn[:, 3:].double() / 65_536).unbind(1)
    for low, high in ((top, bottom), (left, right)):
        assert (low >= 0.0).all()
        assert (high <= 1.0).all()
    height, width = bottom - top, right - left
    area = height * width
    assert area.max() <= 0.4 + 1e-4
    # Uniform, but for the slimmest of the largest, which are cut.
    assert area.mean() == pytest.approx(0.2, abs=0.01)
    uncut = (height < 1.0) & (width < 1.0) & (area > 0.01)
    ratio = (height / width)[uncut].log()
    assert ratio.min() > np.log(0.3) - 0.01
    assert ratio.max() < -np.log(0.3) + 0.01
    assert ratio.mean() == pytest.approx(0.0, abs=0.02)


def test_they_depend_on_seed_and_epoch():
    draws = [
        draw(Augmentation(2), 50, seed, epoch) for seed, epoch in ((1, 0), (1, 1), (2, 0), (1, 0))
    ]
    assert torch.equal(draws[0], draws[3])
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("make", [grey, colour])
@pytest.mark.parametrize("family", [spec, cnn])
@pytest.mark.parametrize(
    "moves",
    [
        {"shift": 1},
        {"flip": True},
        {"shift": 2, "flip": True},
        {"erase": 0.3},
        {"shift": 1, "flip": True, "erase": 0.5},
    ],
)
def test_lanes_do_what_one_network_alone_does(make, family, moves):
    specs = [family(i, optimizer=optimizer, **moves) for i, optimizer in enumerate(("adam", "sgd"))]
    check_against_reference(specs, make(np.float64), FLOAT64_TOLERANCE)


def test_lanes_of_different_augmentation_are_no_cohort():
    with pytest.raises(AssertionError, match="not one cohort"):
        train([spec(0, shift=1), spec(1, shift=2)], grey(), epochs=1)


class TestRowsThatAreNoImages:
    @pytest.mark.parametrize("preset", ["mlp", "mlp-per-layer", "auto"])
    def test_presets_leave_out_what_they_cannot_use(self, preset):
        images, table = load_space(preset), load_space(preset, images=False)
        assert "shift" in images.searched
        assert not {"shift", "flip", "model"} & {*table.searched, *table.constants}
        assert all("shift" not in configuration for configuration in portfolio(table))

    def test_every_preset_has_a_grid_and_a_default_without_moves(self):
        for preset in PRESETS:
            space = load_space(preset)
            assert space.default()["shift"] == 0
            assert not space.default().get("flip", False)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"model": "cnn"}, "model: a CNN needs images; the rows of arrays are no images: "),
            (
                {"space": {"model": "cnn", **SEARCHED}},
                "model: a CNN needs images; the rows of arrays",
            ),
            (
                {"space": {"shift": 1, **SEARCHED}},
                "space: shift is of images; the rows of arrays are no ima",
            ),
            ({"space": {"erase": 0.2, **SEARCHED}}, "space: erase is of images; "),
            (
                {"space": {"flip": {"type": "categorical", "choices": [True, False]}}},
                r"space: flip is of images; .*: their shape is \(30,\); leave it out",
            ),
        ],
    )
    def test_a_space_of_images(self, options, message, tmp_path):
        bunch = load_breast_cancer()
        data = from_arrays(bunch.data, bunch.target)
        with pytest.raises(UsageError, match=message):
            run(data, timeout=20, workers=1, out=tmp_path / "run", **options)
        assert not (tmp_path / "run").exists()

    def test_auto_is_mlp(self, tmp_path):
        bunch = load_breast_cancer()
        result = run(
            (bunch.data, bunch.target), model="auto", n_trials=2, workers=1, out=tmp_path / "run"
        )
        assert not {"model", "shift"} & result.best_params.keys()
