"""Errors of an objective and of its script, told in one line."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

_SHOWN = 300  # characters of an error


class UnusableError(BaseException):
    """There is no objective to call; the message says what the script should do.

    It passes through the script, whose own ``except Exception`` is not to catch it.
    """


class LastLine:
    """A stream in front of another, which remembers the last line that was written.

    Args:
        stream: Everything goes there.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._text = ""

    @property
    def text(self) -> str:
        """The last line that is not empty."""
        return next((line for line in reversed(self._text.splitlines()) if line.strip()), "")

    def write(self, text: str) -> int:
        self._text = (self._text + text)[-4096:]
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def describe(error: BaseException, file: str) -> str:
    """Return ``ValueError: no such loss (train.py, line 12)``: the last line of the user's file.

    Args:
        error: Raised by the objective or its script.
        file: The path of that file as Python has it; "" where it is not known.
    """
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(": ")[:_SHOWN]
    if isinstance(error, UnusableError):
        return " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        return text + _notebook_advice(error)  # it says where
    if isinstance(error, NameError) and error.name == "get_ipython":
        text += ", which only notebooks have; delete that line"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file]
    others = [frame for frame in frames if not frame.filename.startswith(_HERE)]
    if not own and not others:
        return text
    frame = (own or others)[-1]
    return f"{text} ({Path(frame.filename).name}, line {frame.lineno})"


_HERE = str(Path(__file__).with_name("objective_"))


def _notebook_advice(error: SyntaxError) -> str:
    line = (error.text or "").strip()
    if not line.startswith(("%", "!", "?")):
        return ""
    return f": {line[:60]!r} is a command of notebooks, not Python; delete that line"


def file_of(objective: Any) -> str:
    """Return where a function, a partial of one or a callable object is written; "" if nowhere."""
    function = getattr(objective, "func", objective)
    function = getattr(function, "__func__", function)
    if not hasattr(function, "__code__"):
        function = type(function).__call__
    return getattr(getattr(function, "__code__", None), "co_filename", "")
