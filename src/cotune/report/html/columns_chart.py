"""What the model makes of each column of a table."""

from __future__ import annotations

from typing import Any

from cotune.report.html.chart import BLUE, Chart, axis, drawn, missing, rounded, tick
from cotune.report.html.contents import Contents
from cotune.text import counted

MOST_BARS = 30
"""Columns in the chart: the most important; ``final.json`` has all."""


def columns_chart(contents: Contents) -> Chart:
    """Draw how much the score falls where a column's cells are shuffled."""
    name, title = "columns", "Importance of the columns"
    found = contents.final.columns if contents.final is not None else None
    if found is None:
        return missing(name, title, "Not drawn: images have none, and older runs recorded none.")
    if not found.columns:
        return missing(name, title, f"Not drawn: {found.reason}.")
    shown = found.columns[:MOST_BARS]
    places, spread = list(range(len(shown))), [one.sd or 0.0 for one in shown]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": rounded([one.mean for one in shown]),
        "y": places,
        "width": 0.65,
        "marker": {"color": BLUE},
        "error_x": {"type": "data", "array": rounded(spread), "thickness": 1, "width": 3},
        "customdata": [[one.name, spread[i]] for i, one in enumerate(shown)],
        "hovertemplate": "%{customdata[0]}: %{x:.4f} ± %{customdata[1]:.4f}<extra></extra>",
    }
    ticks: dict[str, Any] = {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": [tick(one.name) for one in shown],
        "showgrid": False,
    }
    figure = drawn(
        [bars],
        showlegend=False,
        xaxis=axis(found.described),
        yaxis=axis("", **ticks) | {"autorange": "reversed"},
    )
    sample = f" of {found.all_rows:,}" if found.rows < found.all_rows else ""
    note = (
        f"How much worse the score gets where one column is shuffled: mean and standard deviation "
        f"of {counted(found.repeats, 'shuffle')} in each of {counted(found.trainings, 'network')} "
        f"of the chosen configuration, on {found.rows:,}{sample} rows that the network was not "
        "trained on. Columns that tell the same stand in for each other."
    )
    if len(shown) < len(found.columns):
        note += f" The first {len(shown)} of {len(found.columns):,} columns."
    return Chart(name, title, figure, note, height=max(200, 110 + 26 * len(shown)))
