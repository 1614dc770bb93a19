"""A tree-structured Parzen estimator whose cost does not grow with the number of trials."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cotune.records import State, Value
from cotune.space.space import Space
from cotune.study.kernel_density import Floats, KernelDensity, axes_of, stages_of

STARTUP: Final = 10.0
_CANDIDATES: Final = 24
_GOOD_SHARE: Final = 10  # one of so many trials is a good one
_MOST_GOOD: Final = 25
_RECENT: Final = 25  # trials that count in full; of the others, the older count less
_MOST_OTHERS: Final = 128
_SAME: Final = 1e-9  # places of the same value are no further apart


class BoundedTPE:
    """A sampler for a space that is known, after multivariate TPE.

    Trials are split into the good, a tenth of them and at most 25, and the others. A kernel at each
    is a product over hyperparameters. Candidates are drawn around the good ones, and the one is
    taken for which the density of the good divided by that of the others is largest. Trials in
    training count as others, so that trials side by side do not gather at one place. Kernels,
    widths and weights are those of Optuna's sampler (Bergstra et al. 2011; Falkner et al. 2018;
    Watanabe 2023). It differs in two ways:

    - Conditional hyperparameters are drawn after those that decide whether they exist, from kernels
      weighted by how likely the values drawn before, or held, are there.
    - At most ``most_others`` of the other trials have kernels: the newest, and a sample of the rest
      that has the weight of all. So a draw costs the same after 100 trials and after 10,000.

    What is drawn depends on the seed, the trial's number and the trials before; not on the order in
    which those ended.

    Args:
        space: What is searched.
        maximize: Whether larger values are better.
        seed: The run's.
        n_startup: Trials that have to end before one is not drawn at random; infinite for random
            search.
    """

    def __init__(
        self,
        space: Space,
        maximize: bool,
        seed: int,
        most_others: int = _MOST_OTHERS,
        n_startup: float = STARTUP,
    ) -> None:
        self._axes = axes_of(space)
        self._stages = stages_of(self._axes)
        self._sign = -1.0 if maximize else 1.0
        self._seed = seed
        self._most_others = most_others
        self._n_startup = n_startup
        self._points = np.empty((0, len(self._axes)))  # by trial number
        self._n_begun = 0
        self._running: set[int] = set()
        self._ended: set[int] = set()
        # Those that ended, the best first: by whether pruned, epochs and value; then the number.
        self._ranked: list[tuple[bool, int, float, int]] = []

    def begin(self, number: int, params: Mapping[str, Value]) -> None:
        """Take in a trial that is in training from now on."""
        while number >= len(self._points):
            more = np.full((max(64, len(self._points)), len(self._axes)), np.nan)
            self._points = np.concatenate([self._points, more])
        self._points[number] = [axis.place(params.get(axis.name)) for axis in self._axes]
        self._n_begun = max(self._n_begun, number + 1)
        self._running.add(number)

    def end(self, number: int, state: State, epochs: int, value: float | None) -> None:
        """Take in how a trial ended; one that failed no longer counts.

        Pruned trials rank after all complete ones, the longest first.
        """
        self._running.discard(number)
        if state == "failed":
            return
        score = math.inf if value is None or math.isnan(value) else self._sign * value
        is_pruned = state == "pruned"
        insort(self._ranked, (is_pruned, -epochs if is_pruned else 0, score, number))
        self._ended.add(number)

    def draw(
        self, number: int, count: int = 1, held: Mapping[str, Value] | None = None
    ) -> list[dict[str, Value]]:
        """Draw the configurations of trials that begin together.

        Args:
            number: Of the first.
            held: Values that they have where these exist for them.
        """
        held = held or {}
        random = np.random.default_rng([self._seed, number])
        points = np.array([[axis.place(held.get(axis.name)) for axis in self._axes]] * count)
        if len(self._ranked) < self._n_startup:
            good = others = KernelDensity(self._axes, points[:0], np.empty(0))
        else:
            good, others = self._split(random)
        for stage in self._stages:
            points = self._draw_stage(stage, points, good, others, random)
        return [self._values(point, held) for point in points.tolist()]

    def _draw_stage(
        self,
        stage: NDArray[np.int64],
        points: Floats,
        good: KernelDensity,
        others: KernelDensity,
        random: np.random.Generator,
    ) -> Floats:
        """Draw the places on axes for which it is decided whether they exist."""
        exists = np.column_stack([self._exists(i, points) for i in stage])
        is_open = exists & np.isnan(points[:, stage])
        points[:, stage] = np.where(exists, points[:, stage], np.nan)
        if not is_open.any():
            return points
        among_good, among_others = good.given(points), others.given(points)
        drawn = good.sample(random, among_good, _CANDIDATES, stage)
        drawn = np.where(is_open[:, np.newaxis], drawn, np.nan)
        ratios = good.density(drawn, among_good, stage) / others.density(drawn, among_others, stage)
        chosen = drawn[np.arange(len(points)), ratios.argmax(axis=1)]
        points[:, stage] = np.where(is_open, chosen, points[:, stage])
        return points

    def _exists(self, axis: int, points: Floats) -> NDArray[np.bool_]:
        """Return for which points an axis exists."""
        exists = np.ones(len(points), bool)
        for parent, places in self._axes[axis].parents:
            distances = np.abs(points[:, parent, np.newaxis] - np.array(places))
            exists &= (distances < _SAME).any(axis=1)
        return exists

    def _values(self, point: Sequence[float], held: Mapping[str, Value]) -> dict[str, Value]:
        return {
            axis.name: axis.typed(held[axis.name]) if axis.name in held else axis.value(place)
            for axis, place in zip(self._axes, point, strict=True)
            if not math.isnan(place)
        }

    def _split(self, random: np.random.Generator) -> tuple[KernelDensity, KernelDensity]:
        n_good = min(-(-len(self._ranked) // _GOOD_SHARE), _MOST_GOOD)
        good = sorted(rank[-1] for rank in self._ranked[:n_good])
        numbers, weights = self._others(set(good), random)
        return (
            KernelDensity(self._axes, self._points[good], _by_age(np.arange(n_good), n_good)),
            KernelDensity(self._axes, self._points[numbers], weights),
        )

    def _others(
        self, good: set[int], random: np.random.Generator
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return the other trials that have kernels, and how much each counts."""
        count = len(self._ranked) - len(good) + len(self._running)
        if count <= self._most_others:
            every = np.array(sorted((self._ended | self._running) - good), np.int64)
            return every, _by_age(np.arange(count), count)
        newest, number = list[int](), self._n_begun
        while 2 * len(newest) < self._most_others:
            number -= 1
            if number not in good and (number in self._ended or number in self._running):
                newest.append(number)
        n_rest = sum(1 for one in newest if one in self._ended)
        n_rest = len(self._ranked) - len(good) - n_rest
        wanted = min(n_rest, self._most_others - len(newest))
        rest, taken = list[int](), {*newest, *good}
        while len(rest) < wanted:
            number = self._ranked[random.integers(len(self._ranked))][-1]
            if number not in taken:
                taken.add(number)
                rest.append(number)
        numbers = np.array([*rest, *newest], np.int64)
        weights = _by_age(numbers, self._n_begun)
        weights[: len(rest)] *= n_rest / max(1, len(rest))
        return numbers, weights


def _by_age(ages: NDArray[np.int64], n: int) -> Floats:
    """Return how much trials count: the newest in full, the others the less, the older they are.

    Args:
        ages: From 0, the oldest, to n - 1.
    """
    if n <= _RECENT:
        return np.ones(len(ages))
    return np.minimum(1.0, 1.0 / n + (1.0 - 1.0 / n) * ages / max(1, n - _RECENT - 1))
