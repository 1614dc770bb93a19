"""Kinds of columns that the owner of a table names: ``--column NAME=KIND``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cotune.arguments import named
from cotune.data.dataset import COLUMN_KINDS
from cotune.exceptions import UsageError
from cotune.text import shown


def read_column_kinds(columns: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    """Read types of columns by name, given as a mapping or as texts ``NAME=KIND``.

    Raises:
        UsageError: A text is not of that form, a kind is unknown, or a column is named twice.
    """
    if columns is None:
        return {}
    kinds: dict[str, str] = {}
    pairs = columns.items() if isinstance(columns, Mapping) else map(_column_kind, columns)
    for name, kind in pairs:
        if name in kinds:
            raise UsageError(f"column: {shown(name)} is there twice")
        kinds[str(name)] = str(named(str(kind), COLUMN_KINDS, f"column {shown(name)}"))
    return kinds


def _column_kind(text: str) -> tuple[str, str]:
    name, equals, kind = text.rpartition("=")
    if not name.strip() or not equals:
        raise UsageError(f"column: {shown(text)} is not NAME=KIND, such as Id=skip")
    return name.strip(), kind.strip()
