"""The report of a run on data: its final model, its test and its classes, beside the search."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cotune.diagnostics import Calibration, Reliability
from cotune.records import FinalResult
from cotune.report.gain import gain_over
from cotune.report.html import text
from cotune.report.html.columns_chart import columns_chart
from cotune.report.html.confusion_chart import confusion_chart
from cotune.report.html.contents import Contents, label_of
from cotune.report.html.curve_charts import (
    chosen_curve_charts,
    final_curve_charts,
    trial_curve_charts,
)
from cotune.report.html.html_file import facts
from cotune.report.html.page import (
    Tile,
    last_settings,
    render_contents,
    run_tiles,
    search_settings,
)
from cotune.report.html.reliability_chart import reliability_chart
from cotune.runs.config import RunConfig
from cotune.runs.directory import RunDirectory
from cotune.text import counted, shown_class

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


def render(run: RunDirectory, contents: Contents, config: RunConfig) -> str:
    """Render the page."""
    curves = [*trial_curve_charts(contents), *chosen_curve_charts(contents)]
    final_curves = final_curve_charts(contents)
    confusion, reliability = confusion_chart(contents), reliability_chart(contents)
    columns = columns_chart(contents)
    return render_contents(
        "page.html.j2",
        contents,
        [*curves, *final_curves, confusion, reliability, columns],
        title=config.dataset.name,
        banner=_banner(contents),
        tiles=tiles_of(contents, config),
        metric=label_of(contents.metric),
        final=contents.final,
        samples=read_picture(run.samples_path),
        mistakes_picture=read_picture(run.mistakes_path),
        mistakes=_mistakes(contents),
        curves=curves,
        final_curves=final_curves,
        confusion=confusion,
        reliability=reliability,
        importances_of_columns=columns,
        settings=_settings(contents, config),
    )


def read_picture(path: Path) -> Picture | None:
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


def tiles_of(contents: Contents, config: RunConfig) -> list[Tile]:
    """Return the headline numbers."""
    summary, final = contents.summary, contents.final
    tiles = []
    if final is not None and final.test_accuracy is not None:
        on = f" on {config.dataset.rows.test:,} rows"
        note = f"95 % interval {text.interval(final.test_ci95)}; the final model, tested once{on}"
        tiles.append(Tile("Test accuracy", text.percent(final.test_accuracy), note))
        if final.baseline_test_scores:
            tiles.append(_baseline_tile(config, "Baseline’s test", final.baseline_test_scores))
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
    if final is not None and final.calibration is not None and final.calibration.test:
        tiles.append(_calibration_tile(final.calibration, final.calibration.test))
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
            tiles.append(_baseline_tile(config, "Baseline’s validation", best.baseline))
    else:
        tiles.append(Tile("Validation accuracy", "–", "no trial has a value"))
    return [*tiles, *run_tiles(contents)]


def _baseline_tile(config: RunConfig, what: str, scores: Mapping[str, float]) -> Tile:
    """Return the tile of always predicting the most frequent class."""
    name = config.dataset.baseline_class
    which = f"{shown_class(name)}, " if name is not None else ""
    note = f"always predicting {which}the most frequent class; loss {scores['loss']:.4f}"
    return Tile(f"{what} accuracy", text.percent(scores["accuracy"]), note)


def _calibration_tile(calibration: Calibration, test: tuple[Reliability, Reliability]) -> Tile:
    """Return the tile of the calibration error on the test rows."""
    before, after = test
    note = f"log loss {after.loss:.4f}; {calibration.described}"
    if calibration.temperature != 1.0:
        unscaled = f"{text.percent(before.error)} and {before.loss:.4f} without"
        note = f"{note}; {unscaled}"
    return Tile("Calibration error", text.percent(after.error), note)


def _default_tile(contents: Contents, final: FinalResult) -> Tile:
    """Return the tile of the default's test score, and whether tuning did better."""
    accuracy, p_value = final.default_test_accuracy, final.default_p_value
    assert accuracy is not None
    assert final.test_accuracy is not None
    if final.default_number == contents.best:
        note = "nothing did better than the default configuration"
    else:
        verb, points, noise = gain_over(accuracy, final.test_accuracy, p_value)
        note = f"on the same rows; tuning {verb} {text.percent(points)}, {noise} noise"
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


def _settings(contents: Contents, config: RunConfig) -> list[tuple[str, str]]:
    """Return the run's settings as labels and values."""
    dataset, names, mean = config.dataset, contents.classes, contents.summary.lanes.mean
    classes = ", ".join(names[:MOST_CLASS_NAMES])
    if len(names) > MOST_CLASS_NAMES:
        classes += f" and {counted(len(names) - MOST_CLASS_NAMES, 'other')}"
    return facts(
        ("Dataset", dataset.name),
        ("Fingerprint of the data", dataset.fingerprint),
        ("Rows", _counts(asdict(dataset.rows))),
        ("Shape of an input", text.value(dataset.input_shape or "")),
        ("Kinds of columns", _counts(dataset.columns)),
        (f"Classes ({len(names)})", classes),
        ("Metric", label_of(contents.metric)),
        *search_settings(config),
        ("Trials trained at a time in each", config.lanes),
        ("Device", config.device),
        ("Lanes in a cohort", f"{mean:.1f} on average" if mean else ""),
        *last_settings(contents),
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
