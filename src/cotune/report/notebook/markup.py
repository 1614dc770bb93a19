"""HTML for the outputs of cells: small, inert, readable on light and on dark."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_STYLE = (
    "font-family: system-ui, sans-serif; font-size: 13px; line-height: 1.45; max-width: 960px; "
    "padding: 8px 2px"
)
_TILE = (
    "display: inline-block; vertical-align: top; min-width: 130px; max-width: 210px; "
    "margin: 0 8px 8px 0; padding: 8px 12px; border: 1px solid rgba(128, 128, 128, 0.35); "
    "border-radius: 8px"
)
_DIM = "opacity: 0.65"
_CELL = "padding: 1px 14px 1px 0; text-align: left; white-space: nowrap; border: none"
_BAR = "height: 6px; border-radius: 3px; background: rgba(128, 128, 128, 0.25)"
_BLUE = "#3f7fe0"


def escaped(text: object) -> str:
    """Return a text that is shown as it is."""
    return html.escape(str(text), quote=True)


def block(*parts: str) -> str:
    """Return parts of HTML as one output."""
    return f'<div style="{_STYLE}">{"".join(parts)}</div>'


def heading(text: str) -> str:
    return (
        f'<div style="font-size: 15px; font-weight: 600; margin: 2px 0 8px">{escaped(text)}</div>'
    )


def line(text: str, dim: bool = False) -> str:
    return f'<div style="{_DIM if dim else ""}">{escaped(text)}</div>'


def tiles(facts: Iterable[tuple[str, str, str]]) -> str:
    """Return tiles of a label, a number and a note each."""
    return "".join(
        f'<div style="{_TILE}"><div style="{_DIM}">{escaped(label)}</div>'
        f'<div style="font-size: 20px; font-weight: 600">{escaped(number)}</div>'
        f'<div style="{_DIM}; font-size: 11px">{escaped(note)}</div></div>'
        for label, number, note in facts
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; its headings may be empty."""
    head = "".join(f'<th style="{_CELL}; {_DIM}">{escaped(one)}</th>' for one in headings)
    body = "".join(
        "<tr style='background: none'>"
        + "".join(f'<td style="{_CELL}">{escaped(cell)}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    return (
        '<table style="border-collapse: collapse; border: none; margin: 6px 0">'
        f"<tr style='background: none'>{head}</tr>{body}</table>"
    )


def bar(share: float) -> str:
    """Return a bar that is filled to a share, 0-1."""
    width = 100 * min(1.0, max(0.0, share))
    return (
        f'<div style="{_BAR}; margin: 4px 0 8px">'
        f'<div style="height: 6px; border-radius: 3px; background: {_BLUE}; width: {width:.1f}%">'
        "</div></div>"
    )


def curve(values: Sequence[float], width: int = 320, height: int = 56) -> str:
    """Return a small curve of values, the first at the left."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    across = (width - 4) / (len(values) - 1)
    points = " ".join(
        f"{2 + i * across:.1f},{height - 3 - (value - low) / span * (height - 6):.1f}"
        for i, value in enumerate(values)
    )
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="best value so far">'
        f'<polyline points="{points}" fill="none" stroke="{_BLUE}" stroke-width="2"/></svg>'
    )


def picture(data_url: str, alt: str) -> str:
    return f'<img src="{escaped(data_url)}" alt="{escaped(alt)}" style="max-width: 100%">'
