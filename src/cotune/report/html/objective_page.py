"""The report of a run of an objective: it has no data and no model."""

from __future__ import annotations

from cotune.report.html import text
from cotune.report.html.contents import Contents, label_of
from cotune.report.html.curve_charts import step_chart
from cotune.report.html.html_file import facts
from cotune.report.html.page import (
    Tile,
    last_settings,
    render_contents,
    run_tiles,
    search_settings,
)
from cotune.runs.config import ObjectiveConfig
from cotune.text import counted


def render(contents: Contents, config: ObjectiveConfig) -> str:
    """Render the page."""
    curves = step_chart(contents)
    return render_contents(
        "objective.html.j2",
        contents,
        [curves],
        title=config.objective,
        banner=_banner(contents),
        tiles=tiles_of(contents),
        metric=label_of("value"),
        samples=None,
        curves=curves,
        finalists=contents.summary.finalists,
        settings=facts(
            ("Objective", config.objective),
            ("Direction", config.direction),
            *search_settings(config),
            ("Runs of each finalist", config.repeats),
            *last_settings(contents),
        ),
    )


def _banner(contents: Contents) -> str:
    """Say why the run is not complete; "" where it is."""
    summary = contents.summary
    if summary.state == "running":
        return "This run is still going."
    if summary.state == "complete":
        return ""
    message = f": {summary.message.rstrip('.')}" if summary.message else ""
    return f"This run {'failed' if summary.state == 'failed' else 'was interrupted'}{message}."


def tiles_of(contents: Contents) -> list[Tile]:
    """Return the headline numbers."""
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
