"""The page of a comparison: its table, and the best scores so far in bands over the seeds."""

from __future__ import annotations

from typing import Any

from cotune.report.html import text
from cotune.report.html.chart import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    Chart,
    axis,
    drawn,
    missing,
    points,
    rounded,
)
from cotune.report.html.contents import label_of
from cotune.report.html.html_file import facts, named_values, render_page
from cotune.tuning.best_so_far import Band
from cotune.tuning.comparison import HEADINGS, Comparison, cells

_GREEN = "#2f9e6e"
_COLORS = {"tpe": ORANGE, "random": GREY, "grid": BLUE, "gp": RED, "qmc": _GREEN}
_AXES = {
    "trials": ("Against trials", "trials that ended"),
    "seconds": ("Against time", "seconds of search"),
}


def render(comparison: Comparison) -> str:
    """Render the page."""
    charts = [band_chart(comparison, by) for by in _AXES]
    name = str(comparison.settings["dataset"]["name"])
    return render_page(
        "comparison.html.j2",
        charts,
        {},
        brand="Cotune comparison",
        title=f"{name}: {', '.join(comparison.samplers)}",
        banner=_banner(comparison),
        metric=label_of(comparison.settings["metric"]),
        target=comparison.target,
        headings=HEADINGS,
        rows=[cells(row) for row in comparison.table],
        drawn=charts,
        searches=[(search, search.best(comparison.maximize)) for search in comparison.searches],
        settings=_settings(comparison),
        command=comparison.settings["command"] or "",
    )


def band_chart(comparison: Comparison, by: str) -> Chart:
    """Draw each sampler's median best score so far, in a band from the least to the most.

    Args:
        by: ``trials`` or ``seconds``.
    """
    title, label = _AXES[by]
    bands = {name: band for name, band in comparison.bands(by).items() if band.x}
    if not bands:
        return missing(by, title, "Not drawn: no trial has a score.")
    limits = comparison.focus(by)
    figure = drawn(
        [trace for sampler, band in bands.items() for trace in _traces(sampler, band)],
        xaxis=axis(label, rangemode="tozero"),
        yaxis=axis(f"best {label_of(comparison.settings['metric'])}", limits),
    )
    values = [value for one in bands.values() for value in (*one.low, *one.high)]
    hidden = min(values) < limits[0] or max(values) > limits[1]
    note = "The weakest of the first trials lie outside; double-click shows all." if hidden else ""
    return Chart(by, title, figure, note)


def _traces(sampler: str, band: Band) -> list[dict[str, Any]]:
    color = _COLORS[sampler]
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))

    def line(y: list[float], width: float, **more: Any) -> dict[str, Any]:
        look = {"color": color, "width": width, "shape": "hv"}
        x = rounded(band.x, 3)
        return points(x, rounded(y), sampler, mode="lines", legendgroup=sampler, line=look, **more)

    edge = {"showlegend": False, "hoverinfo": "skip"}
    shade = f"rgba({red},{green},{blue},0.16)"
    return [
        line(band.low, 0, **edge),
        line(band.high, 0, fill="tonexty", fillcolor=shade, **edge),
        line(band.median, 2.5, hovertemplate=f"{sampler}<br>%{{x}}: %{{y:.4f}}<extra></extra>"),
    ]


def _banner(comparison: Comparison) -> str:
    if comparison.is_whole:
        return ""
    count = len(comparison.samplers) * comparison.seeds
    return f"It was stopped: {len(comparison.searches)} of {count} searches had ended."


def _settings(comparison: Comparison) -> list[tuple[str, str]]:
    settings = comparison.settings
    dataset, timeout = settings["dataset"], settings["timeout_seconds"]
    return facts(
        ("Dataset", dataset["name"]),
        ("Fingerprint of the data", dataset["fingerprint"]),
        ("Rows", ", ".join(f"{count:,} {part}" for part, count in dataset["rows"].items())),
        ("Metric", label_of(settings["metric"])),
        ("Pruner", settings["pruner"]),
        ("Trials of each search", settings["n_trials"]),
        ("Time limit of each search", timeout and text.duration(timeout)),
        ("Seeds", comparison.seeds),
        ("Device", settings["device"]),
        ("Workers", settings["workers"]),
        ("Trials trained at a time in each", settings["lanes"]),
        ("Versions", named_values(settings["versions"])),
    )
