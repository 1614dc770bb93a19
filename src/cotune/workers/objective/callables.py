"""What of a script can be called with a trial."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from cotune.workers.objective.errors import UnusableError

Objective = Callable[[Any], Any]
"""A function of a trial, which returns a number."""


def as_objective(found: Any, name: str) -> tuple[Objective, tuple[str, ...]]:
    """Return what is called with a trial, and remarks.

    Args:
        found: A function, another callable object, or a class that is made without arguments.

    Raises:
        UnusableError: It cannot be called with a trial alone.
    """
    remarks: tuple[str, ...] = ()
    if isinstance(found, type):
        if not any("__call__" in vars(kind) for kind in found.__mro__[:-1]):
            raise UnusableError(f"{name} is a class without __call__; name a function of a trial")
        if not _takes(found):
            raise UnusableError(
                f"{name} is a class that is made with {_signature(found)}; make an instance in the "
                f"script, as objective = {name}(...), and name that"
            )
        remarks = (f"{name} is a class: the objective is an instance, {name}()",)
        found = found()
    if not callable(found):
        kind = type(found).__name__
        raise UnusableError(f"{name} is no function of a trial: it is of type {kind}")
    if not _takes(found, None):
        raise UnusableError(
            f"{name}{_signature(found)} cannot be called with a trial alone; bind the other "
            f"arguments, as objective = functools.partial({name}, ...), and name that"
        )
    return found, remarks


def binds(function: Any, found: Any, name: str) -> bool:
    """Return whether a function is what was found, with the arguments that it needs."""
    if isinstance(found, type):
        return isinstance(function, found)
    code = getattr(function, "__code__", None)
    calls = code is not None and name in code.co_names + code.co_freevars
    return calls or getattr(function, "func", None) is found


def _takes(function: Any, *arguments: Any) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # it tells no signature
        return True
    return True


def _signature(function: Any) -> str:
    return f"({', '.join(inspect.signature(function).parameters)})"
