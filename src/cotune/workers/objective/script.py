"""A user's script: imported up to the line that runs its study, and its objective found."""

from __future__ import annotations

import functools
import os
import pickle
import sys
import tokenize
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.util import spec_from_file_location
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn

import optuna

from cotune.study.choices import plain
from cotune.study.remote_storage import plain_trial
from cotune.workers.objective.callables import Objective, as_objective, binds
from cotune.workers.objective.errors import LastLine, UnusableError
from cotune.workers.objective.names import ScriptNames
from cotune.workers.objective.own_study import OwnStudies, replaced
from cotune.workers.objective.source import Facts, Source

Serve = Callable[[Objective, Facts, optuna.Study | None], NoReturn]
"""Is given the objective, what is known, and the script's own study; it does not return."""


def load_objective(source: Source, serve: Serve) -> None:
    """Find the objective, and serve it.

    A script is served from within: from the very line that would run its study, as if that took for
    ever. So what the script holds open there, as a temporary folder, is open.

    Args:
        source: Of a script, or a function by cloudpickle.

    Raises:
        UnusableError: There is no objective that can be called with a trial.
        Exception: Of the script.
    """
    if source.path:
        _Import(source, serve).run()
        return
    function = pickle.loads(source.content)
    objective, remarks = as_objective(function, getattr(function, "__qualname__", "objective"))
    serve(objective, Facts(remarks=remarks), None)


class _Import:
    """One import of a script, which ends where the objective is served."""

    def __init__(self, source: Source, serve: Serve) -> None:
        self._source = source
        self._serve = serve
        self._path = Path(source.path)
        self._root = source.name.partition(".")[0]
        self._own = OwnStudies(self._reached)
        self._made: list[str] = []
        self._stack = ExitStack()
        self._direction: str | None = None
        self._module = ModuleType("")
        self.error_line = LastLine(sys.stderr)

    def run(self) -> None:
        with tokenize.open(self._path) as file:
            text = file.read()
        names = ScriptNames(text, str(self._path))
        self._direction = names.direction()
        self._module = self._make_module(names.is_run_as_main(self._root))
        sys.path.insert(0, str(self._path.parent))  # as Python does for a script
        sys.argv = [str(self._path), *self._source.arguments]
        self._own.install()
        self._stack.callback(self._own.remove)
        self._stack.enter_context(_directories(self._source.made, self._made))
        self._stack.enter_context(replaced(sys, "stderr", self.error_line))
        # The script may be one that runs Cotune by itself.
        self._stack.enter_context(replaced(sys.modules["cotune"], "optimize", self._ran_cotune))
        with self._stack:
            try:
                exec(compile(text, self._path, "exec", dont_inherit=True), vars(self._module))
            except SystemExit as error:
                if self._root not in vars(self._module) or error.code not in (None, 0):
                    raise UnusableError(self._how_it_exits(error)) from error
        if self._root not in vars(self._module):
            raise UnusableError(self._none(names))
        self._found(vars(self._module)[self._root], self._own.only(), None)

    def _make_module(self, is_main: bool) -> ModuleType:
        stem = self._path.stem
        name = stem if stem not in sys.modules else f"_{stem}"
        module = ModuleType("__main__" if is_main else name)
        module.__file__ = str(self._path)
        if not is_main:
            module.__spec__ = spec_from_file_location(name, self._path)
        sys.modules[module.__name__] = module
        return module

    def _reached(self, study: optuna.Study | None, function: Any) -> None:
        source = self._source
        frames = [f for f in _callers(sys._getframe(1)) if f.f_code.co_filename == source.path]
        for scope in [*(frame.f_locals for frame in frames), vars(self._module)]:
            if self._root in scope:
                self._found(scope[self._root], study, function)
        if function is not None and getattr(function, "__name__", "") == source.name:
            self._found(function, study, function)
        self._stack.close()
        raise UnusableError(
            f"runs a study in line {frames[0].f_lineno if frames else 1} before it defines "
            f"{self._root}; define it above that line"
        )

    def _ran_cotune(self, *_: Any, direction: str | None = None, **__: Any) -> None:
        self._direction = direction or "minimize"
        self._reached(None, None)

    def _found(self, found: Any, study: optuna.Study | None, function: Any) -> NoReturn:
        """Serve what was found, or the function that the script's study runs and that calls it."""
        facts = self._facts_of(study)
        self._stack.close()
        for part in self._source.name.split(".")[1:]:
            try:
                found = getattr(found, part)
            except AttributeError as error:
                raise UnusableError(f"{self._source.name}: {error}") from error
        try:
            objective, remarks = as_objective(found, self._source.name)
        except UnusableError:
            if not binds(function, found, self._source.name):
                raise
            objective, _ = as_objective(function, self._source.name)
            remarks = (f"the objective is {self._source.name} as the script's own study calls it",)
        if self._module.__name__ == "__main__":
            remarks += ("the script runs as main, up to its study: the objective needs that part",)
        facts = replace(facts, made=tuple(self._made), remarks=(*remarks, *facts.remarks))
        self._serve(objective, facts, study)

    def _facts_of(self, study: optuna.Study | None) -> Facts:
        """Return what is known of the script's own study; while its database is still there."""
        if study is None:
            return Facts(direction=self._direction)
        directions = study.directions
        trials = [plain_trial(trial) for trial in self._own.enqueued(study)]
        waiting = [(t.system_attrs["fixed_params"], t.user_attrs) for t in trials]
        return Facts(
            direction=directions[0].name.lower() if self._own.knows(study) else None,
            is_on_server=not self._own.knows(study),
            n_objectives=len(directions),
            enqueued=tuple(waiting),
            user_attrs=plain(study.user_attrs),
            remarks=(self._own.remark(study),),
        )

    def _none(self, names: ScriptNames) -> str:
        if names.is_local(self._root):
            return (
                f"makes {self._root} only inside a function that is not called when the script is "
                "imported; define it at the top level"
            )
        own = [
            name
            for name, value in vars(self._module).items()
            if callable(value)
            and not isinstance(value, type)
            and not name.startswith("_")
            and getattr(value, "__module__", "") in (self._module.__name__, "functools")
        ]
        return f"has no function {self._source.name}; it has {', '.join(own[:10]) or 'none'}"

    def _how_it_exits(self, error: SystemExit) -> str:
        if isinstance(error.code, str):
            return f"ends itself: {' '.join(error.code.split())}"
        said = self.error_line.text.removeprefix(f"{self._path.name}: error: ")
        said = f"ends itself with exit code {error.code or 0}" + (f": {said}" if said else "")
        if error.code != 2:
            return said
        # As scripts do that read their arguments.
        return f"{said}; give the script's own arguments after --, as in: -- --data PATH"


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


@contextmanager
def _directories(known: tuple[str, ...], made: list[str]) -> Iterator[None]:
    """Note the directories that are made; those of an earlier import may be there already."""
    mkdir = os.mkdir

    @functools.wraps(mkdir)
    def make(path: Any, *places: Any, **named: Any) -> None:
        where = os.path.abspath(os.fsdecode(path))
        try:
            mkdir(path, *places, **named)
        except FileExistsError:
            if where not in known:
                raise
        made.append(where)

    with replaced(os, "mkdir", make):
        yield
