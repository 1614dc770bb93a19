"""A user's function or class by ``FILE.py:NAME``, and where their code failed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any, Final

from cotune import version
from cotune.exceptions import UsageError

_SHOWN: Final = 200  # characters of another's error


def load_reference(reference: str, option: str) -> tuple[Any, str]:
    """Import what ``FILE.py:NAME`` or ``MODULE:NAME`` names; a file is run once.

    Args:
        option: The option that it was given for, which errors begin with.

    Returns:
        The object, and the reference with the file's absolute path.

    Raises:
        UsageError: Nothing is there, or the file ends in an error (with its line).
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise UsageError(f"{option}: {reference!r} is not FILE.py:NAME")
    is_file = place.endswith(".py")
    if is_file and not Path(place).is_file():
        raise UsageError(f"{option}: {Path(place).resolve()}: there is no such file")
    try:
        module = _import_file(Path(place).resolve()) if is_file else _import_module(place)
    except (KeyboardInterrupt, UsageError):
        raise
    except BaseException as error:
        raise UsageError(f"{option}: {locate_error(error, place)}") from error
    if not hasattr(module, name):
        raise UsageError(f"{option}: {place} has no {name}")
    return getattr(module, name), f"{Path(place).resolve() if is_file else place}:{name}"


def locate_error(error: BaseException, near: str = "") -> str:
    """Return a user's error as one line: their file, its line, and the message.

    Args:
        near: Stands for the file where no frame is the user's.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(version.__file__).parent)
    theirs = [frame for frame in frames if not frame.filename.startswith((ours, "<frozen"))]
    where = f"{near}: " if near else ""
    if theirs:
        where = f"{theirs[-1].filename}:{theirs[-1].lineno}: "
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}: "
    return where + one_line(error)


def one_line(error: BaseException) -> str:
    """Return the type and message of an error, cut short."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_SHOWN]


def _import_module(name: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` has it
    return importlib.import_module(name)


def _import_file(path: Path) -> Any:
    # Another name once the file has changed, as in a notebook.
    name = f"_cotune_{path.stem}_{abs(hash((str(path), path.stat().st_mtime_ns))):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # modules beside the file can be imported
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
