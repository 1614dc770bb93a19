"""What a worker process of an objective runs: the user's function, at the end of a pipe.

``python -m cotune.objective_worker PIPE_FD``; started by ``ObjectiveProcesses`` only. The function
is given a trial with Optuna's interface. Each call that needs the study goes to the driver, the one
writer of the study, and waits for its answer.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import json
import os
import pickle
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NoReturn

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

_SIGN_OF_LIFE_SECONDS = 1.0
_SHOWN = 300  # characters of an error
_STUDY = ("best_params", "best_trial", "best_value", "direction", "directions", "study_name")
_STUDY_TOO = ("trials", "user_attrs")

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
        if name not in (*_STUDY, *_STUDY_TOO):
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


class _StudyReachedError(BaseException):
    """A script that is imported has come to the line that runs its study."""


def load_objective(source: tuple[str, Any]) -> Callable[[BaseTrial], Any]:
    """The user's function.

    A script need not guard the line that runs its study: what comes before it is run.

    Args:
        source: ``("file", (path, name))`` or ``("pickle", bytes)``, of cloudpickle.
    """
    kind, content = source
    if kind == "pickle":
        sent: Callable[[BaseTrial], Any] = pickle.loads(content)
        return sent
    path, name = content
    module = _import_file(Path(path))
    function: Any = getattr(module, name, None)
    if not callable(function):
        names = [n for n, v in vars(module).items() if isinstance(v, FunctionType) and n[0] != "_"]
        raise LookupError(f"has no function {name}; it has {', '.join(names[:10]) or 'none'}")
    found: Callable[[BaseTrial], Any] = function
    return found


def _import_file(path: Path) -> ModuleType:
    sys.path.insert(0, str(path.parent))  # as Python does for a script
    sys.argv = [str(path)]
    name = path.stem if path.stem not in sys.modules else f"_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module

    def reached(*_: Any, **__: Any) -> None:
        raise _StudyReachedError

    optimize = optuna.Study.optimize
    optuna.Study.optimize = reached  # type: ignore[method-assign]
    try:
        spec.loader.exec_module(module)
    except _StudyReachedError:
        pass
    finally:
        optuna.Study.optimize = optimize  # type: ignore[method-assign]
    return module


def describe(error: BaseException, file: str) -> str:
    """``ValueError: no such loss (train.py, line 12)``: the last line of the user's own file.

    Args:
        file: The path of that file as Python has it; "" where it is not known.
    """
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(": ")[:_SHOWN]
    if isinstance(error, SyntaxError):
        return text  # it says where
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file]
    others = [frame for frame in frames if frame.filename != __file__]
    if not own and not others:
        return text
    frame = (own or others)[-1]
    return f"{text} ({Path(frame.filename).name}, line {frame.lineno})"


def _file_of(objective: Any) -> str:
    """Where a function, a partial of one or a callable object is written; "" if nowhere."""
    function = getattr(objective, "func", objective)
    if not hasattr(function, "__code__"):
        function = type(function).__call__
    return getattr(getattr(function, "__code__", None), "co_filename", "")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, and PyTorch where the objective has imported it."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what an objective draws from by default
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)


class _Worker:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()  # the sign of life is sent from a thread of its own

    def serve(self) -> None:
        threading.Thread(target=self._live, daemon=True).start()
        source = self._receive()
        try:
            objective = load_objective(source)
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            file = str(source[1][0]) if source[0] == "file" else ""
            self._send("unusable", describe(error, file))
            return
        self._send("ready", None)
        while True:
            number, seed = self._receive()
            self._send("ended", self._run(objective, number, seed))

    def _run(
        self, objective: Callable[[BaseTrial], Any], number: int, seed: int
    ) -> tuple[str, float | None, str]:
        """State, value and reason."""
        seed_everything(seed)
        try:
            value = objective(RemoteTrial(number, self._ask))
        except optuna.TrialPruned:
            return "pruned", None, "pruned"
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            return "failed", None, describe(error, _file_of(objective))
        try:
            number_returned = float(value)
        except (TypeError, ValueError):
            return "failed", None, f"it returned {repr(value)[:60]}, which is no number"
        if np.isnan(number_returned):
            return "failed", None, "it returned nan"
        return "complete", number_returned, ""

    def _ask(self, name: str, *arguments: Any, **named: Any) -> Any:
        self._send("asked", (name, arguments, named))
        answer, error = self._receive()
        if error is not None:
            raise error
        return answer

    def _send(self, kind: str, content: Any) -> None:
        with self._lock:
            try:
                self._pipe.send((kind, content))
            except OSError:
                _end()

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            _end()

    def _live(self) -> None:
        while True:
            time.sleep(_SIGN_OF_LIFE_SECONDS)
            self._send("alive", None)


def _end() -> NoReturn:
    """End this process at once, whatever the objective is at, and those that it has started."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise SystemExit


def main(pipe_fd: int) -> None:
    """Serve the driver until its end of the pipe closes."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _Worker(Connection(pipe_fd)).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
