"""The trial that an objective is given in another process than the study's."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from cotune.study.choices import Choices, plain
from cotune.study.remote_storage import Ask, RemoteStorage, RemoteStudy


class RemoteStudies:
    """The run's study in a worker process, made when the objective first looks at it.

    Args:
        ask: Asks the driver.
    """

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.choices = Choices()
        self.storage = RemoteStorage(ask, self.choices)
        self._study: RemoteStudy | None = None

    @property
    def study(self) -> RemoteStudy:
        """The study, which is the same for all trials of this process."""
        if self._study is None:
            self._study = RemoteStudy(self.ask, self.storage)
        return self._study


def _asked(name: str) -> Any:
    """Return a property of Optuna's trial that the driver answers."""
    return property(lambda trial: trial._ask(name))


class RemoteTrial(optuna.Trial):
    """A trial whose study is in another process.

    Args:
        number: The trial's.
        remote: The study, and how to ask it.
    """

    def __init__(self, number: int, remote: RemoteStudies) -> None:
        # Not Optuna's, which would sample: the driver's trial has.
        self._number = number
        self._remote = remote
        self._ask = remote.ask
        self._choices = remote.choices
        self.relative_search_space = None

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        low, high, step = _number(low), _number(high), _number(step)
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
        low, high, step = _number(low), _number(high), _number(step)
        return int(self._ask("suggest_int", name, low, high, step=step, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices; objects are in the study by their names."""
        names = self._choices.names(name, tuple(choices))
        return self._choices.choice(name, self._ask("suggest_categorical", name, names))

    def report(self, value: float, step: int) -> None:
        with contextlib.suppress(TypeError, ValueError):  # the driver's trial says what is wrong
            value, step = float(value), int(step)
        self._ask("report", value, step)

    def should_prune(self) -> bool:
        return bool(self._ask("should_prune"))

    def set_user_attr(self, key: str, value: Any) -> None:
        self._ask("set_user_attr", key, plain(value))

    def set_system_attr(self, key: str, value: Any) -> None:
        """Set an attribute that is not for users, as scripts for Optuna before 5 do."""
        self.storage.set_trial_system_attr(self._trial_id, key, value)

    def set_constraint(self, key: str, value: float) -> None:
        self._ask("set_constraint", key, float(value))

    @property
    def params(self) -> dict[str, Any]:
        return self._choices.restore(self._ask("params"))

    relative_params = _asked("relative_params")
    distributions = _asked("distributions")
    user_attrs = _asked("user_attrs")
    constraints = _asked("constraints")
    datetime_start = _asked("datetime_start")

    @property
    def number(self) -> int:
        return self._number

    @property
    def study(self) -> RemoteStudy:  # type: ignore[override]
        """The run's study."""
        return self._remote.study

    @property
    def storage(self) -> RemoteStorage:  # type: ignore[override]
        """The run's storage."""
        return self._remote.storage

    @property
    def _trial_id(self) -> int:  # type: ignore[override]
        return int(self._ask("trial_id"))

    @property
    def _cached_frozen_trial(self) -> FrozenTrial:  # type: ignore[override]
        return self.storage.get_trial(self._trial_id)


def _number(value: Any) -> Any:
    """Return a bound without PyTorch, which the driver need not import."""
    return value.tolist() if hasattr(value, "tolist") else value
