"""Spaces from YAML, checked key by key.

A space names some or all of the hyperparameters that the trainer knows; those it leaves out keep
their default. A hyperparameter is a constant or a mapping::

    lr: {type: float, low: 1.0e-5, high: 0.1, log: true}
    optimizer: {type: categorical, choices: [adam, sgd]}
    momentum: {type: float, low: 0.0, high: 0.99, when: {optimizer: sgd}}
    epochs: 20
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
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
    NAMES,
    OF_TRAINING,
    HyperparameterSpec,
    families_of_name,
    known_value,
    read_integer,
    read_number,
)
from cotune.space.space import Hyperparameter, Space, contains, entry_of
from cotune.text import close_name, shown, shown_key, shown_value

_MAX_BYTES = 1 << 16  # a space that names everything takes a few thousand
_MAX_STEPS = 10**9
_LARGEST = 2**53  # whole numbers up to here are exact as floats


def space_from_dict(
    data: Any, own: Mapping[str, Value | None] | None = None, may_be_fixed: bool = False
) -> Space:
    """Make a space of entries as YAML or JSON reads them, or of Optuna's distributions.

    Args:
        own: Names beside the trainer's, the arguments of a user's network, and their defaults.
        may_be_fixed: Whether there may be nothing to search.

    Raises:
        SpaceError: With the path of the key that is wrong.
    """
    if not isinstance(data, dict) or not (data or may_be_fixed):
        raise SpaceError("a space maps hyperparameters to distributions; none is there")
    data = {
        name: entry_of(entry) if isinstance(entry, BaseDistribution) else entry
        for name, entry in data.items()
    }
    searched: dict[str, Hyperparameter] = {}
    constants: dict[str, Value] = {}
    known = _known(data, own)
    names = [*(own or {}), *(NAMES if own is None else OF_TRAINING)]
    for name in data:
        if name not in known:
            near = close_name(str(name), known, names)
            raise SpaceError(f"{shown_key(name)}: unknown hyperparameter{near}")
    for name, entry in data.items():
        if not isinstance(entry, dict):
            constants[name] = known_value(name, entry, name, known)
    families = _families(data) if own is None else []
    for name in data if own is None else ():
        others = families_of_name(name)
        if not set(others) & set(families):
            listed = " or ".join(others)
            raise SpaceError(
                f"{name}: is for model {listed}, this space is for model {families[0]}"
            )
    if len(families) > 1:
        data = {name: _of_its_family(name, entry, families) for name, entry in data.items()}
    waiting = {name: entry for name, entry in data.items() if isinstance(entry, dict)}
    while waiting:
        # Parents come before their children, whatever the order in the file.
        ready = [n for n, e in waiting.items() if not set(_parents(e)) & set(waiting)]
        if not ready:
            raise SpaceError(f"{next(iter(waiting))}.when: conditions go round in a circle")
        for name in ready:
            searched[name] = _hyperparameter(name, waiting.pop(name), searched, constants, known)
    if not searched and not may_be_fixed:
        raise SpaceError("nothing to search: every hyperparameter is a constant")
    order = [name for name in data if name in searched]
    ordered = order if _parents_first(order, searched) else list(searched)
    return Space({name: searched[name] for name in ordered}, constants, known)


def _known(
    data: Mapping[Any, Any], own: Mapping[str, Value | None] | None
) -> dict[str, HyperparameterSpec]:
    """Return the hyperparameters that a space may name."""
    if own is None:
        return KNOWN
    known = {name: KNOWN[name] for name in OF_TRAINING}
    for name, default in own.items():
        known[name] = known_of_entry(data.get(name), default)
    return known


def known_of_entry(entry: Any, default: Value | None = None) -> HyperparameterSpec:
    """Return the hyperparameter that a space's entry for an argument describes.

    Args:
        default: The argument's own.
    """
    kind = entry.get("type") if isinstance(entry, dict) else None
    if kind == "int":
        return HyperparameterSpec(int, default if type(default) is int else 0, -_LARGEST, _LARGEST)
    if kind == "float":
        return HyperparameterSpec(
            float, float(default) if isinstance(default, (int, float)) else 0.0
        )
    choices = entry.get("choices") if isinstance(entry, dict) else [entry]
    plain = [c for c in choices if isinstance(c, (bool, int, float, str))] if choices else []
    first = default if default is not None else (plain or [""])[0]
    return HyperparameterSpec(type(first), first, choices=tuple(plain))


def fix(space: Space, values: Mapping[str, Any]) -> Space:
    """Return the space with hyperparameters held at values.

    What exists only where a hyperparameter has another value than its own goes; what existed only
    where it has this one is there always.

    Raises:
        SpaceError: A name is unknown, a value cannot be used, or would never be; or nothing is left
            to search.
    """
    constants = dict(space.constants)
    for name, value in values.items():
        if name not in KNOWN:
            near = close_name(str(name), KNOWN, NAMES)
            raise SpaceError(f"fixed.{shown_key(name)}: unknown hyperparameter{near}")
        constants[name] = known_value(name, value, f"fixed.{name}")
    data: dict[str, Any] = dict(constants)
    gone: set[str] = set()
    for name, hyperparameter in space.searched.items():  # parents come before their children
        when: dict[str, list[Value]] = {}
        for parent, wanted in hyperparameter.when.items():
            if parent not in gone and parent not in constants:
                when[parent] = list(wanted)
            elif parent in gone or constants[parent] not in wanted:
                gone.add(name)
                if name in values:
                    listed = " or ".join(map(shown_value, wanted))
                    raise SpaceError(f"fixed.{name}: exists only where {parent} is {listed}")
        if name not in gone and name not in constants:
            entry = entry_of(hyperparameter.distribution)
            data[name] = {**entry, "when": when} if when else entry
    return space_from_dict(data)


def _families(data: Mapping[str, Any]) -> list[str]:
    """Return the families that ``model`` can be."""
    entry = data.get("model", KNOWN["model"].default)
    if not isinstance(entry, dict):
        return [str(entry)]
    hyperparameter = _hyperparameter("model", entry, {}, {}, KNOWN)
    assert isinstance(hyperparameter.distribution, CategoricalDistribution)
    return [str(choice) for choice in hyperparameter.distribution.choices]


def _of_its_family(name: str, entry: Any, families: Sequence[str]) -> Any:
    """Return an entry that exists only for the searched families that know it."""
    knowing = [family for family in families if family in families_of_name(name)]
    if len(knowing) == len(families) or not isinstance(entry, dict):
        return entry
    model = knowing[0] if len(knowing) == 1 else knowing
    when = entry.get("when", {})
    return {**entry, "when": {"model": model, **when}} if isinstance(when, dict) else entry


def read_space(path: Path) -> Space:
    """Read a space from a YAML file.

    Raises:
        SpaceError: The file cannot be read, is not YAML, or holds no valid space.
    """
    data = read_yaml(path)
    try:
        return space_from_dict(data)
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}") from None


def read_yaml(path: Path) -> Any:
    """Read a small YAML file.

    Raises:
        SpaceError: The file cannot be read, or is not YAML.
    """
    text = read_text(path, _MAX_BYTES)
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise SpaceError(f"{path}{where}: is not YAML: {_line(error.problem)}") from error
    except RecursionError:
        raise SpaceError(f"{path}: is nested too deeply") from None
    except Exception as error:  # PyYAML lets a ValueError or KeyError through, as of "!!int x"
        raise SpaceError(f"{path}: is not YAML: {_line(error)}") from error


def read_text(path: Path, max_bytes: int) -> str:
    """Read a small text file.

    Raises:
        SpaceError: It cannot be read, has more than ``max_bytes`` bytes, or is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SpaceError(f"{path}: cannot be read: {why}") from error
    if len(content) > max_bytes:
        raise SpaceError(f"{path}: is larger than {max_bytes:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpaceError(f"{path}: is not UTF-8 (byte {error.start})") from None


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses what PyYAML would let pass in silence.

    A key given twice, of which PyYAML keeps the last; and merge keys, of which a short file can
    make one that fills the memory.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            problem = None
            if key.tag == "tag:yaml.org,2002:merge":
                problem = "merge keys (<<) are not read here; write the keys out"
            elif isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {shown_key(key.value)} is there twice"
                seen.add(key.value)
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


def _line(text: object) -> str:
    return " ".join(str(text).split())[:200]


def _parents(entry: Mapping[str, Any]) -> list[str]:
    when = entry.get("when")
    return list(when) if isinstance(when, dict) else []


def _parents_first(order: list[str], searched: Mapping[str, Hyperparameter]) -> bool:
    return all(
        order.index(parent) < i
        for i, name in enumerate(order)
        for parent in searched[name].when
        if parent in searched
    )


def _hyperparameter(
    name: str,
    entry: dict[str, Any],
    searched: Mapping[str, Hyperparameter],
    constants: Mapping[str, Value],
    known: Mapping[str, HyperparameterSpec],
) -> Hyperparameter:
    kind = entry.get("type")
    allowed = {
        "int": ("type", "low", "high", "step", "log", "when"),
        "float": ("type", "low", "high", "step", "log", "when"),
        "categorical": ("type", "choices", "when"),
    }
    if not isinstance(kind, str) or kind not in allowed:
        near = close_name(str(kind), allowed) if isinstance(kind, str) else ""
        near = near or f"; there are {', '.join(allowed)}"
        raise SpaceError(f"{name}.type: {shown(kind)} is no type{near}")
    for key in entry:
        if key not in allowed[kind]:
            near = close_name(str(key), allowed[kind])
            raise SpaceError(f"{name}.{shown_key(key)}: unknown key{near}")
    distribution = (
        _choices(name, entry, known)
        if kind == "categorical"
        else _range(name, entry, kind == "int", known)
    )
    return Hyperparameter(distribution, _condition(name, entry, searched, constants, known))


def _range(
    name: str, entry: dict[str, Any], integer: bool, names: Mapping[str, HyperparameterSpec]
) -> BaseDistribution:
    known = names[name]
    if known.choices and known.type is int:
        listed = ", ".join(map(str, known.choices))
        raise SpaceError(f"{name}.type: {name} is one of {listed}; use categorical")
    if known.type not in (int, float) or (integer and known.type is float):
        raise SpaceError(f"{name}.type: {name} is a {known.type.__name__}, not {entry['type']}")
    if known.type is int and not integer:
        raise SpaceError(f"{name}.type: {name} is a whole number; use int")
    convert = read_integer if integer else read_number
    for key in ("low", "high"):
        if key not in entry:
            raise SpaceError(f"{name}.{key}: is missing")
    low = convert(entry["low"], f"{name}.low")
    high = convert(entry["high"], f"{name}.high")
    log = entry.get("log", False)
    if not isinstance(log, bool):
        raise SpaceError(f"{name}.log: {shown(log)} is not true or false")
    if low > high:
        raise SpaceError(f"{name}.low: {shown_value(low)} is above high, {shown_value(high)}")
    if log and low <= 0:
        raise SpaceError(
            f"{name}.low: {shown_value(low)} with log: true; a log range starts above 0"
        )
    for key, bound in (("low", low), ("high", high)):
        known_value(name, bound, f"{name}.{key}", names)
    step = None
    if "step" in entry:
        step = convert(entry["step"], f"{name}.step")
        if log:
            raise SpaceError(f"{name}.step: a log range has no step")
        if step <= 0:
            raise SpaceError(f"{name}.step: {shown_value(step)} is not above 0")
        if (high - low) / step > _MAX_STEPS:
            raise SpaceError(f"{name}.step: {shown_value(step)} is too small for the range")
    with warnings.catch_warnings():
        # Optuna moves an upper bound that no step meets down, and warns.
        warnings.simplefilter("ignore", UserWarning)
        if integer:
            return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
        return FloatDistribution(low, high, log=log, step=step)


def _choices(
    name: str, entry: dict[str, Any], known: Mapping[str, HyperparameterSpec]
) -> BaseDistribution:
    choices = entry.get("choices")
    if not isinstance(choices, list) or not choices:
        raise SpaceError(f"{name}.choices: needs a list of at least one value")
    values = [known_value(name, c, f"{name}.choices[{i}]", known) for i, c in enumerate(choices)]
    for i, value in enumerate(values):
        if value in values[:i]:
            raise SpaceError(f"{name}.choices[{i}]: {shown(value)} is there twice")
    return CategoricalDistribution(values)


def _condition(
    name: str,
    entry: dict[str, Any],
    searched: Mapping[str, Hyperparameter],
    constants: Mapping[str, Value],
    known: Mapping[str, HyperparameterSpec],
) -> dict[str, tuple[Value, ...]]:
    when = entry.get("when", {})
    if not isinstance(when, dict):
        raise SpaceError(f"{name}.when: maps hyperparameters to values, as in {{optimizer: sgd}}")
    condition: dict[str, tuple[Value, ...]] = {}
    for parent, wanted in when.items():
        path = f"{name}.when.{shown_key(parent)}"
        if parent not in searched and parent not in constants:
            near = close_name(str(parent), [*searched, *constants])
            raise SpaceError(f"{path}: is not in this space{near}")
        values = wanted if isinstance(wanted, list) else [wanted]
        if not values:
            raise SpaceError(f"{path}: needs at least one value")
        values = [known_value(parent, value, path, known) for value in values]
        for value in values:
            possible = (
                contains(searched[parent].distribution, value)
                if parent in searched
                else constants[parent] == value
            )
            if not possible:
                raise SpaceError(f"{path}: {parent} is never {shown_value(value)} in this space")
        condition[parent] = tuple(values)
    return condition
