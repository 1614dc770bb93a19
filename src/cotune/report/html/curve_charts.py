"""Learning curves: of every trial on the validation part, and of the final model's training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cotune.records import EpochReport
from cotune.report.html.chart import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    Chart,
    axis,
    drawn,
    focus,
    missing,
    points,
    rounded,
    whole_ticks,
)
from cotune.report.html.contents import Contents, label_of

MOST_POINTS = 20_000
"""Points in one chart; beyond that a browser's hover gets slow, so epochs are left out."""

_LOOKS: dict[str, tuple[str, float, float]] = {
    "pruned": (GREY, 0.35, 1.0),
    "failed": (RED, 0.6, 1.2),
    "unfinished": (GREY, 0.6, 1.2),
    "complete": (BLUE, 0.45, 1.2),
    "best": (ORANGE, 1.0, 3.0),
}
"""Colour, opacity and width of the lines, drawn in this order."""


def trial_curve_charts(contents: Contents) -> list[Chart]:
    """Draw accuracy, loss and the run's metric on the validation part after every epoch."""
    own = [] if contents.metric in ("accuracy", "loss") else [contents.metric]
    return [_trial_curves(contents, score) for score in (*own, "accuracy", "loss")]


def step_chart(contents: Contents) -> Chart:
    """Draw what every trial of an objective reported, by its own steps."""
    return _trial_curves(contents, "value", "step")


def _trial_curves(contents: Contents, score: str, unit: str = "epoch") -> Chart:
    label = "reported values" if score == "value" else label_of(score)
    name, title = f"curves-{score}", label[0].upper() + label[1:]
    curves = {
        number: [report for report in reports if math.isfinite(report.scores.get(score, math.nan))]
        for number, reports in contents.curves.items()
    }
    curves = {number: reports for number, reports in curves.items() if reports}
    if not curves:
        why = "finished an epoch" if unit == "epoch" else "reported a value"
        return missing(name, title, f"Not drawn: no trial {why}.")
    states = {row.number: row.state for row in contents.trials}
    most = max(2, MOST_POINTS // len(curves))
    thin = 1.0 if len(curves) <= 300 else 0.5
    longest = max(len(reports) for reports in curves.values())
    groups: dict[str, list[tuple[int, list[EpochReport]]]] = {look: [] for look in _LOOKS}
    for number, reports in sorted(curves.items()):
        state = "best" if number == contents.best else states.get(number, "unfinished")
        groups.setdefault(state, []).append((number, thinned(reports, most)))
    traces = []
    for state, members in groups.items():
        if not members:
            continue
        color, opacity, width = _LOOKS.get(state, _LOOKS["unfinished"])
        common: dict[str, Any] = {
            "name": f"best: trial {members[0][0]}" if state == "best" else state,
            "legendgroup": state,
            "opacity": opacity,
            "meta": "trial",
            "hovertemplate": f"%{{customdata}}<br>{unit} %{{x}}: %{{y:.4f}}<extra></extra>",
        }
        line = {"color": color, "width": width if state == "best" else width * thin}
        traces.append(points(**_joined(members, score), **common, mode="lines", line=line))
        # A line of one point is invisible: trials that ended after one epoch get a dot.
        dots = [(number, reports) for number, reports in members if len(reports) == 1]
        if dots:
            dot = {"color": color, "size": 5}
            traces.append(points(**_joined(dots, score), **common, showlegend=False, marker=dot))
    maximize = contents.maximize if score == "value" else score != "loss"
    values = [report.scores[score] for reports in curves.values() for report in reports]
    limits, hidden = focus(values, maximize)
    figure = drawn(traces, xaxis=axis(unit, **whole_ticks(1, longest)), yaxis=axis(label, limits))
    notes = []
    if hidden:
        notes.append("The weakest tenth of the points lies outside; double-click shows all.")
    if longest > most:
        notes.append(f"At most {most} {unit}s of a trial are drawn; curves.csv has all.")
    return Chart(name, title, figure, " ".join(notes))


def thinned(reports: list[EpochReport], most: int) -> list[EpochReport]:
    """Return at most ``most`` (2 or more), evenly spread, the first and the last included."""
    if len(reports) <= most:
        return reports
    kept = np.unique(np.linspace(0, len(reports) - 1, most).round().astype(int))
    return [reports[index] for index in kept]


def _joined(members: list[tuple[int, list[EpochReport]]], score: str) -> dict[str, Any]:
    """Join lines into one trace, with a gap (None) after each."""
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for number, reports in members:
        x += [*(report.epoch for report in reports), None]
        y += [*rounded([report.scores[score] for report in reports]), None]
        numbers += [*(number for _ in reports), None]
    return {"x": x, "y": y, "customdata": numbers}


def chosen_curve_charts(contents: Contents) -> list[Chart]:
    """Draw the chosen trial's accuracy and loss on training and on validation rows."""
    reports = contents.curves.get(-1 if contents.best is None else contents.best, [])
    charts = []
    for key in ("accuracy", "loss"):
        name, title = f"chosen-{key}", f"Trial {contents.best}: {key} by epoch"
        if not reports:
            charts.append(missing(name, f"The chosen trial’s {key}", "Not drawn: there is none."))
            continue
        epochs = [report.epoch for report in reports]
        parts = {
            "training": [getattr(report, f"train_{key}") for report in reports],
            "validation": [report.scores.get(key, math.nan) for report in reports],
        }
        traces = [
            points(
                epochs,
                rounded(values),
                f"{part} {key}",
                mode="lines+markers",
                line={"color": GREY if part == "training" else ORANGE, "width": 2},
                marker={"size": 5},
                hovertemplate=f"{part}, epoch %{{x}}: %{{y:.4f}}<extra></extra>",
            )
            for part, values in parts.items()
        ]
        note = "Training is measured with dropout on, on augmented rows and smoothed labels."
        figure = drawn(traces, xaxis=axis("epoch", **whole_ticks(1, epochs[-1])), yaxis=axis(key))
        charts.append(Chart(name, title, figure, note))
    return charts


def final_curve_charts(contents: Contents) -> list[Chart]:
    """Draw training accuracy and loss of the final model after each epoch."""
    charts = []
    for key in ("accuracy", "loss"):
        name, title = f"final-{key}", f"Training {key}"
        values = contents.final.curve.get(key, []) if contents.final is not None else []
        if not values:
            charts.append(missing(name, title, "Not drawn: it was not recorded."))
            continue
        curve = points(
            list(range(1, len(values) + 1)),
            rounded(values),
            title,
            mode="lines+markers",
            line={"color": BLUE, "width": 2.5},
            marker={"size": 6},
            hovertemplate="epoch %{x}: %{y:.4f}<extra></extra>",
        )
        epochs = axis("epoch", **whole_ticks(1, len(values)))
        figure = drawn([curve], showlegend=False, xaxis=epochs, yaxis=axis(title.lower()))
        charts.append(Chart(name, title, figure, height=300))
    return charts
