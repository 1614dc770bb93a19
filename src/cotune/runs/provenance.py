"""The command, sampler and pruner of a run, as its configuration names them."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Final

_PASSWORD: Final = re.compile(r"(\w+://[^/@:]*:)[^@]*@")


def command_line() -> str | None:
    """Return the command line, passwords of URLs left out; None for a run from Python."""
    is_command = Path(sys.argv[0]).name == "cotune"
    words = [_PASSWORD.sub(r"\1***@", word) for word in sys.argv[1:]]
    return shlex.join(["cotune", *words]) if is_command else None


def shown_name(part: object) -> str:
    """Return the name of a sampler or pruner; of an Optuna object, that of its class."""
    return part if isinstance(part, str) else type(part).__name__
