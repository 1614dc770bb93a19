"""Densities over a search space, made of a kernel at each of some trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from scipy.special import ndtr, ndtri

from cotune.records import Value
from cotune.space.space import Space, contains, count_values

Floats = NDArray[np.float64]
"""Numbers; of points, one row each with a column an axis, NaN for what a point does not have."""

_FINEST: Final = 100  # a kernel is at least this part of a range wide
_MOST_CELLS: Final = 10_000  # of an axis; values that lie closer count as if any number were one


@dataclass(frozen=True)
class Axis:
    """The axis of a hyperparameter.

    A choice's place on it is its index. A number's place is from 0 to 1, on the scale of its
    distribution, where each value of a range with steps lies in a cell of its own.

    Attributes:
        parents: Which axes decide whether it exists, each with the places where it does.
    """

    name: str
    distribution: BaseDistribution
    parents: tuple[tuple[int, tuple[float, ...]], ...] = ()

    @cached_property
    def n_choices(self) -> int:
        """How many choices there are; 0 for numbers."""
        is_choice = isinstance(self.distribution, CategoricalDistribution)
        return int(count_values(self.distribution)) if is_choice else 0

    @cached_property
    def edges(self) -> Floats | None:
        """The ends of the cells; None where every number is a value."""
        if self.n_choices or count_values(self.distribution) > _MOST_CELLS:
            return None
        low, _, step = self._range
        steps = np.arange(count_values(self.distribution) + 1)
        return np.asarray(self._scaled(low - step / 2 + step * steps))

    @property
    def _range(self) -> tuple[float, float, float]:
        assert isinstance(self.distribution, (IntDistribution, FloatDistribution))
        return self.distribution.low, self.distribution.high, self.distribution.step or 0.0

    @property
    def _is_log(self) -> bool:
        return bool(getattr(self.distribution, "log", False))

    @cached_property
    def _ends(self) -> tuple[float, float]:
        low, high, step = self._range
        ends = low - step / 2, high + step / 2
        return (math.log(ends[0]), math.log(ends[1])) if self._is_log else ends

    def _scaled(self, numbers: Any) -> Any:
        low, high = self._ends
        return ((np.log(numbers) if self._is_log else numbers) - low) / max(high - low, 1e-300)

    def place(self, value: Value | None) -> float:
        """Return the place of a value; NaN for none."""
        if value is None:
            return math.nan
        number = self.distribution.to_internal_repr(value)
        return float(number if self.n_choices else self._scaled(number))

    def value(self, place: float) -> Value:
        """Return the value at a place, or nearest to it."""
        if isinstance(self.distribution, CategoricalDistribution):
            choice = self.distribution.choices[int(place)]
            assert choice is not None
            return choice
        start, end = self._ends
        number = start + place * (end - start)
        number = math.exp(number) if self._is_log else number
        low, high, step = self._range
        if step:
            number = low + round((number - low) / step) * step
        number = min(max(number, low), high)
        return int(number) if isinstance(self.distribution, IntDistribution) else number

    def typed(self, value: Value) -> Value:
        """Return a value as the distribution has it: 1 as 1.0 in a range of floats."""
        typed: Value = self.distribution.to_external_repr(self.distribution.to_internal_repr(value))
        return typed

    def snapped(self, places: Floats) -> Floats:
        """Return the places of the values nearest to these."""
        if self.edges is None:
            return places
        return np.asarray(self._centres[self.cells(places)])

    def cells(self, places: Floats) -> NDArray[np.int64]:
        """Return which cells these places are in."""
        assert self.edges is not None
        return np.clip(np.searchsorted(self.edges, places, "right") - 1, 0, len(self.edges) - 2)

    @cached_property
    def _centres(self) -> Floats:
        low, _, step = self._range
        return np.asarray(self._scaled(low + step * np.arange(count_values(self.distribution))))


def axes_of(space: Space) -> list[Axis]:
    """Return an axis for each hyperparameter that can exist, those that decide about it before."""
    axes: dict[str, Axis] = {}
    index: dict[str, int] = {}
    for name, hyperparameter in space.searched.items():
        parents, is_possible = list[tuple[int, tuple[float, ...]]](), True
        for parent, values in hyperparameter.when.items():
            if parent in axes:
                within = [v for v in values if contains(axes[parent].distribution, v)]
                parents.append((index[parent], tuple(map(axes[parent].place, within))))
            else:
                is_possible &= space.constants.get(parent) in values
        if is_possible:
            index[name] = len(axes)
            axes[name] = Axis(name, hyperparameter.distribution, tuple(parents))
    return list(axes.values())


def stages_of(axes: Sequence[Axis]) -> list[NDArray[np.int64]]:
    """Return axes by how many others decide, one after another, whether they exist."""
    depths = list[int]()
    for axis in axes:
        depths.append(1 + max((depths[parent] for parent, _ in axis.parents), default=-1))
    return [np.flatnonzero(np.array(depths) == depth) for depth in sorted(set(depths))]


class KernelDensity:
    """A mixture of kernels over a space, each the product of one on every axis.

    One kernel is at each of some points, and one is as wide as the space. On an axis of numbers it
    is a normal distribution cut off at the ends, as wide as the larger of the distances to its two
    neighbours; on one of choices, its own choice is the likeliest, the more so the more kernels
    there are. Where a point lacks a hyperparameter, its kernel is uniform.

    Args:
        points: Shape (points, axes).
        weights: Of the points; that of the wide kernel is 1.
    """

    def __init__(self, axes: Sequence[Axis], points: Floats, weights: Floats) -> None:
        self._axes = axes
        self._numeric = np.array([not axis.n_choices for axis in axes])
        self._n_choices = np.array([axis.n_choices for axis in axes])
        self._points = np.vstack([points, np.where(self._numeric, 0.5, np.nan)])
        weights = np.append(weights, 1.0)
        self._weights = weights / weights.sum()
        self._extra = 1.0 / len(self._points)  # what each choice has in a kernel at another one
        self._widths = np.vstack([_widths(points), np.ones(len(axes))])
        with np.errstate(invalid="ignore"):
            self._below = ndtr(-self._points / self._widths)
            self._mass = ndtr((1.0 - self._points) / self._widths) - self._below

    def given(self, points: Floats) -> Floats:
        """Return the weights of the kernels given what points have, shape (points, kernels)."""
        has = np.flatnonzero(~np.isnan(points).all(axis=0))
        weights = self._weights * self._kernels(points[:, has], has)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def sample(
        self, random: np.random.Generator, weights: Floats, size: int, axes: NDArray[np.int64]
    ) -> Floats:
        """Draw places on some axes.

        Args:
            weights: Of the kernels, shape (n, kernels).
            size: How many for each row of weights.

        Returns:
            Shape (n, size, axes).
        """
        sums = np.cumsum(weights, axis=1)
        at = random.random((len(weights), size, 1)) * sums[:, -1:, np.newaxis]
        chosen = (sums[:, np.newaxis] <= at).sum(axis=2).ravel()
        chosen = np.minimum(chosen, weights.shape[1] - 1)
        uniform, other = random.random((2, len(chosen), len(axes)))
        own, widths = self._points[chosen][:, axes], self._widths[chosen][:, axes]
        with np.errstate(invalid="ignore"):
            quantiles = self._below[chosen][:, axes] + uniform * self._mass[chosen][:, axes]
            numbers = np.clip(own + widths * ndtri(quantiles), 0.0, 1.0)
        n_choices, is_number = self._n_choices[axes], self._numeric[axes]
        stays = other * (1.0 + n_choices * self._extra) < 1.0
        drawn = np.where(is_number, numbers, np.where(stays, own, np.nan))
        anywhere = np.where(is_number, uniform, np.floor(uniform * n_choices))
        drawn = np.where(np.isnan(drawn), anywhere, drawn)
        for column, axis in enumerate(axes):
            drawn[:, column] = self._axes[axis].snapped(drawn[:, column])
        return drawn.reshape(len(weights), size, len(axes))

    def density(self, places: Floats, weights: Floats, axes: NDArray[np.int64]) -> Floats:
        """Return the density at places on some axes, relative to a uniform one.

        Args:
            places: Shape (n, size, axes); NaN where one does not exist.
            weights: Of the kernels, shape (n, kernels).

        Returns:
            Shape (n, size).
        """
        n, size, _ = places.shape
        kernels = self._kernels(places.reshape(n * size, len(axes)), axes)
        return np.asarray(np.einsum("nsk,nk->ns", kernels.reshape(n, size, -1), weights))

    def _kernels(self, places: Floats, axes: NDArray[np.int64]) -> Floats:
        """Return each kernel's density at places on some axes, shape (places, kernels)."""
        density = np.ones((len(places), len(self._points)))
        continuous = []
        for column, i in enumerate(axes):
            axis, own = self._axes[i], places[:, column]
            if axis.n_choices:
                one = (own[:, np.newaxis] == self._points[:, i]) + self._extra
                one *= axis.n_choices / (1.0 + axis.n_choices * self._extra)
                one[:, np.isnan(self._points[:, i])] = 1.0
            elif axis.edges is not None:
                one = self._cell_density(i, axis, own)
            else:
                continuous.append(column)
                continue
            missing = np.isnan(own)
            density *= np.where(missing[:, np.newaxis], 1.0, one) if missing.any() else one
        if continuous:
            axes = axes[continuous]
            z = (places[:, np.newaxis, continuous] - self._points[:, axes]) / self._widths[:, axes]
            scale = math.sqrt(2 * math.pi) * self._widths[:, axes] * self._mass[:, axes]
            factors = np.exp(-0.5 * z * z) / scale
            density *= np.where(np.isnan(factors), 1.0, factors).prod(axis=2)
        return density

    def _cell_density(self, i: int, axis: Axis, places: Floats) -> Floats:
        """Return how likely the cells are in which these places are, by kernel."""
        assert axis.edges is not None
        cells = axis.cells(np.where(np.isnan(places), 0.0, places))
        used, inverse = np.unique(cells, return_inverse=True)
        ends = np.concatenate([axis.edges[used], axis.edges[used + 1]])
        shares = ndtr((ends[:, np.newaxis] - self._points[:, i]) / self._widths[:, i])
        size = axis.edges[used + 1] - axis.edges[used]
        one = (shares[len(used) :] - shares[: len(used)]) / self._mass[:, i] / size[:, np.newaxis]
        one[np.isnan(one)] = 1.0
        return np.asarray(one[inverse])


def _widths(points: Floats) -> Floats:
    """Return how wide the kernels at points are on axes of numbers, shape (points, axes)."""
    if len(points) == 0:
        return np.empty_like(points)
    order = np.argsort(points, axis=0)  # what is missing comes last
    gaps = np.diff(np.take_along_axis(points, order, axis=0), axis=0)
    none = np.full((1, points.shape[1]), np.nan)
    widths = np.empty_like(points)
    np.put_along_axis(
        widths, order, np.fmax(np.vstack([none, gaps]), np.vstack([gaps, none])), axis=0
    )
    alone = np.maximum(points, 1.0 - points)
    widths = np.where(np.isnan(widths), alone, widths)
    n_kernels = (~np.isnan(points)).sum(axis=0) + 1
    return np.clip(widths, 1.0 / np.minimum(_FINEST, 1 + n_kernels), 1.0)
