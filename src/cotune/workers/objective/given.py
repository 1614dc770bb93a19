"""An objective as a user gives it: ``FILE.py:NAME``, or a function."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotune.exceptions import UsageError
from cotune.text import shown
from cotune.workers.objective.source import Source

ObjectiveLike = str | Path | Callable[[Any], Any]
"""``FILE.py:NAME``, or a function of an Optuna trial."""


@dataclass(frozen=True)
class GivenObjective:
    """A user's function on its way to the workers.

    Attributes:
        name: As people see it.
        source: Where workers get it from.
        sha256: Of its file; None of a function that was passed.
    """

    name: str
    source: Source
    sha256: str | None = None


def read_objective(objective: ObjectiveLike, arguments: tuple[str, ...] = ()) -> GivenObjective:
    """Return where workers get the objective from; none of the user's code runs here.

    Raises:
        UsageError: It is neither ``FILE.py:NAME`` nor a function, or cannot be sent.
    """
    if isinstance(objective, str | Path):
        file, _, name = str(objective).rpartition(":")
        if file.endswith(".ipynb"):
            raise UsageError(
                f"objective: {file} is a notebook; give the function from there, as "
                "cotune.optimize(objective), or save the notebook as a script"
            )
        if not file.endswith(".py") or not all(map(str.isidentifier, name.split("."))):
            raise UsageError(
                f"objective: {shown(str(objective))} is not FILE.py:NAME, as train.py:objective"
            )
        path = Path(file).absolute()
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
        return GivenObjective(str(objective), Source(str(path), name, arguments=arguments), digest)
    if not callable(objective):
        raise UsageError(f"objective: {shown(objective)} is not a function of a trial")
    if arguments:
        raise UsageError("arguments: are a script's; give the objective as FILE.py:NAME")
    import cloudpickle

    try:
        content = cloudpickle.dumps(objective)
    except Exception as error:  # whatever the objects that it refers to raise
        text = " ".join(str(error).split())[:200]
        raise UsageError(
            f"objective: cannot be sent to worker processes: {text}; make what it needs inside of "
            "it, or give FILE.py:NAME"
        ) from error
    return GivenObjective(
        getattr(objective, "__qualname__", type(objective).__name__), Source(content=content)
    )
