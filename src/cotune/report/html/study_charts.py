"""Charts of the study by Optuna's own plots: history, importances, slices, parallel coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cotune.report.html.chart import (
    BLUE,
    GREY,
    HEIGHT,
    ORANGE,
    Chart,
    axis,
    drawn,
    focus,
    log_ticks,
    missing,
    outside,
    plain,
    points,
    rounded,
    tick,
    whole_ticks,
)
from cotune.report.html.contents import Contents, label_of
from cotune.runs.config import RunConfig
from cotune.space.quiet_optuna import quiet_optuna
from cotune.text import counted

if TYPE_CHECKING:
    import optuna

ENOUGH_FOR_IMPORTANCES = 10
"""Trials below which importances are noise; with fewer complete ones, pruned ones count too."""

MOST_LINES = 200
"""Lines in the parallel coordinates: the best trials."""


def history_chart(contents: Contents) -> Chart:
    """Draw every trial's value in the order of their numbers, and the best so far."""
    name, title = "history", "Optimization history"
    complete = _complete(contents)
    pruned = [row for row in contents.trials if row.state == "pruned" and row.value is not None]
    if contents.study is None or not complete:
        return missing(name, title, _needs(1, len(complete)))
    from optuna.visualization import plot_optimization_history

    label = label_of(contents.metric)
    figure = _plot(plot_optimization_history, contents.study, target_name=label)
    if isinstance(figure, str):
        return missing(name, title, figure)
    ended = {trial.number: trial.value for trial in complete}
    cut = {row.number: row.value for row in pruned}
    values = [float(value) for value in (*ended.values(), *cut.values()) if value is not None]
    traces = []
    if pruned:
        look = {"size": 5, "color": GREY, "opacity": 0.6}
        traces.append(_trial_points(cut, "pruned, last value", look))
    look = {"size": 7, "color": BLUE, "opacity": 0.85}
    traces.append(_trial_points(ended, "complete", look))
    for line in figure.data:
        if line.mode == "lines":
            look = {"color": ORANGE, "width": 2, "shape": "hv"}
            best = points(line.x, line.y, "best so far", mode="lines", line=look, hoverinfo="skip")
            traces.append(best)
    limits, hidden = focus(values, contents.maximize, share=0.75)
    shown = drawn(traces, xaxis=axis("trial"), yaxis=axis(label, limits))
    return Chart(name, title, shown, outside(hidden).strip())


def importances_chart(contents: Contents) -> Chart:
    """Draw how much each hyperparameter decides whether a trial is among the best tenth."""
    name, title = "importances", "Hyperparameter importances"
    study, trials, kind = _with_values(contents)
    if study is None or len(trials) < ENOUGH_FOR_IMPORTANCES:
        return missing(name, title, _needs(ENOUGH_FOR_IMPORTANCES, len(trials), kind))
    if len({trial.value for trial in trials}) < 2:
        return missing(name, title, f"Not drawn: all {kind}s have the same value.")
    from optuna.importance import PedAnovaImportanceEvaluator
    from optuna.visualization import plot_param_importances

    # fANOVA takes 2 s for 200 complete trials and 27 s for 1,000, and leaves out conditional
    # hyperparameters; PED-ANOVA takes 0.05 s for 1,000 and has them all.
    evaluator = PedAnovaImportanceEvaluator()
    figure = _plot(plot_param_importances, study, evaluator=evaluator)
    if isinstance(figure, str):
        return missing(name, title, figure)
    bars = len(figure.data[0].y) if figure.data else 0
    if bars == 0:
        return missing(name, title, "Not drawn: no hyperparameter varies.")
    figure.update_traces(
        marker={"color": BLUE}, hovertemplate="%{y}: %{x:.3f}<extra></extra>", width=0.65
    )
    _cut_ticks(figure, list(figure.data[0].y), "y")
    most = max(float(x) for x in figure.data[0].x)
    figure.update_layout(
        showlegend=False,
        xaxis={"title": {"text": "importance"}, "range": [0, 1.12 * most or 1]},
        yaxis={"title": {"text": ""}, "showgrid": False},
    )
    note = (
        f"By PED-ANOVA: how much a hyperparameter's values in the best tenth of the {kind}s "
        "differ from its values in all of them."
    )
    if len(trials) < 50:
        note += f" From {len(trials)} trials this is rough."
    return Chart(name, title, plain(figure), note, height=max(200, 110 + 30 * bars))


def slice_charts(contents: Contents) -> tuple[list[Chart], str]:
    """Draw each hyperparameter's values against the trials'; the second result is a note."""
    study, trials, kind = _with_values(contents)
    if study is None or len(trials) < 2:
        return [], _needs(2, len(trials), kind)
    from optuna.visualization import plot_slice

    values = [float(trial.value) for trial in trials if trial.value is not None]
    limits, hidden = focus(values, contents.maximize)
    charts = []
    for index, param in enumerate(sorted({name for trial in trials for name in trial.params})):
        name = f"slice-{index}"
        figure = _plot(plot_slice, study, params=[param])
        if isinstance(figure, str):
            charts.append(missing(name, param, figure))
            continue
        trace = figure.data[0]
        numbers = list(trace.marker.color)
        trace.marker = {
            "size": 6,
            "opacity": 0.8,
            "color": numbers,
            "colorscale": [[0, "#a9c6f5"], [1, "#1f56b3"]],
            "showscale": False,
        }
        trace.customdata = numbers
        trace.meta = "trial"
        trace.hovertemplate = "%{customdata}<br>value %{y:.4f}<extra></extra>"
        categorical = figure.layout.xaxis.type == "category"
        if categorical:
            labels = list(figure.layout.xaxis.categoryarray)
            _cut_ticks(figure, labels, "x", [label.strip("'") for label in labels])
            figure.update_xaxes(range=[-0.5, len(labels) - 0.5])
        elif figure.layout.xaxis.type == "log":
            figure.update_xaxes(**log_ticks(min(trace.x), max(trace.x)))
        elif all(isinstance(x, int) for x in trace.x):
            figure.update_xaxes(**whole_ticks(min(trace.x), max(trace.x)))
        inside = limits is not None and any(limits[0] <= y <= limits[1] for y in trace.y)
        figure.update_layout(
            xaxis={"title": {"text": ""}, "nticks": 6}, yaxis=axis("", limits if inside else None)
        )
        charts.append(Chart(name, param, plain(figure), height=230))
    note = (
        f"A point is a {kind}, darker the later it was asked for; the vertical axis is "
        f"{label_of(contents.metric)}.{outside(hidden)}"
    )
    return charts, note


def parallel_chart(contents: Contents) -> Chart:
    """Draw every trial as a line through its hyperparameters."""
    name, title = "parallel", "Parallel coordinates"
    study, trials, kind = _with_values(contents)
    if study is None or len(trials) < 2:
        return missing(name, title, _needs(2, len(trials), kind))
    import optuna
    from optuna.visualization import plot_parallel_coordinate

    shown = sorted(trials, key=lambda trial: trial.value or 0.0, reverse=contents.maximize)
    shown = shown[:MOST_LINES]
    with quiet_optuna():
        view = optuna.create_study(direction=study.direction)
        view.add_trials(shown)
    figure = _plot(plot_parallel_coordinate, view, target_name="value")
    if isinstance(figure, str):
        return missing(name, title, figure)
    # Optuna's colours run from the worst to the best value, where one hopeless trial makes all
    # others look the same, and fade to white. A line begins at its trial's value.
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    lines.sort(key=lambda trace: trace.y[0], reverse=contents.maximize)
    figure.data = lines[::-1]
    for rank, trace in enumerate(lines):
        strength = 1 - rank / len(lines)
        trace.opacity = 1.0
        if rank == 0:
            trace.line = {"color": ORANGE, "width": 2.5}
        else:
            alpha = round(0.14 + 0.6 * strength**3, 3)
            trace.line = {"color": f"rgba(63,127,224,{alpha})", "width": 1.3}
    axes = list(figure.layout.xaxis.ticktext)
    figure.update_layout(
        plot_bgcolor=None,
        showlegend=False,
        xaxis={"ticktext": [tick(str(axis), 14) for axis in axes], "fixedrange": True},
    )
    note = (
        f"A line is a {kind}, stronger the better its value ({label_of(contents.metric)}); "
        "the best is orange."
    )
    if len(trials) > MOST_LINES:
        note += f" The best {MOST_LINES} of {len(trials):,} are drawn."
    return Chart(name, title, plain(figure), note, height=HEIGHT, width=90 * len(axes))


def _trial_points(
    values: Mapping[int, float | None], name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    """Return a trace of trials by number."""
    numbers = list(values)
    return points(
        numbers,
        rounded([value for value in values.values() if value is not None]),
        name,
        marker=marker,
        customdata=numbers,
        meta="trial",
        hovertemplate="%{customdata}<br>value %{y:.4f}<extra></extra>",
    )


def _plot(plot: Callable[..., Any], study: optuna.Study, **arguments: Any) -> Any:
    """Return what Optuna plots, or a sentence on why it cannot, which must not cost the report."""
    try:
        with quiet_optuna():
            return plot(study, **arguments)
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        return f"Not drawn: Optuna could not plot it ({why})."


def _cut_ticks(figure: Any, places: list[str], axis: str, labels: list[str] | None = None) -> None:
    ticks = {
        "tickmode": "array",
        "tickvals": list(range(len(places))),
        "ticktext": [tick(label) for label in labels or places],
    }
    figure.update_layout({f"{axis}axis": ticks})


def _complete(contents: Contents) -> list[optuna.trial.FrozenTrial]:
    """Return the complete trials, in order of their numbers."""
    if contents.study is None:
        return []
    from optuna.trial import TrialState

    return contents.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _with_values(
    contents: Contents,
) -> tuple[optuna.Study | None, list[optuna.trial.FrozenTrial], str]:
    """Return the study and the trials to draw, and the singular name of the trials.

    The complete trials, where there are enough of them; else the pruned ones too, by their last
    value, in a study in memory that Optuna's plots take for complete.
    """
    complete = _complete(contents)
    if contents.study is None or len(complete) >= ENOUGH_FOR_IMPORTANCES:
        return contents.study, complete, "complete trial"
    import optuna
    from optuna.trial import TrialState

    drawn = (TrialState.COMPLETE, TrialState.PRUNED)
    with quiet_optuna():
        view = optuna.create_study(direction=contents.study.direction)
        for trial in contents.study.get_trials(deepcopy=False):
            has_value = trial.state in drawn and trial.value is not None
            view.add_trial(
                optuna.create_trial(
                    # The others stay in, as failed ones, so that all keep their numbers.
                    state=TrialState.COMPLETE if has_value else TrialState.FAIL,
                    value=trial.value if has_value else None,
                    params=trial.params,
                    distributions=trial.distributions,
                )
            )
    trials = view.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return view, trials, "complete or pruned trial"


def _needs(count: int, found: int, kind: str = "complete trial") -> str:
    has = "none" if found == 0 else str(found)
    return f"Not drawn: it needs {counted(count, kind)}; this run has {has}."


def pareto_chart(contents: Contents) -> Chart:
    """Draw the complete trials by metric and first cost, the Pareto front in another colour."""
    title = "Pareto front"
    costs = contents.config.costs if isinstance(contents.config, RunConfig) else []
    if not costs:
        return missing("pareto", title, "")
    cost, label = costs[0], label_of(contents.metric)
    complete = [
        row
        for row in contents.trials
        if row.state == "complete" and cost in row.params and row.value
    ]
    if not complete:
        return missing("pareto", title, "No trial is complete yet.")
    front = {one.number for one in contents.summary.pareto}
    hover = f"trial %{{customdata}}<br>{cost} %{{x:,.4~g}}<br>{label} %{{y:.4f}}<extra></extra>"
    traces = []
    for name, color in (("others", GREY), ("front", ORANGE)):
        rows = [row for row in complete if (row.number in front) == (name == "front")]
        x, y = [float(row.params[cost]) for row in rows], [row.value for row in rows]
        more = {"customdata": [row.number for row in rows], "hovertemplate": hover}
        traces.append(points(x, y, name, marker={"color": color, "size": 8}, **more))
    figure = drawn(traces, xaxis=axis(cost, type="log"), yaxis=axis(label))
    note = "No other complete trial beats those of the front in every objective."
    return Chart("pareto", title, figure, note)
