"""The search space: named hyperparameters, their distributions and conditions."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from cotune.exceptions import SpaceError
from cotune.records import Value
from cotune.space.hyperparameters import (
    KNOWN,
    SHARED,
    HyperparameterSpec,
    defaults,
    families_of_name,
)
from cotune.text import close_name, shown, shown_key, shown_value

_KEPT = 5  # a grid keeps all values of a range that has no more


@dataclass(frozen=True)
class Hyperparameter:
    """A searched hyperparameter.

    Attributes:
        distribution: What it is drawn from.
        when: It exists only if every hyperparameter named here has one of the listed values.
    """

    distribution: BaseDistribution
    when: Mapping[str, tuple[Value, ...]]


class Space:
    """Hyperparameters that are searched, and constants.

    Args:
        searched: By name, every one after those that its condition names.
        constants: Values that all trials share.
        known: What the names mean; without it, :data:`KNOWN`.
    """

    def __init__(
        self,
        searched: Mapping[str, Hyperparameter],
        constants: Mapping[str, Value] | None = None,
        known: Mapping[str, HyperparameterSpec] | None = None,
    ) -> None:
        self.searched = dict(searched)
        self.constants = dict(constants or {})
        self.known = KNOWN if known is None else dict(known)

    @property
    def shared(self) -> Collection[str]:
        """Hyperparameters that lanes trained together have in common."""
        return SHARED

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Value]:
        """Draw a configuration through the trial; what does not exist for it is not drawn."""
        params: dict[str, Value] = {}
        for name, hyperparameter in self.searched.items():
            if self.exists(name, params):
                params[name] = suggest(trial, name, hyperparameter.distribution)
        return params

    def complete(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """Return a configuration with constants and defaults: all that the trainer needs."""
        family = str({**self.constants, **params}.get("model", KNOWN["model"].default))
        constants = {
            name: value
            for name, value in self.constants.items()
            if family in families_of_name(name)
        }
        full = {**defaults(family), **constants, **params}
        if full["optimizer"] != "sgd" and "momentum" not in params:
            del full["momentum"]
        return full

    def default(self, changes: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """Return the default configuration, each value moved to the nearest that the space allows.

        Args:
            changes: Values that are wanted instead of the defaults.
        """
        wanted = {"model": self.families[0], **(changes or {})}
        params: dict[str, Value] = {}
        for name, hyperparameter in self.searched.items():
            if self.exists(name, params):
                value = wanted.get(name, self.known[name].default)
                params[name] = nearest(hyperparameter.distribution, value)
        return params

    @property
    def families(self) -> tuple[str, ...]:
        """The networks that are searched: ``mlp``, ``cnn`` or both, the default's first."""
        if "model" not in self.searched:
            return (str(self.constants.get("model", KNOWN["model"].default)),)
        distribution = self.searched["model"].distribution
        assert isinstance(distribution, CategoricalDistribution)
        return tuple(str(choice) for choice in distribution.choices)

    def check(self, params: Mapping[str, Any]) -> dict[str, Value]:
        """Return the configuration, if it (or a part of one) lies in the space.

        Raises:
            SpaceError: A name is unknown, a value is out of range or of the wrong type, or a
                hyperparameter is set where it does not exist.
        """
        checked: dict[str, Value] = {}
        for name, value in params.items():
            if name not in self.searched:
                if name in self.constants:
                    constant = shown_value(self.constants[name])
                    raise SpaceError(f"{name}: is the constant {constant} in this space")
                near = close_name(str(name), self.searched)
                raise SpaceError(f"{shown_key(name)}: unknown hyperparameter{near}")
            distribution = self.searched[name].distribution
            if not contains(distribution, value):
                raise SpaceError(f"{name}: {shown(value)} is not in {describe(distribution)}")
            for parent, values in self.searched[name].when.items():
                if {**self.constants, **params}.get(parent) not in values:
                    wanted = " or ".join(shown_value(value) for value in values)
                    raise SpaceError(
                        f"{name}: exists only where {parent} is {wanted}; set that too"
                    )
            checked[name] = float(value) if self.known[name].type is float else value
        return checked

    def discretized(self, points: int = 3) -> Space:
        """Return the space of a grid: ``points`` values of each numeric range, with the default.

        Ranges with few values keep them all.
        """
        searched = {}
        for name, hyperparameter in self.searched.items():
            values = _grid(hyperparameter.distribution, self.known[name].default, points)
            searched[name] = Hyperparameter(CategoricalDistribution(values), hyperparameter.when)
        other = copy.copy(self)
        other.searched = searched
        return other

    def configurations(self) -> Iterator[dict[str, Value]]:
        """Yield all configurations of a space of choices, as :meth:`discretized` makes it."""
        names = list(self.searched)

        def grow(params: dict[str, Value], at: int) -> Iterator[dict[str, Value]]:
            if at == len(names):
                yield params
            elif not self.exists(names[at], params):
                yield from grow(params, at + 1)
            else:
                distribution = self.searched[names[at]].distribution
                assert isinstance(distribution, CategoricalDistribution)
                for choice in distribution.choices:
                    assert choice is not None
                    yield from grow({**params, names[at]: choice}, at + 1)

        return grow({}, 0)

    def exists(self, name: str, params: Mapping[str, Value]) -> bool:
        """Return whether a searched hyperparameter exists beside these."""
        when = self.searched[name].when
        known = {**self.constants, **params}
        return all(known.get(parent) in values for parent, values in when.items())

    def to_dict(self) -> dict[str, Any]:
        """Return the space as YAML writes it; ``space_from_dict`` reads it back."""
        data: dict[str, Any] = dict(self.constants)
        for name, hyperparameter in self.searched.items():
            entry = entry_of(hyperparameter.distribution)
            if hyperparameter.when:
                entry["when"] = {
                    parent: values[0] if len(values) == 1 else list(values)
                    for parent, values in hyperparameter.when.items()
                }
            data[name] = entry
        return data


def entry_of(distribution: BaseDistribution) -> dict[str, Any]:
    """Return a distribution as YAML writes it."""
    if isinstance(distribution, CategoricalDistribution):
        return {"type": "categorical", "choices": list(distribution.choices)}
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    kind = "int" if isinstance(distribution, IntDistribution) else "float"
    entry: dict[str, Any] = {"type": kind, "low": distribution.low, "high": distribution.high}
    if distribution.log:
        entry["log"] = True
    elif _has_step(distribution):
        entry["step"] = distribution.step
    return entry


def suggest(trial: optuna.trial.BaseTrial, name: str, distribution: BaseDistribution) -> Value:
    """Draw a value through the trial."""
    if isinstance(distribution, CategoricalDistribution):
        choice = trial.suggest_categorical(name, distribution.choices)
        assert choice is not None
        return choice
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    is_whole = isinstance(distribution, IntDistribution)
    draw: Any = trial.suggest_int if is_whole else trial.suggest_float
    number: Value = draw(
        name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
    )
    return number


def describe(distribution: BaseDistribution) -> str:
    """Return the distribution for people: ``1e-05 to 0.1 (log)``, ``8 to 256 in steps of 8``."""
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(shown_value(choice) for choice in distribution.choices)
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    text = f"{shown_value(distribution.low)} to {shown_value(distribution.high)}"
    if distribution.log:
        return f"{text} (log)"
    if _has_step(distribution):
        return f"{text} in steps of {shown_value(distribution.step)}"
    return text


def _has_step(distribution: IntDistribution | FloatDistribution) -> bool:
    """Return whether a step was asked for; whole numbers always have one of 1."""
    return distribution.step is not None and not (
        isinstance(distribution, IntDistribution) and distribution.step == 1
    )


def count_values(distribution: BaseDistribution) -> float:
    """Return how many values can be drawn: infinitely many of a range of floats without a step."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    if distribution.step is None:
        return math.inf
    return round((distribution.high - distribution.low) / distribution.step) + 1


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a value can be drawn; a whole number is a float too."""
    if isinstance(distribution, CategoricalDistribution):
        return any(
            value == choice
            and (type(value) is type(choice) or (type(value), type(choice)) == (int, float))
            for choice in distribution.choices
        )
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if isinstance(distribution, IntDistribution) and not isinstance(value, int):
        return False
    if not distribution.low <= value <= distribution.high:  # NaN is not either
        return False
    if distribution.step is None:
        return True
    steps = (value - distribution.low) / distribution.step
    return abs(steps - round(steps)) < 1e-8


def nearest(distribution: BaseDistribution, value: Value) -> Value:
    """Return the nearest value that can be drawn; without an order, the first choice."""
    if isinstance(distribution, CategoricalDistribution):
        choices = [choice for choice in distribution.choices if choice is not None]
        if value in choices or isinstance(value, (bool, str)):
            return value if value in choices else choices[0]
        return min(choices, key=lambda choice: abs(float(choice) - value))
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    number = min(max(float(value), distribution.low), distribution.high)
    if distribution.step is not None:
        steps = round((number - distribution.low) / distribution.step)
        # 3 * 0.1 is above 0.3.
        number = min(distribution.low + steps * distribution.step, distribution.high)
    return int(number) if isinstance(distribution, IntDistribution) else number


def _grid(distribution: BaseDistribution, default: Value, points: int) -> list[Value]:
    if isinstance(distribution, CategoricalDistribution):
        return [choice for choice in distribution.choices if choice is not None]
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    low, high = float(distribution.low), float(distribution.high)
    shares = [i / (points - 1) for i in range(points)] if points > 1 else []
    count = count_values(distribution)
    if distribution.step is not None and not distribution.log and count <= _KEPT:
        return [nearest(distribution, low + i * distribution.step) for i in range(int(count))]
    if distribution.log:
        numbers = [low * (high / low) ** share for share in shares]
    else:
        numbers = [low + (high - low) * share for share in shares]
    grid = [nearest(distribution, number) for number in numbers]
    default = nearest(distribution, default)
    others = {value for value in grid if not math.isclose(float(value), float(default))}
    return sorted([default, *others], key=float)
