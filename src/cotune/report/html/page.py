"""What the reports of all runs have: the search, its trials, its settings."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cotune.report.html import text
from cotune.report.html.chart import Chart
from cotune.report.html.contents import Contents
from cotune.report.html.html_file import named_values, render_page
from cotune.report.html.study_charts import (
    history_chart,
    importances_chart,
    parallel_chart,
    pareto_chart,
    slice_charts,
)
from cotune.runs.config import ObjectiveConfig, RunConfig

MOST_ROWS = 50
"""Trials in the table; ``trials.csv`` has all."""


@dataclass(frozen=True)
class Tile:
    """A headline number: what it is, the number, and one line that says how to read it."""

    label: str
    number: str
    note: str


def render_contents(template: str, contents: Contents, charts: Sequence[Chart], **own: Any) -> str:
    """Render the page of a run.

    Args:
        charts: Those beside the search's own, which every page has.
        own: What else the template names.
    """
    history, importances = history_chart(contents), importances_chart(contents)
    (slices, slices_note), parallel = slice_charts(contents), parallel_chart(contents)
    pareto = pareto_chart(contents)
    rows = contents.ranked()[:MOST_ROWS]
    return render_page(
        template,
        [history, importances, *slices, parallel, pareto, *charts],
        hover_labels(contents),
        brand="Cotune report",
        best=contents.summary.best,
        history=history,
        importances=importances,
        slices=slices,
        slices_note=slices_note,
        parallel=parallel,
        pareto=pareto,
        rows=rows,
        columns=list(dict.fromkeys(name for row in rows for name in row.params)),
        trials=len(contents.trials),
        chosen=contents.best,
        command=contents.config.command or "",
        config_text=contents.config_text,
        **own,
    )


def hover_labels(contents: Contents) -> dict[int, str]:
    """Return the hover text of each trial in plotly.js's markup, its own texts escaped."""
    labels = {}
    states = {row.number: row for row in contents.trials}
    for number in sorted({*states, *contents.curves}):
        row = states.get(number)
        lines = [f"<b>trial {number}</b>"]
        if row is not None:
            lines[0] += f" {html.escape(row.state)}"
            lines += [
                html.escape(f"{name[:40]} {text.value(item)[:40]}", quote=False)
                for name, item in row.params.items()
            ]
        labels[number] = "<br>".join(lines)
    return labels


def run_tiles(contents: Contents) -> list[Tile]:
    """Return the tiles of the number of trials and the time."""
    summary = contents.summary
    counts, seconds = summary.trials, summary.seconds
    parts = [
        f"{counts.complete:,} complete",
        f"{counts.pruned:,} pruned",
        f"{counts.failed:,} failed",
    ]
    if counts.running:
        parts.append(f"{counts.running:,} unfinished")
    spans = [
        f"{label} {text.duration(span)}"
        for label, span in (
            ("search", seconds.search),
            ("finalists", seconds.finalists),
            ("final model and test", seconds.final),
        )
        if span
    ]
    return [
        Tile("Trials", f"{counts.total:,}", ", ".join(parts)),
        Tile("Wall clock", text.duration(seconds.total), ", ".join(spans)),
    ]


def search_settings(config: RunConfig | ObjectiveConfig) -> list[tuple[str, object]]:
    """Return settings of the search as labels and values."""
    timeout = config.timeout_seconds
    return [
        ("Sampler", config.sampler),
        ("Pruner", config.pruner),
        ("Seed", config.seed),
        ("Trials asked for", config.n_trials),
        ("Time limit", timeout and text.duration(timeout)),
        ("Workers", config.workers),
    ]


def last_settings(contents: Contents) -> list[tuple[str, object]]:
    """Return the settings that come last."""
    return [
        ("Versions", named_values(contents.config.versions)),
        ("Time in Optuna and storage", text.duration(contents.summary.seconds.study)),
    ]
