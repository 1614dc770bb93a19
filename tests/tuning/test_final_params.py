"""What finalists and final models of a trial are trained with."""

from __future__ import annotations

import pytest

from cotune.data import load, prepare
from cotune.records import TrialResult, Value
from cotune.space.yaml import space_from_dict
from cotune.tuning.lineup import Lineup
from cotune.tuning.time_budget import Budget

TRAINING, _ = prepare(load("digits"), seed=0)


def final_params(total: float | None, **constants: Value) -> dict[str, Value]:
    lr = {"type": "float", "low": 1e-3, "high": 1e-2}
    space = space_from_dict({"model": "cnn", "epochs": 80, "lr": lr, **constants})
    budget = Budget(space, TRAINING, 0, 1, total, Lineup())
    trial = TrialResult(0, "complete", 0.9, 10, {"lr": 2e-3}, seconds=10.0)
    return budget.final_params(trial)


@pytest.mark.parametrize(("total", "epochs"), [(None, 10), (57.2, 16), (1e4, 80)])
def test_a_cnn_lets_its_rate_fall_in_the_epochs_that_fit(total, epochs):
    """A second each, a quarter longer on all rows, in 35 % of the time."""
    params = final_params(total)
    assert params["schedule"] == "linear"
    assert params["epochs"] == epochs


def test_a_schedule_of_the_space_and_a_perceptron_keep_theirs():
    assert final_params(100.0, schedule="cosine")["schedule"] == "cosine"
    assert "schedule" not in final_params(100.0, model="mlp")


def test_mirror_images_are_averaged_where_images_were_flipped():
    assert final_params(None, flip=True)["mirrored"] is True
    assert final_params(None, flip=True, mirrored=False)["mirrored"] is False
    assert not final_params(None)["mirrored"]
