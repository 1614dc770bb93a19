"""The space of a user's own network: its own hyperparameters, and those of its training."""

from __future__ import annotations

import contextlib
import inspect
import math
import warnings
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any, Final

import optuna
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler

from cotune.data.preprocessing.treatment import Treatment
from cotune.engine.networks.common import CUSTOM
from cotune.engine.networks.custom.architecture import CustomArchitecture
from cotune.engine.networks.custom.network import GIVEN, CustomNetwork
from cotune.engine.networks.custom.trial import DecidedTrial
from cotune.exceptions import CotuneError, SpaceError, UsageError
from cotune.records import Value
from cotune.space.hyperparameters import KNOWN, OF_TRAINING, SHARED, HyperparameterSpec, defaults
from cotune.space.quiet_optuna import quiet_optuna
from cotune.space.space import Hyperparameter, Space, contains, describe, entry_of, suggest
from cotune.space.yaml import space_from_dict
from cotune.text import shown
from cotune.user_code import locate_error

_PROBES: Final = 16  # random configurations, to find conditional hyperparameters


class CustomSpace(Space):
    """Hyperparameters of a user's network and of its training.

    Args:
        custom: Maker of the network. A function is called with trials to find its hyperparameters,
            several times to find conditional ones. Those of a class are the arguments that have
            entries.
        added: Entries, as YAML writes them, of the training's hyperparameters that the user does
            not name.
        given: The user's entries. A constant for a hyperparameter of the function fixes it.
        input_shape: Of one row.
        n_classes: Outputs.

    Attributes:
        treatment: Preprocessing of the network's rows.

    Raises:
        RowsRefusedError: The network takes no such rows.
        UsageError: It cannot be made, or used otherwise.
        SpaceError: A hyperparameter is out of its range, or defined by the function.
    """

    def __init__(
        self,
        custom: CustomNetwork,
        added: Mapping[str, Any],
        given: Mapping[str, Any],
        input_shape: tuple[int, ...],
        n_classes: int,
    ) -> None:
        self._custom = custom
        self._data = input_shape, n_classes
        self.treatment = Treatment()
        self._held: dict[str, Value] = {}
        self._base: dict[str, Value] = {}
        found = {} if custom.is_class else self._discover()
        given = {n: e for n, e in given.items() if n not in found or e != entry_of(found[n])}
        for name in [name for name in found if name in given]:
            self._held[name] = _hold(name, given[name], found.pop(name))
        if self._held:
            again = self._discover()  # fixed values may change the other hyperparameters
            found = {name: one for name, one in again.items() if name not in self._held}
        arguments: dict[str, Value | None] = dict.fromkeys([*found, *self._held])
        for name, default in custom.arguments.items() if custom.is_class else ():
            if name not in GIVEN or name in given:
                arguments[name] = None if default is inspect.Parameter.empty else default
        asked_for = {name: _entry(name, one) for name, one in found.items()}
        entries = {**asked_for, **self._held, **given}
        entries |= _that_can_be({n: e for n, e in added.items() if n not in entries}, entries)
        space = space_from_dict(entries, arguments, may_be_fixed=True)
        searched = {**space.searched, **{n: Hyperparameter(d, {}) for n, d in found.items()}}
        known = {**space.known, **{n: _spec_of(n, d) for n, d in found.items()}}
        super().__init__(searched, {**space.constants, "model": CUSTOM}, known)
        self._of_training = {n: one for n, one in space.searched.items() if n not in found}
        self._asked_for = tuple(found) or tuple(arguments)
        self._try()
        if not self.searched:
            raise SpaceError(
                f"nothing to search: {custom.name} asks for nothing, and all is constant"
            )

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Value]:
        if self._custom.is_class:
            return super().suggest(trial)
        # An error of this configuration is reported when it is trained.
        with contextlib.suppress(Exception, SystemExit):
            self._custom.ask(_Holding(trial, self._held), *self._data)
        params: dict[str, Value] = dict(trial.params)
        for name, hyperparameter in self._of_training.items():
            if name not in params and self.exists(name, _plain(params)):
                params[name] = suggest(trial, name, hyperparameter.distribution)
        return params

    def complete(self, params: Mapping[str, Value]) -> dict[str, Value]:
        full = _plain({**defaults(CUSTOM), **self.constants, **params})
        if full["optimizer"] != "sgd" and "momentum" not in params:
            del full["momentum"]
        return full

    def default(self, changes: Mapping[str, Value] | None = None) -> dict[str, Value]:
        if self._custom.is_class:
            return super().default(changes)
        middle = _Middle({**self._base, **(changes or {})}, self._held)
        self._custom.ask(middle, *self._data)
        training = Space(self._of_training, {**self.constants, **_plain(middle.params)}, self.known)
        return {**training.default(changes), **middle.params}

    def discretized(self, points: int = 3) -> Space:
        if not self._custom.is_class:
            raise UsageError(
                f"sampler: a grid needs a space, and {self._custom.name} is a function; give a "
                "class and a space of its arguments"
            )
        return super().discretized(points)

    @cached_property
    def shared(self) -> Collection[str]:
        """Common ones, and those that change the network's structure when they alone change."""
        base = self.complete(self.default())
        kept = self._structure(base)
        custom = [n for n in (*self._asked_for, *self.searched) if n not in OF_TRAINING]
        changing = [
            name
            for name in dict.fromkeys(custom)
            if name not in base
            or name not in self.searched
            or kept is None
            or any(
                self._structure({**base, name: other}) != kept
                for other in _others(self.searched[name].distribution, base[name])
            )
        ]
        return (*SHARED, *changing)

    @property
    def looks_up(self) -> bool:
        """True if the network converts its rows to whole numbers, so that scaling them is wrong."""
        shape, n_classes = self._data
        module = self._custom.build(self.complete(self.default()), shape, n_classes, seed=0)
        rows = self._custom.rows_to_try(math.prod(shape))
        with torch.no_grad():
            given, cut = module(rows), module(rows.trunc())
        return not torch.equal(rows, rows.trunc()) and torch.equal(given, cut)

    def _structure(self, params: Mapping[str, Value]) -> str | None:
        with contextlib.suppress(Exception):
            return CustomArchitecture(self._custom.build(params, *self._data, seed=0)).structure
        return None

    def _try(self) -> None:
        """Make the network of the default configuration, and check that it can be trained."""
        try:
            params = self.complete(self.default())
            architecture = CustomArchitecture(self._custom.build(params, *self._data, seed=0))
            architecture.check_trainable(self._custom.rows_to_try(math.prod(self._data[0])))
        except CotuneError:
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(f"model: {locate_error(error)}") from error

    def _discover(self) -> dict[str, BaseDistribution]:
        """Return the function's hyperparameters: in the middle of all ranges, and at random.

        Where the function fails in the middle, the first random configuration without an error is
        the default.
        """
        middle, refused = _Middle({}, self._held), None
        try:
            self._custom.ask(middle, *self._data)
        except (Exception, SystemExit) as error:
            refused = error
        found = dict(middle.distributions)
        with quiet_optuna():
            study = optuna.create_study(sampler=RandomSampler(seed=0))
            for _ in range(_PROBES if found else 0):
                trial = study.ask()
                with contextlib.suppress(Exception, SystemExit):
                    self._custom.ask(_Holding(trial, self._held), *self._data)
                    if refused is not None:
                        refused, self._base = None, dict(trial.params)
                found.update({n: d for n, d in trial.distributions.items() if n not in found})
        if isinstance(refused, CotuneError):
            raise refused
        if refused is not None:
            raise UsageError(f"model: {locate_error(refused)}") from refused
        if "model" in found:
            raise UsageError("model: asks for a hyperparameter named model; name it otherwise")
        return found


class _Holding:
    """A trial in which some hyperparameters are fixed.

    Args:
        trial: Suggests all others.
        held: Fixed values by name.
    """

    def __init__(self, trial: Any, held: Mapping[str, Value]) -> None:
        self._trial, self._held = trial, held

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._trial, name)
        if not name.startswith("suggest_") or not self._held:
            return attribute

        def suggest_or_hold(name: str, *arguments: Any, **options: Any) -> Any:
            if name in self._held:
                return self._held[name]
            return attribute(name, *arguments, **options)

        return suggest_or_hold


class _Middle(DecidedTrial):
    """A trial in the middle of every range, and with the first of every choice.

    Args:
        wanted: Values to prefer.
        held: Fixed values.
    """

    def __init__(self, wanted: Mapping[str, Value], held: Mapping[str, Value]) -> None:
        super().__init__({})
        self._wanted, self._held = wanted, held
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(
        self,
        name: str,
        low: float,
        high: float,
        *,
        step: float | None = None,
        log: bool = False,
        **_: Any,
    ) -> float:
        return float(self._decide(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False, **_: Any
    ) -> int:
        return int(self._decide(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Any) -> Value:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of choices that are no plain values
            choice: Value = self._decide(name, CategoricalDistribution(choices))
        return choice

    def suggest_uniform(self, name: str, low: float, high: float, **_: Any) -> float:
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float, **_: Any) -> float:
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        return self.suggest_float(name, low, high, step=q)

    def _decide(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._held:
            return self._held[name]
        if name not in self.params:
            self.distributions[name] = distribution
            value = self._wanted.get(name, KNOWN[name].default if name in OF_TRAINING else None)
            self.params[name] = _nearest(name, distribution, value)
        return self.params[name]


def _nearest(name: str, distribution: BaseDistribution, value: Value | None) -> Value:
    known = _spec_of(name, distribution)
    usable: Callable[[Any], bool] = distribution._contains
    if isinstance(distribution, CategoricalDistribution):
        return value if value in distribution.choices and value is not None else known.default
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    if isinstance(value, (int, float)) and usable(float(value)):
        return value
    return known.default


def _spec_of(name: str, distribution: BaseDistribution) -> HyperparameterSpec:
    """Return a hyperparameter's type and range by its distribution, with the middle as default.

    Raises:
        SpaceError: It has choices that are no texts, numbers or switches.
    """
    if isinstance(distribution, CategoricalDistribution):
        for choice in distribution.choices:
            if type(choice) not in (bool, int, float, str):
                raise SpaceError(
                    f"{name}: a choice of type {type(choice).__name__} cannot be kept in a study; "
                    "choose among texts, numbers or switches, and look the object up by that"
                )
        choices = tuple(choice for choice in distribution.choices if choice is not None)
        return HyperparameterSpec(type(choices[0]), choices[0], choices=choices)
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    low, high = float(distribution.low), float(distribution.high)
    middle = math.sqrt(low * high) if distribution.log else (low + high) / 2
    if distribution.step is not None and not distribution.log:
        middle = min(low + round((middle - low) / distribution.step) * distribution.step, high)
    if isinstance(distribution, IntDistribution):
        return HyperparameterSpec(int, round(middle), low, high)
    return HyperparameterSpec(float, middle, low, high)


def _entry(name: str, distribution: BaseDistribution) -> dict[str, Any]:
    """Return a distribution as YAML writes it, with choices of the trainer in lower case."""
    _spec_of(name, distribution)
    entry = entry_of(distribution)
    if name in OF_TRAINING and "choices" in entry:
        entry["choices"] = [c.lower() if isinstance(c, str) else c for c in entry["choices"]]
    return entry


def _hold(name: str, value: Any, distribution: BaseDistribution) -> Value:
    """Return the fixed value of a function's hyperparameter."""
    if isinstance(value, (Mapping, BaseDistribution)):
        raise SpaceError(f"{name}: the function asks for it itself; change its range there")
    if not contains(distribution, value):
        raise SpaceError(f"{name}: {shown(value)} is not in {describe(distribution)}")
    held: Value = float(value) if isinstance(distribution, FloatDistribution) else value
    return held


def _that_can_be(added: Mapping[str, Any], entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the added entries whose conditions can hold beside the other entries."""
    kept: dict[str, Any] = {}
    for name, entry in added.items():
        when: dict[str, list[Any]] | None = {}
        for parent, wanted in dict(
            entry.get("when", {}) if isinstance(entry, dict) else {}
        ).items():
            there = {**entries, **added}.get(parent)
            if isinstance(there, BaseDistribution):
                there = entry_of(there)
            possible = there.get("choices", []) if isinstance(there, dict) else [there]
            both = [v for v in (wanted if isinstance(wanted, list) else [wanted]) if v in possible]
            if not both or when is None:
                when = None
            elif isinstance(there, dict):
                when[parent] = both
        if when is None:
            continue
        plain = (
            {k: v for k, v in entry.items() if k != "when"} if isinstance(entry, dict) else entry
        )
        kept[name] = {**plain, "when": when} if when else plain
    return kept


def _plain(params: Mapping[str, Value]) -> dict[str, Value]:
    """Return a configuration with choices of the trainer in lower case: Adam is adam."""
    return {
        name: value.lower() if name in OF_TRAINING and isinstance(value, str) else value
        for name, value in params.items()
    }


def _others(distribution: BaseDistribution, value: Value) -> list[Value]:
    if isinstance(distribution, CategoricalDistribution):
        return [choice for choice in distribution.choices if choice not in (value, None)]
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    return [bound for bound in (distribution.low, distribution.high) if bound != value]
