"""A run's result as the output of a cell."""

from __future__ import annotations

from cotune.report.html import objective_page, text
from cotune.report.html.contents import gather
from cotune.report.html.run_page import tiles_of
from cotune.report.notebook.markup import block, heading, line, table, tiles
from cotune.runs.config import ObjectiveConfig
from cotune.runs.directory import RunDirectory


def result_html(run: RunDirectory) -> str:
    """Return the report's tiles, the best hyperparameters, and where the files are."""
    contents = gather(run)
    config, summary = contents.config, contents.summary
    if isinstance(config, ObjectiveConfig):
        name, shown = config.objective, objective_page.tiles_of(contents)
    else:
        name, shown = config.dataset.name, tiles_of(contents, config)
    parts = [heading(f"{name}: {summary.state}")]
    if contents.final is not None and contents.final.warning:
        parts.append(line(contents.final.warning))
    elif summary.message:
        parts.append(line(summary.message))
    parts.append(tiles((tile.label, tile.number, tile.note) for tile in shown))
    if summary.best is not None:
        rows = [(key, text.value(value)) for key, value in summary.best.params.items()]
        parts.append(line(f"trial {summary.best.number}, the best hyperparameters", dim=True))
        # Two columns, as a narrow table of twenty rows is long.
        half = -(-len(rows) // 2)
        left, right = rows[:half], [*rows[half:], *[("", "")] * (2 * half - len(rows))]
        parts.append(table(["", "", "", ""], [(*a, *b) for a, b in zip(left, right, strict=True)]))
    files = [run.path]
    files += [path for path in (run.report_path,) if path.exists()]
    parts += [line(str(path), dim=True) for path in files]
    return block(*parts)
