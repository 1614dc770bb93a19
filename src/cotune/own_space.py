"""The space of a user's own network: what it asks a trial for, or its arguments; its training."""

from __future__ import annotations

import contextlib
import inspect
import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler

from cotune.exceptions import CotuneError, SpaceError, UsageError
from cotune.hyperparameters import KNOWN, OF_TRAINING, SHARED, Known, defaults, known_value
from cotune.models import OWN, OwnNetwork, OwnShape
from cotune.models.own import GIVEN, where_it_failed
from cotune.results import Value
from cotune.space import Hyperparameter, Space, suggest
from cotune.space_yaml import space_from_dict

_PROBES: Final = 16  # random configurations that show what is asked for only sometimes


class OwnSpace(Space):
    """Hyperparameters of a user's network and of its training.

    Args:
        own: What makes the network. A function is asked, with a trial, for its hyperparameters;
            what it asks for only sometimes is found by trying some configurations. Those of a
            class are the arguments that ``training`` has entries for.
        training: The training's hyperparameters, as YAML writes them; none of those that the
            function asks for itself.
        input_shape: Of one row.
        n_classes: Outputs.

    Raises:
        UsageError: The network cannot be made, or used.
        SpaceError: A hyperparameter of the training is out of its range.
    """

    def __init__(
        self,
        own: OwnNetwork,
        training: Mapping[str, Any],
        input_shape: tuple[int, ...],
        n_classes: int,
    ) -> None:
        self._own = own
        self._data = input_shape, n_classes
        found: dict[str, Hyperparameter] = {}
        if not own.is_class:
            found = self._discover()
        own_names = own.arguments if own.is_class else {}
        arguments = {
            name: None if default is inspect.Parameter.empty else default
            for name, default in own_names.items()
            if name not in GIVEN or name in training
        }
        rest = {name: entry for name, entry in training.items() if name not in found}
        space = space_from_dict(rest, arguments, may_be_fixed=True)
        known = {**space.known, **{n: _known(h.distribution) for n, h in found.items()}}
        super().__init__({**found, **space.searched}, {**space.constants, "model": OWN}, known)
        self._of_training = {**space.searched}
        self.asked_for = tuple(found) or tuple(arguments)
        for name in found:
            _check_training(name, found[name].distribution)
        self._try(self.complete(self.default()))
        if not self.searched:
            raise SpaceError(f"nothing to search: {own.name} asks for nothing, and all is constant")

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Value]:
        if self._own.is_class:
            return super().suggest(trial)
        # What is wrong with this configuration comes up again where it is trained.
        with contextlib.suppress(Exception):
            self._own.ask(trial, *self._data)
        params: dict[str, Value] = dict(trial.params)
        for name, hyperparameter in self._of_training.items():
            if name not in params and self.exists(name, params):
                params[name] = suggest(trial, name, hyperparameter.distribution)
        return params

    def complete(self, params: Mapping[str, Value]) -> dict[str, Value]:
        full = {**defaults(OWN), **self.constants, **params}
        full["optimizer"] = str(full["optimizer"]).lower()
        if full["optimizer"] != "sgd" and "momentum" not in params:
            del full["momentum"]
        return full

    def default(self, changes: Mapping[str, Value] | None = None) -> dict[str, Value]:
        if self._own.is_class:
            return super().default(changes)
        middle = _Middle(changes or {})
        self._own.ask(middle, *self._data)
        training = Space(self._of_training, self.constants, self.known).default(changes)
        return {**middle.params, **{n: v for n, v in training.items() if n not in middle.params}}

    def discretized(self, points: int = 3) -> Space:
        if not self._own.is_class:
            raise UsageError(
                f"sampler: a grid needs a space, and {self._own.name} is a function; give a class "
                "and a space of its arguments"
            )
        return super().discretized(points)

    @cached_property
    def shared(self) -> Collection[str]:
        """Found by changing one hyperparameter at a time: does the network's structure change?"""
        base = self.complete(self.default())
        kept = self._structure(base)
        own = [n for n in (*self.asked_for, *self.searched) if n not in OF_TRAINING]
        changing = [
            name
            for name in dict.fromkeys(own)
            if name not in base
            or name not in self.searched
            or kept is None
            or any(
                self._structure({**base, name: other}) != kept
                for other in _others(self.searched[name].distribution, base[name])
            )
        ]
        return (*SHARED, *changing)

    def _structure(self, params: Mapping[str, Value]) -> str | None:
        with contextlib.suppress(Exception):
            shape = OwnShape(self._own.build(params, *self._data, seed=0), self._data[1])
            return shape.structure.key
        return None

    def _try(self, params: Mapping[str, Value]) -> None:
        """Make the network of the default configuration, and see that it takes the rows."""
        try:
            self._own.build(params, *self._data, seed=0)
        except CotuneError:
            raise
        except Exception as error:
            raise UsageError(f"model: {where_it_failed(error)}") from error

    def _discover(self) -> dict[str, Hyperparameter]:
        """What the function asks for: in the middle of all ranges, and at random."""
        middle = _Middle({})
        try:
            self._own.ask(middle, *self._data)
        except Exception as error:
            raise UsageError(f"model: {where_it_failed(error)}") from error
        found = dict(middle.distributions)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            study = optuna.create_study(sampler=RandomSampler(seed=0))
            for _ in range(_PROBES if found else 0):
                trial = study.ask()
                with contextlib.suppress(Exception), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._own.ask(trial, *self._data)
                found.update({n: d for n, d in trial.distributions.items() if n not in found})
        finally:
            optuna.logging.set_verbosity(verbosity)
        if "model" in found:
            raise UsageError("model: asks for a hyperparameter named model; name it otherwise")
        return {name: Hyperparameter(d, {}) for name, d in found.items()}


class _Middle:
    """A trial in the middle of every range, and with the first of every choice.

    Args:
        wanted: Values that are preferred to those.
    """

    number = 0

    def __init__(self, wanted: Mapping[str, Value]) -> None:
        self._wanted = wanted
        self.params: dict[str, Value] = {}
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._decide(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return int(self._decide(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._decide(name, CategoricalDistribution(choices))

    def set_user_attr(self, key: str, value: Any) -> None:
        """Nothing: no trial of the study."""

    def _decide(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self.params:
            self.distributions[name] = distribution
            value = self._wanted.get(name, KNOWN[name].default if name in OF_TRAINING else None)
            self.params[name] = _nearest(distribution, value)
        return self.params[name]


def _nearest(distribution: BaseDistribution, value: Value | None) -> Value:
    known = _known(distribution)
    usable: Callable[[Any], bool] = distribution._contains
    if isinstance(distribution, CategoricalDistribution):
        return value if value in distribution.choices and value is not None else known.default
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    if isinstance(value, (int, float)) and usable(float(value)):
        return value
    return known.default


def _known(distribution: BaseDistribution) -> Known:
    """What a hyperparameter is, by its distribution; its default is in the middle."""
    if isinstance(distribution, CategoricalDistribution):
        choices = tuple(choice for choice in distribution.choices if choice is not None)
        if len(choices) < len(distribution.choices):
            raise SpaceError("model: asks for a choice that may be None; use a text for it")
        return Known(type(choices[0]), choices[0], choices=choices)
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    low, high = float(distribution.low), float(distribution.high)
    middle = math.sqrt(low * high) if distribution.log else (low + high) / 2
    if distribution.step is not None and not distribution.log:
        middle = min(low + round((middle - low) / distribution.step) * distribution.step, high)
    if isinstance(distribution, IntDistribution):
        return Known(int, round(middle), low, high)
    return Known(float, middle, low, high)


def _check_training(name: str, distribution: BaseDistribution) -> None:
    """Whether what a function asks for under a name of the trainer's is of use to the trainer."""
    if name not in OF_TRAINING:
        return
    if isinstance(distribution, CategoricalDistribution):
        for choice in distribution.choices:
            value = choice.lower() if isinstance(choice, str) else choice
            known_value(name, value, f"model: {name}")
        return
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    for bound in (distribution.low, distribution.high):
        known_value(name, bound, f"model: {name}")


def _others(distribution: BaseDistribution, value: Value) -> list[Value]:
    if isinstance(distribution, CategoricalDistribution):
        return [choice for choice in distribution.choices if choice not in (value, None)]
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    return [bound for bound in (distribution.low, distribution.high) if bound != value]
