"""The command, sampler and pruner of a run, as its configuration names them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from cotune.text import without_password


def command_line() -> str | None:
    """Return the command line, passwords of URLs left out; None for a run from Python."""
    is_command = Path(sys.argv[0]).name == "cotune"
    return shlex.join(["cotune", *map(without_password, sys.argv[1:])]) if is_command else None


def shown_name(part: object) -> str:
    """Return the name of a sampler or pruner; of an Optuna object, that of its class."""
    return part if isinstance(part, str) else type(part).__name__
