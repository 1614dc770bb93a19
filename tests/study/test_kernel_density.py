"""Kernel densities beside those of Optuna's own sampler, from which they are to differ in nothing
but a constant where all points have all hyperparameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters

from cotune.space.presets import load_space
from cotune.study.kernel_density import Axis, KernelDensity, axes_of, stages_of

AXES: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "momentum": FloatDistribution(0.0, 0.9, step=0.1),
    "width": IntDistribution(8, 256, step=8),
    "batch": IntDistribution(1, 300, log=True),
    "optimizer": CategoricalDistribution(["adam", "sgd", "muon"]),
}


def random_value(distribution: BaseDistribution, random: np.random.Generator) -> Any:
    axis = Axis("one", distribution)
    place = random.integers(axis.n_choices) if axis.n_choices else random.random()
    return axis.value(float(place))


def density_of(distributions: dict[str, BaseDistribution], rows: list[dict[str, Any]]) -> Any:
    axes = [Axis(name, one) for name, one in distributions.items()]
    points = np.array([[axis.place(row[axis.name]) for axis in axes] for row in rows])
    return axes, KernelDensity(axes, points, np.ones(len(rows)))


@pytest.mark.parametrize("names", [[name] for name in AXES] + [list(AXES)])
@pytest.mark.parametrize("count", [1, 2, 30])
def test_it_is_optunas_density(names: list[str], count: int) -> None:
    random = np.random.default_rng(count)
    distributions = {name: AXES[name] for name in names}
    rows = [{n: random_value(d, random) for n, d in distributions.items()} for _ in range(count)]
    axes, density = density_of(distributions, rows)
    parameters = _ParzenEstimatorParameters(1.0, True, False, np.ones, True)
    observed = {
        n: np.array([d.to_internal_repr(row[n]) for row in rows]) for n, d in distributions.items()
    }
    theirs = _ParzenEstimator(observed, distributions, parameters)
    tried = [{n: random_value(d, random) for n, d in distributions.items()} for _ in range(50)]
    places = np.array([[axis.place(row[axis.name]) for axis in axes] for row in tried])
    weights = density.given(np.full((1, len(axes)), np.nan))
    ours = density.density(places[np.newaxis], weights, np.arange(len(axes)))[0]
    expected = theirs.log_pdf(
        {n: np.array([d.to_internal_repr(r[n]) for r in tried]) for n, d in distributions.items()}
    )
    # Theirs is per unit of the hyperparameter, the batch's per place among logarithms.
    ratio = np.log(ours) - expected
    if "batch" in names:
        widths = np.array([np.log((r["batch"] + 0.5) / (r["batch"] - 0.5)) for r in tried])
        ratio += np.log(widths)
    assert np.ptp(ratio) < 1e-6


@pytest.mark.parametrize("name", AXES)
def test_it_sums_to_one(name: str) -> None:
    random = np.random.default_rng(5)
    rows = [{name: random_value(AXES[name], random)} for _ in range(20)]
    axes, density = density_of({name: AXES[name]}, rows)
    axis = axes[0]
    if axis.n_choices:
        places, shares = np.arange(axis.n_choices), np.full(axis.n_choices, 1 / axis.n_choices)
    elif axis.edges is not None:
        places, shares = (axis.edges[1:] + axis.edges[:-1]) / 2, np.diff(axis.edges)
    else:
        places, shares = (np.arange(20_000) + 0.5) / 20_000, np.full(20_000, 1 / 20_000)
    weights = density.given(np.full((1, 1), np.nan))
    found = density.density(places[np.newaxis, :, np.newaxis], weights, np.arange(1))
    assert float(found[0] @ shares) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", AXES)
def test_it_is_drawn_from(name: str) -> None:
    random = np.random.default_rng(7)
    rows = [{name: random_value(AXES[name], random)} for _ in range(6)]
    axes, density = density_of({name: AXES[name]}, rows)
    weights = density.given(np.full((1, 1), np.nan))
    drawn = density.sample(random, weights, 20_000, np.arange(1))
    # In a tenth of the range, or at a choice, as many as the density there says.
    axis = axes[0]
    bins = np.arange(axis.n_choices + 1) - 0.5 if axis.n_choices else np.linspace(0, 1, 11)
    seen = np.histogram(drawn, bins)[0] / drawn.size
    uniform = (
        np.arange(axis.n_choices, dtype=float)
        if axis.n_choices
        else axis.snapped((np.arange(5_000) + 0.5) / 5_000)
    )
    there = density.density(uniform[np.newaxis, :, np.newaxis], weights, np.arange(1))[0]
    expected = np.histogram(uniform, bins, weights=there)[0] / len(uniform)
    assert np.abs(seen - expected).max() < 0.02


@pytest.mark.parametrize("name", AXES)
def test_values_come_back_from_their_places(name: str) -> None:
    random = np.random.default_rng(1)
    axis = Axis(name, AXES[name])
    for _ in range(50):
        value = random_value(AXES[name], random)
        assert axis.value(axis.place(value)) == pytest.approx(value)
        assert type(axis.value(axis.place(value))) is type(value)
        assert AXES[name]._contains(AXES[name].to_internal_repr(value))


def test_a_point_that_lacks_a_hyperparameter_is_uniform_there() -> None:
    axes = [Axis("a", AXES["dropout"]), Axis("b", AXES["dropout"])]
    density = KernelDensity(axes, np.array([[0.2, np.nan]]), np.array([1e9]))
    weights = density.given(np.full((1, 2), np.nan))
    places = np.array([[[0.2, place] for place in (0.0, 0.3, 1.0)]])
    found = density.density(places, weights, np.arange(2))[0]
    assert found == pytest.approx(found[0])
    drawn = density.sample(np.random.default_rng(0), weights, 5_000, np.arange(2))[0, :, 1]
    assert np.histogram(drawn, 4, (0, 1))[0] / 5_000 == pytest.approx(0.25, abs=0.03)


def test_what_is_given_decides_between_kernels() -> None:
    axes = [Axis("a", AXES["dropout"]), Axis("b", AXES["dropout"])]
    density = KernelDensity(axes, np.array([[0.1, 0.1], [0.9, 0.9]]), np.ones(2))
    low, high = density.given(np.array([[0.1, np.nan], [0.9, np.nan]]))
    assert low[0] > 1.5 * low[1]
    assert high[1] > 1.5 * high[0]


def test_conditional_axes_come_in_later_stages() -> None:
    axes = axes_of(load_space("auto"))
    stage_of: dict[str, int] = {}
    for number, stage in enumerate(stages_of(axes)):
        stage_of |= {axes[i].name: number for i in stage}
    assert stage_of["model"] == 0
    for axis in axes:
        for parent, places in axis.parents:
            assert stage_of[axes[parent].name] < stage_of[axis.name]
            assert places
