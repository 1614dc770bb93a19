"""How often the final model is right, by how sure it is: before and after temperature scaling."""

from __future__ import annotations

from cotune.diagnostics import Calibration, Reliability
from cotune.report.html.chart import BLUE, GREY, Chart, axis, drawn, missing, points, rounded
from cotune.report.html.contents import Contents
from cotune.report.html.text import percent


def reliability_chart(contents: Contents) -> Chart:
    """Draw accuracy by probability on the test rows; without any, on the held-out rows."""
    name, title = "reliability", "Reliability of the probabilities"
    calibration = contents.final.calibration if contents.final is not None else None
    if calibration is None:
        return missing(name, title, "Not drawn: it was not recorded.")
    pair = calibration.test or calibration.held_out
    if pair is None:
        return missing(name, title, f"Not drawn: {calibration.reason}.")
    drawn_ones = {"as predicted": (pair[1], BLUE)}
    if calibration.temperature != 1.0 or not calibration.test:
        drawn_ones = {"unscaled": (pair[0], GREY), "scaled": (pair[1], BLUE)}
    low = min(side for one, _ in drawn_ones.values() for bin in one.bins for side in bin[:2])
    ends = [max(0.0, low - 0.05), 1.01]
    dashed = {"color": GREY, "dash": "dot", "width": 1}
    traces = [points(ends, ends, "right as often as sure", mode="lines", line=dashed)]
    for label, (one, color) in drawn_ones.items():
        sure, right, rows = zip(*one.bins, strict=True)
        traces.append(
            points(
                rounded(sure),
                rounded(right),
                label,
                mode="lines+markers",
                line={"color": color, "width": 2},
                marker={"size": 7},
                customdata=list(rows),
                hovertemplate="sure %{x:.1%}<br>right %{y:.1%}<br>%{customdata} rows"
                "<extra></extra>",
            )
        )
    figure = drawn(
        traces,
        xaxis=axis("mean probability of the predicted class", ends, tickformat=".0%"),
        yaxis=axis("share that is right", ends, tickformat=".0%"),
    )
    return Chart(name, title, figure, _note(calibration, pair))


def _note(calibration: Calibration, pair: tuple[Reliability, Reliability]) -> str:
    before, after = pair
    part = "Test" if calibration.test else "Held-out"
    lead = f"{part} rows by their highest probability, in {after.described}."
    scores = f"Log loss {after.loss:.4f}, expected calibration error {percent(after.error)}"
    if calibration.temperature != 1.0 or not calibration.test:
        scores = (
            f"Log loss {before.loss:.4f} unscaled and {after.loss:.4f} scaled, expected "
            f"calibration error {percent(before.error)} and {percent(after.error)}"
        )
    chance = f"by chance alone, about {percent(after.chance)}"
    described = calibration.described
    return f"{lead} {scores}; {chance}. {described[0].upper()}{described[1:]}."
