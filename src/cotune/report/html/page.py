"""Assemble the report: text, tables, pictures and charts into one HTML file."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cotune.records import SIGNIFICANT, FinalResult
from cotune.report.html import text
from cotune.report.html.chart import Chart
from cotune.report.html.confusion_chart import confusion_chart
from cotune.report.html.contents import Contents, Row, gather, label_of
from cotune.report.html.curve_charts import final_curve_charts, trial_curve_charts
from cotune.report.html.html_file import render_page
from cotune.report.html.study_charts import (
    history_chart,
    importances_chart,
    parallel_chart,
    pareto_chart,
    slice_charts,
)
from cotune.runs.config import RunConfig
from cotune.runs.directory import RunDirectory
from cotune.runs.files import write_file
from cotune.text import counted, shown_class

MOST_ROWS = 50
"""Trials in the table; ``trials.csv`` has all."""

MOST_CLASS_NAMES = 60

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A PNG inside the page.

    Attributes:
        url: ``data:`` address with the whole file.
        width: Pixels.
        height: Pixels.
    """

    url: str
    width: int
    height: int


@dataclass(frozen=True)
class Tile:
    """A headline number: what it is, the number, and one line that says how to read it."""

    label: str
    number: str
    note: str


def build_report(run: RunDirectory) -> Path:
    """Write ``report.html`` into the run directory and return its path.

    An earlier report is replaced at once, or stays whole when this one cannot be written. A run
    that was interrupted, or whose trials all failed, gets a report of what there is.

    Raises:
        StorageError: The run cannot be read, or the report cannot be written.
    """
    page = render(gather(run), _picture(run.samples_path), _picture(run.mistakes_path))
    write_file(run.report_path, page)
    return run.report_path


def render(contents: Contents, samples: Picture | None, mistakes: Picture | None) -> str:
    """Render the page."""
    history, importances = history_chart(contents), importances_chart(contents)
    (slices, slices_note), parallel = slice_charts(contents), parallel_chart(contents)
    pareto = pareto_chart(contents)
    curves, final_curves = trial_curve_charts(contents), final_curve_charts(contents)
    confusion = confusion_chart(contents)
    drawn: list[Chart] = [history, *curves, importances, *slices, parallel, pareto]
    drawn += [*final_curves, confusion]
    return render_page(
        "page.html.j2",
        drawn,
        hover_labels(contents),
        brand="Cotune report",
        title=_config(contents).dataset.name,
        banner=_banner(contents),
        tiles=_tiles(contents),
        best=contents.summary.best,
        metric=label_of(contents.metric),
        final=contents.final,
        samples=samples,
        mistakes_picture=mistakes,
        mistakes=_mistakes(contents),
        history=history,
        curves=curves,
        importances=importances,
        slices=slices,
        slices_note=slices_note,
        parallel=parallel,
        pareto=pareto,
        final_curves=final_curves,
        confusion=confusion,
        rows=contents.ranked()[:MOST_ROWS],
        columns=columns_of(contents.ranked()[:MOST_ROWS]),
        trials=len(contents.trials),
        chosen=contents.best,
        settings=_settings(contents),
        command=contents.config.command or "",
        config_text=contents.config_text,
    )


def _picture(path: Path) -> Picture | None:
    """Read a PNG to embed; None when it is missing or no PNG."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if not content.startswith(_PNG) or len(content) < 24:
        return None
    return Picture(
        url="data:image/png;base64," + base64.b64encode(content).decode(),
        width=int.from_bytes(content[16:20], "big"),
        height=int.from_bytes(content[20:24], "big"),
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


def _config(contents: Contents) -> RunConfig:
    assert isinstance(contents.config, RunConfig)
    return contents.config


def _banner(contents: Contents) -> str:
    """Say that the run has no final model, or that it is no better than the baseline; else ""."""
    summary = contents.summary
    if contents.final is not None:
        line = contents.final.warning
        return f"{line[0].upper()}{line[1:]}." if line else ""
    message = f": {summary.message.rstrip('.')}" if summary.message else ""
    if summary.state == "running":
        lead = "This run is still going."
    elif summary.state == "failed":
        lead = f"This run failed{message}."
    elif summary.state == "complete":
        lead = "This run was a search only, as one of a comparison."
    else:
        lead = f"This run was interrupted{message}."
    failure = contents.commonest_failure()
    if failure is not None and not any(row.state == "complete" for row in contents.trials):
        reason, count = failure
        lead += (
            f" The commonest reason a trial failed ({count} of {len(contents.trials)}): {reason}."
        )
    return f"{lead} There is no final model, so nothing was measured on the test set."


def _tiles(contents: Contents) -> list[Tile]:
    summary, final = contents.summary, contents.final
    tiles = []
    if final is not None and final.test_accuracy is not None:
        on = f" on {_config(contents).dataset.rows.test:,} rows"
        note = f"95 % interval {text.interval(final.test_ci95)}; the final model, tested once{on}"
        tiles.append(Tile("Test accuracy", text.percent(final.test_accuracy), note))
        if final.baseline_test_scores:
            tiles.append(_baseline_tile(contents, "Baseline’s test", final.baseline_test_scores))
        if contents.metric != "accuracy" and contents.metric in final.test_scores:
            label = label_of(contents.metric).replace("validation", "Test")
            note = "the metric of the search, in the same reading"
            if contents.metric in final.default_test_scores:
                note += f"; the default’s: {final.default_test_scores[contents.metric]:.4f}"
            if contents.metric in final.baseline_test_scores:
                note += f"; the baseline’s: {final.baseline_test_scores[contents.metric]:.4f}"
            tiles.append(Tile(label, f"{final.test_scores[contents.metric]:.4f}", note))
    else:
        why = "no final model was tested" if final is None else "no test set: no test score"
        tiles.append(Tile("Test accuracy", "–", why))
    if final is not None and final.default_test_accuracy is not None:
        tiles.append(_default_tile(contents, final))
    if final is not None and final.ensemble is not None and final.ensemble.test_ci95 is not None:
        combined = final.ensemble
        members = counted(len(combined.members), "network")
        note = f"95 % interval {text.interval(combined.test_ci95)}; {members} averaged"
        tiles.append(Tile("Ensemble’s test accuracy", text.percent(combined.test_accuracy), note))
    for finalist in final.finalists if final is not None else []:
        if finalist.number == contents.best:
            note = "the chosen configuration, trained again with fresh seeds on other folds"
            if finalist.accuracy_sd is not None:
                deviation = text.percent(finalist.accuracy_sd)
                note = f"± {deviation}; {note}, {counted(finalist.trainings, 'time')}"
            tiles.append(Tile("Finalists’ mean", text.percent(finalist.accuracy), note))
    best = summary.best
    if best and best.validation_accuracy is not None:
        shown = best.validation_accuracy if best.search_best is None else best.search_best
        note = "the best of the search; optimistic, as it was chosen on this data"
        tiles.append(Tile("Validation accuracy", text.percent(shown), note))
        if best.baseline and (final is None or not final.baseline_test_scores):
            tiles.append(_baseline_tile(contents, "Baseline’s validation", best.baseline))
    else:
        tiles.append(Tile("Validation accuracy", "–", "no trial has a value"))
    return [*tiles, *run_tiles(contents)]


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


def _baseline_tile(contents: Contents, what: str, scores: Mapping[str, float]) -> Tile:
    """Return the tile of always predicting the most frequent class."""
    name = _config(contents).dataset.baseline_class
    which = f"{shown_class(name)}, " if name is not None else ""
    note = f"always predicting {which}the most frequent class; loss {scores['loss']:.4f}"
    return Tile(f"{what} accuracy", text.percent(scores["accuracy"]), note)


def _default_tile(contents: Contents, final: FinalResult) -> Tile:
    """Return the tile of the default's test score, and whether tuning did better."""
    accuracy, p_value = final.default_test_accuracy, final.default_p_value
    assert accuracy is not None
    assert final.test_accuracy is not None
    if final.default_number == contents.best:
        note = "nothing did better than the default configuration"
    else:
        change = "gained" if final.test_accuracy >= accuracy else "lost"
        noise = "beyond" if p_value is not None and p_value < SIGNIFICANT else "within"
        points = text.percent(abs(final.test_accuracy - accuracy))
        note = f"on the same rows; tuning {change} {points}, {noise} noise"
        if p_value is not None:
            note += f" (p = {text.value(p_value)})"
    return Tile("Default’s test accuracy", text.percent(accuracy), note)


def _mistakes(contents: Contents) -> list[dict[str, str]]:
    """Return the final model's worst mistakes in words, worst first."""
    if contents.final is None:
        return []
    return [
        {
            "row": f"{int(mistake['row'])}",
            "true": contents.class_name(mistake["true"]),
            "predicted": contents.class_name(mistake["predicted"]),
            "probability": text.percent(mistake["probability"], 1),
        }
        for mistake in contents.final.mistakes
        if {"row", "true", "predicted", "probability"} <= mistake.keys()
    ]


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Return the hyperparameters that any of the rows has, in the order of ``trials.csv``."""
    return list(dict.fromkeys(name for row in rows for name in row.params))


def _settings(contents: Contents) -> list[tuple[str, str]]:
    """Return the run's settings as labels and values; unknown ones are left out."""
    config = _config(contents)
    dataset, timeout = config.dataset, config.timeout_seconds
    names = contents.classes
    listed = ", ".join(names[:MOST_CLASS_NAMES])
    if len(names) > MOST_CLASS_NAMES:
        listed += f" and {counted(len(names) - MOST_CLASS_NAMES, 'other')}"
    items: list[tuple[str, Any]] = [
        ("Dataset", dataset.name),
        ("Fingerprint of the data", dataset.fingerprint),
        ("Rows", _counts(asdict(dataset.rows))),
        ("Shape of an input", text.value(dataset.input_shape or "")),
        ("Kinds of columns", _counts(dataset.columns)),
        (f"Classes ({len(names)})", listed),
        ("Metric", label_of(contents.metric)),
        ("Sampler", config.sampler),
        ("Pruner", config.pruner),
        ("Seed", config.seed),
        ("Trials asked for", config.n_trials),
        ("Time limit", None if timeout is None else text.duration(timeout)),
        ("Workers", config.workers),
        ("Trials trained at a time in each", config.lanes),
        ("Device", config.device),
    ]
    if mean := contents.summary.lanes.mean:
        items.append(("Lanes in a cohort", f"{mean:.1f} on average"))
    versions = [f"{name} {version}" for name, version in config.versions.items()]
    items.append(("Versions", ", ".join(versions)))
    items.append(("Time in Optuna and storage", text.duration(contents.summary.seconds.study)))
    return [(label, str(item)) for label, item in items if item not in (None, "")]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
