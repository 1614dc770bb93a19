"""Choices of ``suggest_categorical`` as a study's journal can hold them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_LENGTH = 200  # characters of a name
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Choices:
    """Choices of the parameters that a worker has met, and their names in the study."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def names(self, parameter: str, choices: Sequence[Any]) -> list[Any]:
        """Return what the study calls the choices, in their order."""
        names = choice_names(choices)
        # repr() tells 1, 1.0 and True apart, which are equal.
        self._known[parameter] = {
            repr(name): choice for name, choice in zip(names, choices, strict=True)
        }
        return names

    def choice(self, parameter: str, name: Any) -> Any:
        """Return the choice of that name; the name itself where the parameter is not known."""
        return self._known.get(parameter, {}).get(repr(name), name)

    def restore(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters as the objective knows them."""
        return {parameter: self.choice(parameter, name) for parameter, name in params.items()}


def choice_names(choices: Sequence[Any]) -> list[Any]:
    """Return a name for each choice; objects that share a name are numbered by their order."""
    names = [choice_name(choice) for choice in choices]
    counts: Counter[str] = Counter(str(name) for name in names if isinstance(name, str))
    seen: Counter[str] = Counter()
    for place, choice in enumerate(choices):
        name = names[place]
        if isinstance(choice, str) or not isinstance(name, str) or counts[name] == 1:
            continue
        seen[name] += 1
        is_first = seen[name] == 1 and not any(c == name for c in choices if isinstance(c, str))
        if not is_first:
            names[place] = f"{name} ({seen[name]})"
    return names


def choice_name(choice: Any) -> Any:
    """Return a choice as the journal has it.

    Plain values are themselves; functions and classes have their names, other objects what they
    print, without their address in memory.
    """
    if hasattr(choice, "tolist") and not isinstance(choice, type):  # NumPy, PyTorch
        choice = choice.tolist()
    if choice is None or isinstance(choice, bool | int | float | str):
        return json.loads(json.dumps(choice))  # also of an enumeration's member, as its value
    if isinstance(name := getattr(choice, "__qualname__", None), str):
        return name
    return _ADDRESS.sub("", repr(choice))[:_LENGTH]


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: numbers and arrays as lists, other objects as text."""
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else repr(value)
