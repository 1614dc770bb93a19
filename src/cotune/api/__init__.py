"""Cotune from Python: :func:`run` and the functions beside it."""

from __future__ import annotations

from cotune.api.comparison import compare
from cotune.api.objective import optimize
from cotune.api.search import read, resume, run

__all__ = ["compare", "optimize", "read", "resume", "run"]
