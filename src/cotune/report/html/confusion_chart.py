"""The final model's confusion matrix on the test set."""

from __future__ import annotations

from typing import Any

import numpy as np

from cotune.report.html.chart import Chart, axis, drawn, missing, tick
from cotune.report.html.contents import Contents

MOST_COUNTS = 25
"""Classes up to which every cell shows its count; beyond that, on hover alone."""

MOST_CLASSES = 200

_FULL = "rgba(63,127,224,0.75)"  # translucent: the page's text colour is readable on it


def confusion_chart(contents: Contents) -> Chart:
    """Draw the counts, true class by row; a cell's shade is its share of the row."""
    name, title = "confusion", "Confusion matrix"
    if contents.final is None or not contents.final.confusion:
        return missing(name, title, "Not drawn: there is no final model.")
    counts = np.asarray(contents.final.confusion)
    classes = len(counts)
    if classes > MOST_CLASSES:
        return missing(
            name, title, f"Not drawn: it would have {classes} rows; final.json has the counts."
        )
    names = [contents.class_name(index) for index in range(classes)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = {
        "type": "heatmap",
        "z": shares.round(4).tolist(),
        "x": list(range(classes)),
        "y": list(range(classes)),
        "text": counts.tolist(),
        "customdata": [[[row, column] for column in names] for row in names],
        "texttemplate": "%{text}" if classes <= MOST_COUNTS else None,
        "hovertemplate": "true %{customdata[0]}<br>predicted %{customdata[1]}"
        "<br>%{text} rows, %{z:.1%} of the class<extra></extra>",
        "colorscale": [[0, "rgba(63,127,224,0.04)"], [0.01, "rgba(63,127,224,0.14)"], [1, _FULL]],
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    ticks: dict[str, Any] = {
        "tickmode": "array",
        "tickvals": list(range(classes)),
        "ticktext": [tick(class_name) for class_name in names],
        "showgrid": False,
        "showticklabels": classes <= 60,
    }
    figure = drawn(
        [cells],
        xaxis=axis("predicted class", **ticks),
        yaxis=axis("true class", **ticks) | {"autorange": "reversed"},
    )
    note = "Test rows: the true class by row, the predicted one by column."
    return Chart(name, title, figure, note, height=min(760, 200 + 36 * classes))
