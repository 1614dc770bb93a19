"""What a run was started with, for its configuration."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command_line() -> str | None:
    """The command line, when that is what started the run."""
    is_command = Path(sys.argv[0]).name == "cotune"
    return shlex.join(["cotune", *sys.argv[1:]]) if is_command else None


def shown_name(part: object) -> str:
    """Of a sampler or pruner: its name, or the class of an Optuna object."""
    return part if isinstance(part, str) else type(part).__name__
