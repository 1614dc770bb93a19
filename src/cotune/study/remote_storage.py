"""The run's study, as an objective in another process sees it."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Final, NoReturn

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from cotune.study.choices import Choices, choice_name, plain
from cotune.study.journal import STUDY_NAME

READS: Final = (
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "get_trial",
    "get_all_trials",
    "get_best_trial",
    "get_trial_id_from_study_id_trial_number",
)
WRITES: Final = (
    "set_study_user_attr",
    "set_study_system_attr",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "create_new_trial",
)
"""Methods of the run's storage that an objective may call, through :class:`RemoteStorage`."""

Ask = Callable[..., Any]
"""``ask(name, *arguments, **named)``: what the driver answers to that call."""


def _forwarded(name: str) -> Any:
    """Return a method of Optuna's storage that the driver answers."""

    def method(storage: RemoteStorage, *arguments: Any, **named: Any) -> Any:
        return storage._ask(f"storage.{name}", *arguments, **named)

    return method


def _refused(what: str) -> Any:
    """Return a method that an objective may not call."""

    def method(*_: Any, **__: Any) -> NoReturn:
        _refuse(what)

    return method


class RemoteStorage(BaseStorage):
    """The run's storage, at the other end of a pipe.

    An objective may read everything, set attributes and enqueue trials. It cannot make studies, nor
    begin or end trials: that is the run's part.

    Args:
        ask: Asks the driver.
        choices: Those that this process has met: parameters of trials are given as they are.
    """

    def __init__(self, ask: Ask, choices: Choices) -> None:
        self._ask = ask
        self._choices = choices

    get_study_id_from_name = _forwarded("get_study_id_from_name")
    get_study_name_from_id = _forwarded("get_study_name_from_id")
    get_study_directions = _forwarded("get_study_directions")
    get_study_user_attrs = _forwarded("get_study_user_attrs")
    get_study_system_attrs = _forwarded("get_study_system_attrs")
    get_all_studies = _forwarded("get_all_studies")
    get_trial_id_from_study_id_trial_number = _forwarded("get_trial_id_from_study_id_trial_number")

    create_new_study = _refused("make another study in")
    delete_study = _refused("delete")
    set_trial_param = _refused("set a parameter in")
    set_trial_state_values = _refused("end a trial in")
    set_trial_intermediate_value = _refused("report for another trial in")

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._restored(self._ask("storage.get_trial", trial_id))

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return self._restored(self._ask("storage.get_best_trial", study_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._ask("storage.get_all_trials", study_id, deepcopy, states)
        return [self._restored(trial) for trial in trials]

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._ask("storage.set_study_user_attr", study_id, key, plain(value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._ask("storage.set_study_system_attr", study_id, key, plain(value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._ask("storage.set_trial_user_attr", trial_id, key, plain(value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._ask("storage.set_trial_system_attr", trial_id, key, plain(value))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Enqueue a trial.

        Raises:
            RuntimeError: It is not one that waits to be run.
        """
        if template_trial is None or template_trial.state != TrialState.WAITING:
            _refuse("add trials that have ended to")
        return int(self._ask("storage.create_new_trial", study_id, plain_trial(template_trial)))

    def _restored(self, trial: FrozenTrial) -> FrozenTrial:
        """Return it with the choices in place of their names."""
        trial._params = self._choices.restore(trial._params)
        return trial


class RemoteStudy(optuna.Study):
    """The run's study in a worker process.

    Args:
        ask: Asks the driver.
        storage: The run's.
    """

    def __init__(self, ask: Ask, storage: RemoteStorage) -> None:
        super().__init__(STUDY_NAME, storage)
        self._ask = ask

    def stop(self) -> None:
        """End the run once the trials that run now have ended."""
        self._ask("study.stop")

    def optimize(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("Nested invocation of `Study.optimize` method isn't allowed.")

    ask = _refused("ask for trials of")
    tell = _refused("end trials of")


def plain_trial(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial that waits to be run, as the journal can hold it."""
    params = trial.system_attrs.get("fixed_params", {})
    return waiting_trial(
        {name: plain(choice_name(value)) for name, value in params.items()},
        plain(trial.user_attrs),
    )


def waiting_trial(params: dict[str, Any], user_attrs: dict[str, Any]) -> FrozenTrial:
    """Return a trial that waits to be run with these parameters."""
    return optuna.trial.create_trial(
        state=TrialState.WAITING,
        system_attrs={"fixed_params": params},
        user_attrs=user_attrs,
    )


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(f"an objective cannot {what} the study that runs it")
