"""The page of a comparison: its table, and the best scores so far in bands over the seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cotune.report.html import text
from cotune.report.html.chart import BLUE, GREY, ORANGE, RED, Chart, missing, plain, rounded
from cotune.report.html.contents import label_of
from cotune.report.html.html_file import render_page
from cotune.runs.files import write_file
from cotune.tuning.best_so_far import Band
from cotune.tuning.comparison import HEADINGS, Comparison, cells

_GREEN = "#2f9e6e"
_COLORS = {"tpe": ORANGE, "random": GREY, "grid": BLUE, "gp": RED, "qmc": _GREEN}
_AXES = {
    "trials": ("Against trials", "trials that ended"),
    "seconds": ("Against time", "seconds of search"),
}


def build_comparison(comparison: Comparison) -> Path:
    """Write ``compare.html`` into the comparison's folder and return its path.

    Raises:
        StorageError: It cannot be written.
    """
    path = comparison.path / "compare.html"
    charts = [band_chart(comparison, by) for by in _AXES]
    name = str(comparison.settings["dataset"]["name"])
    page = render_page(
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
    write_file(path, page)
    return path


def band_chart(comparison: Comparison, by: str) -> Chart:
    """Draw each sampler's median best score so far, in a band from the least to the most.

    Args:
        by: ``trials`` or ``seconds``.
    """
    title, label = _AXES[by]
    bands = {name: band for name, band in comparison.bands(by).items() if band.x}
    if not bands:
        return missing(by, title, "Not drawn: no trial has a score.")
    import plotly.graph_objects as go

    figure = go.Figure()
    for sampler, band in bands.items():
        for trace in _traces(sampler, band):
            figure.add_trace(go.Scatter(**trace))
    limits = comparison.focus(by)
    figure.update_layout(
        xaxis={"title": {"text": label}, "rangemode": "tozero"},
        yaxis={
            "title": {"text": f"best {label_of(comparison.settings['metric'])}"},
            "range": list(limits),
        },
    )
    values = [value for one in bands.values() for value in (*one.low, *one.high)]
    hidden = min(values) < limits[0] or max(values) > limits[1]
    note = "The weakest of the first trials lie outside; double-click shows all." if hidden else ""
    return Chart(by, title, plain(figure), note)


def _traces(sampler: str, band: Band) -> list[dict[str, Any]]:
    color = _COLORS[sampler]
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    common = {"x": rounded(band.x, 3), "mode": "lines", "legendgroup": sampler}
    edge = {**common, "line": {"width": 0, "shape": "hv"}, "showlegend": False, "hoverinfo": "skip"}
    return [
        {**edge, "y": rounded(band.low)},
        {
            **edge,
            "y": rounded(band.high),
            "fill": "tonexty",
            "fillcolor": f"rgba({red},{green},{blue},0.16)",
        },
        {
            **common,
            "y": rounded(band.median),
            "name": sampler,
            "line": {"color": color, "width": 2.5, "shape": "hv"},
            "hovertemplate": f"{sampler}<br>%{{x}}: %{{y:.4f}}<extra></extra>",
        },
    ]


def _banner(comparison: Comparison) -> str:
    if comparison.is_whole:
        return ""
    count = len(comparison.samplers) * comparison.seeds
    return f"It was stopped: {len(comparison.searches)} of {count} searches had ended."


def _settings(comparison: Comparison) -> list[tuple[str, str]]:
    settings = comparison.settings
    dataset, timeout = settings["dataset"], settings["timeout_seconds"]
    items: list[tuple[str, Any]] = [
        ("Dataset", dataset["name"]),
        ("Fingerprint of the data", dataset["fingerprint"]),
        ("Rows", ", ".join(f"{count:,} {part}" for part, count in dataset["rows"].items())),
        ("Metric", label_of(settings["metric"])),
        ("Pruner", settings["pruner"]),
        ("Trials of each search", settings["n_trials"]),
        ("Time limit of each search", None if timeout is None else text.duration(timeout)),
        ("Seeds", comparison.seeds),
        ("Device", settings["device"]),
        ("Workers", settings["workers"]),
        ("Trials trained at a time in each", settings["lanes"]),
        ("Versions", ", ".join(f"{name} {v}" for name, v in settings["versions"].items())),
    ]
    return [(label, str(item)) for label, item in items if item is not None]
