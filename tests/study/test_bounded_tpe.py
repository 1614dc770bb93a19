"""Cotune's own TPE: what it draws is in the space, depends on what it should, and gets better."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from cotune.records import Value
from cotune.space.presets import PRESETS, load_space
from cotune.space.space import Hyperparameter, Space
from cotune.study import bounded_tpe
from cotune.study.bounded_tpe import BoundedTPE
from cotune.study.kernel_density import KernelDensity

PLANE = Space(
    {name: Hyperparameter(FloatDistribution(-1.0, 1.0), {}) for name in ("x", "y")},
)


def distance(params: dict[str, Value]) -> float:
    return math.hypot(float(params["x"]) - 0.3, float(params["y"]) + 0.6)


def searched(tpe: BoundedTPE, numbers: Iterable[int]) -> list[float]:
    found = []
    for number in numbers:
        (params,) = tpe.draw(number)
        tpe.begin(number, params)
        tpe.end(number, "complete", 1, distance(params))
        found.append(distance(params))
    return found


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_drawn_is_in_the_space(preset: str) -> None:
    space = load_space(preset)
    tpe, random = BoundedTPE(space, maximize=True, seed=1), np.random.default_rng(1)
    for first in range(0, 80, 4):
        for number, params in enumerate(tpe.draw(first, 4), start=first):
            assert space.check(params) == params
            assert set(params) == {name for name in space.searched if space.exists(name, params)}
            tpe.begin(number, params)
            if random.random() < 0.8:
                tpe.end(number, "pruned" if number % 2 else "complete", 3, random.random())


def test_it_approaches_the_best_point() -> None:
    gains = []
    for seed in range(5):
        found = searched(BoundedTPE(PLANE, maximize=False, seed=seed), range(80))
        gains.append(np.median(found[:10]) / np.median(found[-30:]))
    assert np.median(gains) > 3.0


def test_it_maximizes_too() -> None:
    tpe = BoundedTPE(PLANE, maximize=True, seed=0)
    for number in range(60):
        (params,) = tpe.draw(number)
        tpe.begin(number, params)
        tpe.end(number, "complete", 1, -distance(params))
    drawn = [tpe.draw(number)[0] for number in range(60, 90)]
    assert np.median([distance(params) for params in drawn]) < 0.3


def test_the_order_in_which_trials_end_does_not_matter() -> None:
    drawn = []
    for order in (range(200), reversed(range(200))):
        tpe = BoundedTPE(PLANE, maximize=False, seed=3, most_others=32)
        points = np.random.default_rng(0).uniform(-1, 1, (200, 2)).tolist()
        for number, (x, y) in enumerate(points):
            tpe.begin(number, {"x": x, "y": y})
        for number in order:
            tpe.end(number, "complete", 1, points[number][0])
        drawn.append(tpe.draw(200, 3))
    assert drawn[0] == drawn[1]


def test_seed_and_number_decide() -> None:
    def drawn(seed: int, number: int) -> list[dict[str, Value]]:
        return BoundedTPE(PLANE, maximize=False, seed=seed).draw(number, 2)

    assert drawn(1, 5) == drawn(1, 5)
    assert drawn(1, 5) != drawn(2, 5)
    assert drawn(1, 5) != drawn(1, 6)
    first, second = drawn(1, 5)
    assert first != second


def test_held_values_are_kept_where_they_exist() -> None:
    space = load_space("mlp")
    tpe = BoundedTPE(space, maximize=True, seed=0)
    for number in range(40):
        held: dict[str, Value] = {"batch_size": 64, "optimizer": "sgd", "momentum": 0.5}
        if number % 2:
            held["optimizer"] = "adam"
        (params,) = tpe.draw(number, held=held)
        assert params["batch_size"] == 64
        assert params.get("momentum") == (None if number % 2 else 0.5)
        tpe.begin(number, params)
        tpe.end(number, "complete", 1, number / 40)


def test_a_whole_number_is_held_as_a_float_where_that_is_the_type() -> None:
    (params,) = BoundedTPE(PLANE, maximize=True, seed=0).draw(0, held={"x": 1})
    assert type(params["x"]) is float


def test_conditions_on_constants_are_known_beforehand() -> None:
    of_sgd = Hyperparameter(FloatDistribution(0.0, 0.9), {"optimizer": ("sgd",)})
    for optimizer, drawn in (("sgd", {"momentum"}), ("adam", set())):
        space = Space({"momentum": of_sgd}, {"optimizer": optimizer})
        assert set(BoundedTPE(space, maximize=True, seed=0).draw(0)[0]) == drawn


def test_a_draw_has_as_many_kernels_after_thousands_of_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = list[int]()

    def counting(axes: object, points: np.ndarray, weights: np.ndarray) -> object:
        counts.append(len(points))
        assert weights.shape == (len(points),)
        return KernelDensity(axes, points, weights)  # type: ignore[arg-type]

    monkeypatch.setattr(bounded_tpe, "KernelDensity", counting)
    tpe = BoundedTPE(PLANE, maximize=False, seed=0)
    for number, (x, y) in enumerate(np.random.default_rng(0).uniform(-1, 1, (5_000, 2)).tolist()):
        tpe.begin(number, {"x": x, "y": y})
        if number % 50:
            tpe.end(number, "failed" if number % 7 == 0 else "complete", 1, x)
    tpe.draw(5_000)
    assert counts == [25, 128]


def test_pruned_trials_rank_after_complete_ones_and_failed_ones_do_not_count() -> None:
    tpe = BoundedTPE(PLANE, maximize=False, seed=0)
    places = {"complete": (0.7, 5.0), "pruned": (-0.7, 0.0), "failed": (0.0, -9.0)}
    for number in range(90):
        state = ("complete", "pruned", "failed")[number % 3]
        x, value = places[state]
        tpe.begin(number, {"x": x, "y": 0.0})
        tpe.end(number, state, 1, value)  # type: ignore[arg-type]
    drawn = [float(tpe.draw(number)[0]["x"]) for number in range(90, 130)]
    assert np.mean(np.array(drawn) > 0.2) > 0.8


def test_trials_in_training_keep_others_away() -> None:
    tpe = BoundedTPE(PLANE, maximize=False, seed=0)
    for number, x in enumerate(np.linspace(-1, 1, 40)):
        tpe.begin(number, {"x": float(x), "y": 0.0})
        tpe.end(number, "complete", 1, min(abs(x - 0.5), abs(x + 0.5)))

    def near() -> float:
        drawn = [float(tpe.draw(number)[0]["x"]) for number in range(100, 200)]
        return float(np.mean(np.abs(np.array(drawn) - 0.5) < 0.1))

    before = near()
    for number in range(40, 60):
        tpe.begin(number, {"x": 0.5, "y": 0.0})
    assert near() < 0.8 * before


def test_choices_and_whole_numbers_are_learned() -> None:
    space = Space(
        {
            "kind": Hyperparameter(CategoricalDistribution(["a", "b", "c"]), {}),
            "count": Hyperparameter(IntDistribution(1, 9), {}),
        }
    )
    tpe = BoundedTPE(space, maximize=False, seed=0)
    drawn = []
    for number in range(110):
        (params,) = tpe.draw(number)
        tpe.begin(number, params)
        tpe.end(number, "complete", 1, (params["kind"] != "b") + abs(int(params["count"]) - 7))
        drawn.append(params)
    assert sum(params["kind"] == "b" for params in drawn[-30:]) > 20
    assert np.median([int(params["count"]) for params in drawn[-30:]]) == 7
