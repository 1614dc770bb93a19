"""The report of a run of an objective: it has no data and no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cotune.report.html import text
from cotune.report.html.chart import Chart
from cotune.report.html.contents import Contents, gather, label_of
from cotune.report.html.curve_charts import step_chart
from cotune.report.html.html_file import render_page
from cotune.report.html.page import MOST_ROWS, Tile, columns_of, hover_labels, run_tiles
from cotune.report.html.study_charts import (
    history_chart,
    importances_chart,
    parallel_chart,
    pareto_chart,
    slice_charts,
)
from cotune.runs.config import ObjectiveConfig
from cotune.runs.directory import RunDirectory
from cotune.runs.files import write_file
from cotune.text import counted


def build_objective_report(run: RunDirectory) -> Path:
    """Write ``report.html`` into the run directory and return its path.

    Raises:
        StorageError: The run cannot be read, or the report cannot be written.
    """
    write_file(run.report_path, render(gather(run)))
    return run.report_path


def render(contents: Contents) -> str:
    """Render the page."""
    history, importances = history_chart(contents), importances_chart(contents)
    (slices, slices_note), parallel = slice_charts(contents), parallel_chart(contents)
    curves = step_chart(contents)
    drawn: list[Chart] = [history, curves, importances, *slices, parallel]
    rows = contents.ranked()[:MOST_ROWS]
    return render_page(
        "objective.html.j2",
        drawn,
        hover_labels(contents),
        brand="Cotune report",
        title=_config(contents).objective,
        banner=_banner(contents),
        tiles=_tiles(contents),
        best=contents.summary.best,
        metric=label_of("value"),
        samples=None,
        history=history,
        pareto=pareto_chart(contents),
        curves=curves,
        importances=importances,
        slices=slices,
        slices_note=slices_note,
        parallel=parallel,
        finalists=contents.summary.finalists,
        rows=rows,
        columns=columns_of(rows),
        trials=len(contents.trials),
        chosen=contents.best,
        settings=_settings(contents),
        command=contents.config.command or "",
        config_text=contents.config_text,
    )


def _config(contents: Contents) -> ObjectiveConfig:
    assert isinstance(contents.config, ObjectiveConfig)
    return contents.config


def _banner(contents: Contents) -> str:
    """Say why the run is not complete; "" where it is."""
    summary = contents.summary
    if summary.state == "running":
        return "This run is still going."
    if summary.state == "complete":
        return ""
    message = f": {summary.message.rstrip('.')}" if summary.message else ""
    return f"This run {'failed' if summary.state == 'failed' else 'was interrupted'}{message}."


def _tiles(contents: Contents) -> list[Tile]:
    summary = contents.summary
    tiles = []
    for one in summary.finalists[:1]:
        spread = "" if one.sd is None else f"± {text.value(one.sd)}; "
        note = f"{spread}trial {one.number}, {counted(one.runs, 'run')} with fresh seeds"
        tiles.append(Tile("Finalists’ best mean", text.value(one.mean), note))
    best = summary.best
    if best:
        note = "optimistic, as the best of many; what the objective returned, no test score"
        tiles.append(Tile("Search’s best", text.value(best.search_best or 0.0), note))
    else:
        tiles.append(Tile("Search’s best", "–", "no trial has a value"))
    return [*tiles, *run_tiles(contents)]


def _settings(contents: Contents) -> list[tuple[str, str]]:
    config = _config(contents)
    timeout = config.timeout_seconds
    items: list[tuple[str, Any]] = [
        ("Objective", config.objective),
        ("Direction", config.direction),
        ("Sampler", config.sampler),
        ("Pruner", config.pruner),
        ("Seed", config.seed),
        ("Trials asked for", config.n_trials),
        ("Time limit", None if timeout is None else text.duration(timeout)),
        ("Workers", config.workers),
        ("Runs of each finalist", config.repeats),
    ]
    if versions := config.versions:
        items.append(("Versions", ", ".join(f"{name} {v}" for name, v in versions.items())))
    items.append(("Time in Optuna and storage", text.duration(contents.summary.seconds.study)))
    return [(label, str(item)) for label, item in items if item not in (None, "")]
