"""A trial whose hyperparameters are decided, for functions that ask for them as in Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cotune.exceptions import UsageError
from cotune.records import Value


class DecidedTrial:
    """A trial that answers ``suggest_*`` with known values.

    Args:
        params: By name.
    """

    number = 0

    def __init__(self, params: Mapping[str, Value]) -> None:
        self.params = dict(params)

    def suggest_float(self, name: str, low: float, high: float, **_: Any) -> float:
        return float(self._value(name))

    def suggest_int(self, name: str, low: int, high: int, **_: Any) -> int:
        return int(self._value(name))

    def suggest_categorical(self, name: str, choices: Any) -> Value:
        return self._value(name)

    suggest_uniform = suggest_loguniform = suggest_float

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        return float(self._value(name))

    def set_user_attr(self, key: str, value: Any) -> None:
        """Do nothing: the attribute was set when the study asked the function."""

    def _value(self, name: str) -> Value:
        if name not in self.params:
            raise UsageError(
                f"model: asks for {name}, which it did not ask for when the trial began; "
                "what it asks for may depend on hyperparameters alone"
            )
        return self.params[name]
