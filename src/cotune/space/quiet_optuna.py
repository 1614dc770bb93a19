"""Optuna without its log and its warnings, which are not about a user's run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna


@contextmanager
def quiet_optuna(
    level: int = optuna.logging.ERROR, unwanted: type[Warning] = Warning
) -> Iterator[None]:
    """Silence Optuna's log below a level, and such warnings."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", unwanted)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
