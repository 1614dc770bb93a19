"""One chart of the report as plain data, safe to put inside an HTML page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cotune.text import counted

BLUE = "#3f7fe0"
GREY = "#8d96a5"
RED = "#d9485f"
ORANGE = "#f08c1d"

HEIGHT = 380
"""Pixels of a chart that stands alone in its row."""


@dataclass(frozen=True)
class Chart:
    """A chart, or the reason why there is none.

    Attributes:
        name: The chart's id in the page, letters and hyphens.
        title: Shown above it.
        figure: ``{"data": [...], "layout": {...}}`` of plotly.js without colours of text and grid,
            which follow the reader's light or dark setting; None when there is no chart.
        note: One sentence: how to read it, or why it is missing.
        height: Pixels.
        width: Least pixels; on a narrower screen the chart scrolls sideways.
    """

    name: str
    title: str
    figure: dict[str, Any] | None = None
    note: str = ""
    height: int = HEIGHT
    width: int = 0


def missing(name: str, title: str, why: str) -> Chart:
    return Chart(name, title, note=why)


def plain(figure: Any) -> dict[str, Any]:
    """Return a plotly figure as plain data, with inert texts and no title or template."""
    content = figure.to_plotly_json()
    layout = {k: v for k, v in content["layout"].items() if k not in ("template", "title")}
    return drawn(content["data"], **layout)


def drawn(traces: Sequence[Mapping[str, Any]], **layout: Any) -> dict[str, Any]:
    """Return a chart's figure as plain data with inert texts.

    Args:
        traces: Of plotly.js.
        layout: By name; :func:`axis` makes ``xaxis`` and ``yaxis``.
    """
    figure: dict[str, Any] = _inert({"data": traces, "layout": layout})
    return figure


def axis(title: str, limits: Sequence[float] | None = None, **more: Any) -> dict[str, Any]:
    """Return an axis with its title.

    Args:
        limits: Ends of the range; None: all values are shown.
        more: What else plotly.js is told.
    """
    return {"title": {"text": title}, "range": limits, "autorange": limits is None, **more}


def points(x: Sequence[float], y: Sequence[float | None], name: str, **more: Any) -> dict[str, Any]:
    """Return a trace of dots, or of what else ``mode`` says, one for each trial or epoch."""
    return {"type": "scatter", "mode": "markers", "name": name, "x": x, "y": y, **more}


def _inert(value: Any, key: str = "") -> Any:
    """Escape what plotly.js would read as markup in any text; it shows ``&lt;`` as ``<``."""
    if isinstance(value, str):
        if key != "hovertemplate":
            return html.escape(value, quote=False)
        parts = re.split(r"(<br>|<extra></extra>)", value)
        return "".join(
            part if i % 2 else html.escape(part, quote=False) for i, part in enumerate(parts)
        )
    if isinstance(value, Mapping):
        return {name: _inert(item, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_inert(item, key) for item in value]
    return value


def focus(
    values: Iterable[float], maximize: bool, share: float = 0.9
) -> tuple[list[float] | None, int]:
    """Return the axis range that keeps a few hopeless values from flattening all others.

    Returns:
        The range ``[low, high]`` over the better ``share`` of ``values``, and how many lie outside
        of it. The range is None, and all values are to be shown, unless it is less than half as
        long as the range of all.
    """
    ranked = np.asarray([value for value in values if np.isfinite(value)], dtype=float)
    if ranked.size < 10:
        return None, 0
    ranked = np.sort(ranked)[:: -1 if maximize else 1]
    best, worst = ranked[0], ranked[-1]
    limit = ranked[int(share * (ranked.size - 1))]
    if best == limit or abs(best - limit) >= abs(best - worst) / 2:
        return None, 0
    margin = 0.06 * abs(best - limit)
    low, high = sorted((float(best), float(limit)))
    hidden = int((ranked < low - margin).sum() + (ranked > high + margin).sum())
    return [low - margin, high + margin], hidden


def outside(hidden: int, what: str = "trial") -> str:
    """Return a sentence on the values outside of :func:`focus`'s range, or ""."""
    if hidden == 0:
        return ""
    verb = "lies" if hidden == 1 else "lie"
    return f" {counted(hidden, what)} {verb} outside the drawn range; double-click shows all."


def whole_ticks(low: float, high: float) -> dict[str, Any]:
    """Return the ticks of an axis of whole numbers: none between them where few fit."""
    return {"dtick": 1} if high - low <= 10 else {}


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """Return uniformly written ticks of a logarithmic axis from ``low`` to ``high`` (above 0)."""
    decades = np.log10(high / low) if high > low else 0.0
    steps = (1,) if decades > 2 else (1, 3) if decades > 1.2 else (1, 2, 5)
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    ticks = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
    return {
        "tickmode": "array",
        "tickangle": 0,
        "tickvals": ticks,
        "ticktext": [f"{value:g}" for value in ticks],
    }


def tick(name: str, longest: int = 18) -> str:
    """Return a name cut to fit beside an axis."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def rounded(values: Sequence[float], digits: int = 5) -> list[float]:
    return [round(float(value), digits) for value in values]
