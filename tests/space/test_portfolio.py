from __future__ import annotations

import pytest

from cotune.space.portfolio import portfolio
from cotune.space.presets import PRESETS, load_space
from cotune.space.yaml import space_from_dict


@pytest.mark.parametrize("preset", PRESETS)
def test_all_lie_in_the_space_and_the_default_is_first(preset):
    space = load_space(preset)
    configurations = portfolio(space)
    assert configurations[0] == space.default()
    assert len(configurations) >= 3
    for configuration in configurations:
        assert space.check(configuration) == configuration


def test_none_is_there_twice():
    space = space_from_dict({"lr": {"type": "float", "low": 1e-3, "high": 3e-3}})
    configurations = portfolio(space)
    assert configurations == [{"lr": 1e-3}, {"lr": 3e-3}]


def test_after_the_default_come_good_ones_of_images_then_of_rows():
    models = [configuration["model"] for configuration in portfolio(load_space("auto"))]
    assert models == ["mlp", *["cnn"] * 4, *["mlp"] * 3, "cnn"]


def test_high_rates_are_for_muon():
    entries = load_space("cnn").to_dict()
    entries["optimizer"] = {"type": "categorical", "choices": ["adamw", "sgd"]}
    for space, lr in ((load_space("cnn"), 2e-2), (space_from_dict(entries), 5e-3)):
        assert {one["lr"] for one in portfolio(space) if one["residual"]} == {lr}


def test_epochs_are_counted_in_parts_of_a_pass():
    space = load_space("cnn", rows=60_000)
    assert space.constants["epoch_rows"] == 6_000
    default, *good = portfolio(space, epochs_per_pass=10)
    assert default["epochs"] == 200
    assert {one["epochs"] for one in good} == {400}
