"""What a worker process of an objective runs: the user's function, at the end of a pipe.

``python -m cotune.objective_worker PIPE_FD``; started by ``ObjectiveProcesses`` only. The function
is given a trial with Optuna's interface. Each call that needs the study goes to the driver, the one
writer of the study, and waits for its answer.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NoReturn

import numpy as np
import optuna
from optuna.trial import BaseTrial

from cotune.objective_trial import RemoteTrial

_SIGN_OF_LIFE_SECONDS = 1.0
_SHOWN = 300  # characters of an error


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
