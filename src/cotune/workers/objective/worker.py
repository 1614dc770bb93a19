"""What a worker process of an objective runs: the user's function, at the end of a pipe.

``python -m cotune.workers.objective.worker PIPE_FD``; started by ``ObjectiveProcesses``
only. The function is given a trial with Optuna's interface. Each call that needs the study goes to
the driver, the one writer of the study, and waits for its answer.

The process that has loaded the objective is not called itself where forks of it are safe: each
worker is one, so a script is imported once, and a worker that is killed is replaced at once.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.context import ForkProcess
from typing import Any, NoReturn

import numpy as np
import optuna

from cotune.study.remote_trial import RemoteStudies, RemoteTrial
from cotune.workers.objective.callables import Objective
from cotune.workers.objective.errors import UnusableError, describe, file_of
from cotune.workers.objective.fork import flush_files, own_positions, why_no_forks
from cotune.workers.objective.pipe import Pipe
from cotune.workers.objective.script import load_objective
from cotune.workers.objective.source import SEVERAL_VALUES, Facts

_BURY_SECONDS = 0.1  # between two looks for workers that have ended


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, and PyTorch where the objective has imported it."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what an objective draws from by default
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)


class _Loader:
    """The process that loads the objective: a worker itself, or what workers are forks of."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def load(self) -> None:
        """Load the objective and serve it; returns only where that fails, and has said why."""
        source = self._pipe.receive()
        with self._pipe.signs_of_life():
            try:
                load_objective(source, self._serve)
            except (Exception, SystemExit, UnusableError) as error:
                traceback.print_exc()
                self._pipe.send("unusable", describe(error, source.path))

    def _serve(self, objective: Objective, facts: Facts, study: optuna.Study | None) -> NoReturn:
        self._pipe.stop_signs()
        facts = replace(facts, no_forks=why_no_forks())
        self._pipe.send("ready", facts)
        if facts.no_forks:
            with self._pipe.signs_of_life():
                _Worker(self._pipe, objective, study).serve()
        self._fork_workers(objective, study)

    def _fork_workers(self, objective: Objective, study: optuna.Study | None) -> NoReturn:
        context = multiprocessing.get_context("fork")
        workers: list[ForkProcess] = []
        while True:
            if self._pipe.has_come(_BURY_SECONDS):
                handle = self._pipe.receive_handle()
                flush_files()
                worker = context.Process(target=self._begin, args=(handle, objective, study))
                worker.start()
                os.close(handle)
                workers.append(worker)
            for worker in [one for one in workers if not one.is_alive()]:
                workers.remove(worker)
                self._pipe.send("exited", (worker.pid, worker.exitcode))

    def _begin(self, handle: int, objective: Objective, study: optuna.Study | None) -> NoReturn:
        """Be a worker, in a fork."""
        os.setsid()
        self._pipe.close()
        own_positions()
        pipe = Pipe(handle)
        with pipe.signs_of_life():
            pipe.send("ready", os.getpid())
            _Worker(pipe, objective, study).serve()


class _Worker:
    """Calls the objective for one trial after another.

    Args:
        study: The script's own study, which becomes the run's; None where there is none.
    """

    def __init__(self, pipe: Pipe, objective: Objective, study: optuna.Study | None) -> None:
        self._pipe = pipe
        self._objective = objective
        self._study = study
        self._asking = threading.Lock()  # an objective may have threads
        self._remote = RemoteStudies(self._ask)

    def serve(self) -> NoReturn:
        while True:
            number, seed = self._pipe.receive()
            self._pipe.send("ended", self._run(number, seed))

    def _run(self, number: int, seed: int) -> tuple[str, float | None, str]:
        """Return state, value and reason."""
        seed_everything(seed)
        self._adopt()
        try:
            value = self._objective(RemoteTrial(number, self._remote))
        except optuna.TrialPruned:
            return "pruned", None, "pruned"
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            return "failed", None, describe(error, file_of(self._objective))
        return read_returned(value)

    def _adopt(self) -> None:
        """Make the script's own study the run's, as an objective may know it by its name."""
        if self._study is not None:
            self._study.__class__ = type(self._remote.study)
            self._study.__dict__ = self._remote.study.__dict__
            self._study = None

    def _ask(self, name: str, *arguments: Any, **named: Any) -> Any:
        with self._asking:
            self._pipe.send("asked", (name, arguments, named))
            answer, error = self._pipe.receive()
        if error is not None:
            raise error
        return answer


def read_returned(returned: Any) -> tuple[str, float | None, str]:
    """Return the state of a trial, its value and a reason, as Optuna judges what was returned."""
    if isinstance(returned, Sequence) and not isinstance(returned, str):
        if len(returned) > 1:
            return "failed", None, f"it returned {len(returned)} values; {SEVERAL_VALUES}"
        returned = returned[0] if returned else returned
    try:
        if isinstance(returned, str):
            raise ValueError
        value = float(returned)
    except (TypeError, ValueError, RuntimeError):  # the last, of a tensor of several numbers
        return "failed", None, f"it returned {repr(returned)[:60]}, which is no number"
    if np.isnan(value):
        return "failed", None, "it returned nan"
    return "complete", value, ""


def main(pipe_fd: int) -> None:
    """Serve the driver until its end of the pipe closes."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _Loader(Pipe(pipe_fd)).load()


if __name__ == "__main__":
    main(int(sys.argv[1]))
