"""The trial that an objective is given in another process than the study's."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

OF_STUDY: Final = (
    "best_params",
    "best_trial",
    "best_value",
    "direction",
    "directions",
    "study_name",
    "trials",
    "user_attrs",
)
"""What an objective may read of its trial's study, beside ``get_trials()``."""

Ask = Callable[..., Any]
"""``ask(name, *arguments, **named)``: what the trial in the driver answers to that call."""


class RemoteTrial(BaseTrial):
    """A trial of Optuna's interface whose study is in another process.

    Args:
        number: The trial's.
        ask: Asks the driver.
    """

    def __init__(self, number: int, ask: Ask) -> None:
        self._number = number
        self._ask = ask
        self._choices: dict[str, dict[Any, Any]] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._ask("suggest_float", name, low, high, step=step, log=log))

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        return self.suggest_float(name, low, high, step=q)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return int(self._ask("suggest_int", name, low, high, step=step, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices; those that a journal cannot hold are in the study by their names."""
        named = {choice_name(choice): choice for choice in choices}
        if len(named) < len(choices):  # 1, 1.0 and True are equal: they are for Optuna to judge
            return self._ask("suggest_categorical", name, list(choices))
        self._choices[name] = named
        return named[self._ask("suggest_categorical", name, list(named))]

    def report(self, value: float, step: int) -> None:
        with contextlib.suppress(TypeError, ValueError):  # the driver's trial says what is wrong
            value, step = float(value), int(step)
        self._ask("report", value, step)

    def should_prune(self) -> bool:
        return bool(self._ask("should_prune"))

    def set_user_attr(self, key: str, value: Any) -> None:
        self._ask("set_user_attr", key, json.loads(json.dumps(value, default=_plain)))

    def set_constraint(self, key: str, value: float) -> None:
        self._ask("set_constraint", key, float(value))

    @property
    def params(self) -> dict[str, Any]:
        return self._with_choices(self._ask("params"))

    @property
    def relative_params(self) -> dict[str, Any]:
        """What the sampler drew together; {} where the parameters are given."""
        return dict(self._ask("relative_params"))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return dict(self._ask("distributions"))

    @property
    def user_attrs(self) -> dict[str, Any]:
        return dict(self._ask("user_attrs"))

    @property
    def constraints(self) -> dict[str, float]:
        return dict(self._ask("constraints"))

    @property
    def datetime_start(self) -> datetime.datetime | None:
        started: datetime.datetime | None = self._ask("datetime_start")
        return started

    @property
    def number(self) -> int:
        return self._number

    @property
    def study(self) -> RemoteStudy:
        """The study, to read from."""
        return RemoteStudy(self._ask)

    def _with_choices(self, params: dict[str, Any]) -> dict[str, Any]:
        return {name: self._choices.get(name, {}).get(v, v) for name, v in params.items()}


class RemoteStudy:
    """What an objective may read of the study that its trial is of."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        if name not in OF_STUDY:
            raise AttributeError(f"an objective on worker processes has no study.{name}")
        return self._ask(f"study.{name}")

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> Any:
        """As Optuna's."""
        return self._ask("study.get_trials", deepcopy, states)


def choice_name(choice: Any) -> Any:
    """A choice as the journal has it: itself where it is plain, else its name, or how it prints.

    Raises:
        TypeError: It prints as its address, which tells nothing in another process.
    """
    if hasattr(choice, "tolist"):  # a number of NumPy's
        choice = choice.tolist()
    if choice is None or isinstance(choice, bool | int | float | str):
        return choice
    if hasattr(choice, "__qualname__"):
        return choice.__qualname__
    name = repr(choice)
    if " at 0x" in name:
        raise TypeError(
            f"suggest_categorical: a choice of type {type(choice).__name__} has no name that a "
            "study could keep; suggest a name, and look the object up by it"
        )
    return name


def _plain(value: Any) -> Any:
    """What JSON has no word for: numbers and arrays of NumPy and PyTorch, and other objects."""
    return value.tolist() if hasattr(value, "tolist") else repr(value)
