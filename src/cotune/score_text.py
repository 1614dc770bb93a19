"""Scores and classes as people read them."""

from __future__ import annotations

from typing import Final

_MOST_NAME: Final = 40


def shown_score(metric: str, value: float) -> str:
    """Format a score: a percentage of an accuracy, four digits of others."""
    return f"{value:.2%}" if metric == "accuracy" else f"{value:.4f}"


def shown_class(name: str) -> str:
    """Quote a class's name, cut short where it is long."""
    return repr(name if len(name) <= _MOST_NAME else name[: _MOST_NAME - 3] + "...")
