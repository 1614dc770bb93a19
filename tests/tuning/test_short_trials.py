"""Trials of a run whose time goes to the final model: short, annealed, ranked by a forecast."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from cotune.data import load, prepare
from cotune.records import TrialResult, TrialSpec, Value
from cotune.space.yaml import space_from_dict
from cotune.tuning.forecast import forecast_error
from cotune.tuning.lineup import Lineup
from cotune.tuning.pace import Pace
from cotune.tuning.time_budget import Budget

TRAINING, _ = prepare(load("digits"), seed=0)
LR = {"type": "float", "low": 1e-3, "high": 1e-1}
MODELS = {"type": "categorical", "choices": ["mlp", "cnn"]}
EPOCHS = {"type": "int", "low": 10, "high": 90}


def budget(total: float | None, epoch_rows: int = 500) -> Budget:
    space = space_from_dict({"model": MODELS, "epochs": EPOCHS, "lr": LR, "epoch_rows": epoch_rows})
    return Budget(space, TRAINING, 0, 2, total, Lineup())


def trial(number: int, value: float, epochs: int = 5, model: str = "cnn") -> TrialResult:
    params: dict[str, Value] = {"model": model, "epochs": 40, "lr": 1e-2}
    return TrialResult(number, "complete", value, epochs, params, seconds=10.0)


def spec(model: str, **params: Value) -> TrialSpec:
    return TrialSpec(0, {"model": model, "epochs": 40, **params}, 0, averaged=True)


class TestSpec:
    def test_a_cnn_anneals_within_its_time(self):
        short = budget(100.0).trial_spec(spec("cnn"))
        assert short.params["schedule"] == "linear"
        assert not short.averaged
        assert short.horizon == 4

    @pytest.mark.parametrize(
        ("limits", "one"),
        [
            (budget(100.0), spec("mlp")),
            (budget(None), spec("cnn")),
            (budget(100.0, epoch_rows=0), spec("cnn")),
            (budget(100.0), replace(spec("cnn", schedule="cosine"), averaged=False)),
        ],
        ids=["a perceptron", "no time limit", "few rows", "a schedule of its own"],
    )
    def test_others_stay_as_they_are(self, limits, one):
        assert limits.trial_spec(one) == one

    def test_its_final_model_may_have_all_epochs_that_there_are(self):
        limits = budget(1e6)
        assert limits.params(trial(0, 0.9))["epochs"] == 90
        assert limits.params(trial(0, 0.9, model="mlp"))["epochs"] == 40


@pytest.mark.parametrize(("total", "epochs"), [(102.0, 12), (612.0, 36), (6_100.0, 243)])
def test_the_share_of_a_trial_falls_with_the_time(total, epochs):
    """Epochs of a second each, a quarter longer on all rows; 15, 7.5 and 5 % of the time."""
    assert budget(total).most_epochs(1.0) == epochs


@pytest.mark.parametrize(("seconds", "epochs"), [(2.0, 6), (3.0, 4), (5.0, 4), (7.0, 3), (30.0, 1)])
def test_a_slow_one_may_take_twice_that_for_a_few_epochs(seconds, epochs):
    assert budget(102.0).most_epochs(seconds) == epochs


class TestForecast:
    def test_one_that_is_a_little_behind_after_fewer_rows_comes_first(self):
        slow, fast = trial(0, 0.88, epochs=4), trial(1, 0.89, epochs=40)
        weak = trial(2, 0.70, epochs=4)
        order = budget(150.0, epoch_rows=6_000).by_forecast([fast, slow, weak], "accuracy")
        assert order == [slow, fast, weak]

    def test_one_that_the_end_of_the_time_cut_short_soon_comes_last(self):
        """On 60,000 images, one of 5 epochs and 86.6 % was chosen before one of 161 and 91.4 %."""
        whole = trial(1, 0.9138, epochs=161)
        cut = replace(
            trial(86, 0.8655, epochs=5), state="pruned", reason="time was up", seconds=0.6
        )
        limits = budget(150.0, epoch_rows=6_000)
        assert limits.by_forecast([whole, cut], "accuracy") == [whole, cut]
        assert (
            limits.by_forecast([whole, replace(cut, seconds=whole.seconds)], "accuracy")[0] != whole
        )

    def test_elsewhere_all_rank_by_their_values(self):
        ranked = [trial(1, 0.89, epochs=40), trial(0, 0.88, epochs=4)]
        for limits in (budget(None), budget(150.0, epoch_rows=0)):
            assert limits.by_forecast(ranked, "accuracy") == ranked

    @pytest.mark.parametrize(("metric", "value"), [("accuracy", 0.8), ("f1", 0.8), ("loss", 0.2)])
    def test_errors_fall_fast_at_first(self, metric, value):
        early = forecast_error(metric, value, 25_000, 100_000)
        late = forecast_error(metric, value, 250_000, 1_000_000)
        assert early == pytest.approx(0.2 * math.exp(-125 * (1 / 158.11388 - 1 / 316.22777)))
        assert 0.2 > late > early
        assert forecast_error(metric, value, 25_000, 25_000) == pytest.approx(0.2)

    def test_few_rows_promise_no_more_than_some_more_would(self):
        assert forecast_error("loss", 0.2, 100, 800) == forecast_error("loss", 0.2, 18e3, 144e3)


class TestPace:
    def test_an_epoch_takes_as_long_as_its_work(self):
        small: dict[str, Value] = {
            "model": "cnn",
            "n_blocks": 2,
            "filters": 32,
            "kernel_size": 3,
            "batch_norm": True,
            "dense_width": 0,
        }
        large = {**small, "filters": 128}
        pace = Pace(TRAINING)
        assert pace.seconds(large) is None
        pace.learn(small, 3.0)
        pace.learn(small, 2.0)
        assert pace.seconds(small) == pytest.approx(2.0)
        assert 8.0 < (pace.seconds(large) or 0.0) < 32.0

    def test_a_network_without_time_for_two_epochs_is_too_slow(self):
        limits = budget(100.0)
        assert limits.is_too_slow(13.0)
        assert not limits.is_too_slow(11.0)
        assert not budget(None).is_too_slow(1e9)
