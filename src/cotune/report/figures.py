"""The report's charts as Plotly figures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotune.report.html.chart import Chart
from cotune.report.html.columns_chart import columns_chart
from cotune.report.html.confusion_chart import confusion_chart
from cotune.report.html.contents import Contents, gather
from cotune.report.html.curve_charts import (
    chosen_curve_charts,
    step_chart,
    trial_curve_charts,
)
from cotune.report.html.page import hover_labels
from cotune.report.html.reliability_chart import reliability_chart
from cotune.report.html.run_page import read_picture
from cotune.report.html.study_charts import (
    history_chart,
    importances_chart,
    parallel_chart,
    slice_charts,
)
from cotune.runs.config import ObjectiveConfig
from cotune.runs.directory import RunDirectory

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class Figures:
    """The charts of a run's report, drawn from its directory as it is now."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._contents: Contents = gather(run)

    def history(self) -> Figure:
        """Draw every trial's value in the order of their numbers, and the best so far."""
        return self._figure(history_chart(self._contents))

    def importances(self) -> Figure:
        """Draw how much each hyperparameter decides whether a trial is among the best."""
        return self._figure(importances_chart(self._contents))

    def parallel(self) -> Figure:
        """Draw every trial as a line through its hyperparameters."""
        return self._figure(parallel_chart(self._contents))

    def slices(self) -> Figure:
        """Draw each hyperparameter's values against the trials'."""
        charts, note = slice_charts(self._contents)
        drawn = [chart for chart in charts if chart.figure is not None]
        if not drawn:
            return _empty("Slices", note)
        from plotly.subplots import make_subplots

        columns = min(3, len(drawn))
        rows = -(-len(drawn) // columns)
        titles = [chart.title for chart in drawn]
        figure = make_subplots(rows, columns, subplot_titles=titles, shared_yaxes=False)
        for i, chart in enumerate(drawn):
            at = {"row": i // columns + 1, "col": i % columns + 1}
            content = self._with_labels(chart.figure or {})
            for trace in content["data"]:
                figure.add_trace({**trace, "showlegend": False}, **at)
            for name, update in (("xaxis", figure.update_xaxes), ("yaxis", figure.update_yaxes)):
                axis = {k: v for k, v in content["layout"].get(name, {}).items() if k != "anchor"}
                update(**{k: v for k, v in axis.items() if k != "domain"}, **at)
        figure.update_layout(title="Slices", height=120 + 220 * rows, template="plotly_white")
        return figure

    def curves(self, metric: str | None = None) -> Figure:
        """Draw what all trials came to after every epoch.

        Args:
            metric: ``accuracy``, ``loss``, or the run's own, which it is by default.
        """
        contents = self._contents
        if isinstance(contents.config, ObjectiveConfig):
            return self._figure(step_chart(contents))
        return self._figure(_named(trial_curve_charts(contents), metric or contents.metric))

    def learning(self, metric: str = "accuracy") -> Figure:
        """Draw the chosen trial's score on training and validation rows after every epoch.

        Args:
            metric: ``accuracy`` or ``loss``.
        """
        return self._figure(_named(chosen_curve_charts(self._contents), metric))

    def confusion(self) -> Figure:
        """Draw which classes the final model took for which, on the test set."""
        return self._figure(confusion_chart(self._contents))

    def calibration(self) -> Figure:
        """Draw how often the final model is right, by how sure it is."""
        return self._figure(reliability_chart(self._contents))

    def columns(self) -> Figure:
        """Draw how much the score falls where a column's cells are shuffled."""
        return self._figure(columns_chart(self._contents))

    def mistakes(self) -> Figure:
        """Show the final model's worst mistakes on the test set."""
        return _picture("Worst mistakes", self._run.mistakes_path)

    def samples(self) -> Figure:
        """Show some training images of each class."""
        return _picture("Samples", self._run.samples_path)

    def _figure(self, chart: Chart) -> Figure:
        if chart.figure is None:
            return _empty(chart.title, chart.note)
        import plotly.graph_objects as go

        content = self._with_labels(chart.figure)
        figure = go.Figure(content["data"], content["layout"])
        note = f"<br><sup>{chart.note}</sup>" if chart.note else ""
        figure.update_layout(
            title=f"{chart.title}{note}", height=chart.height + 60, template="plotly_white"
        )
        return figure

    def _with_labels(self, figure: Mapping[str, Any]) -> dict[str, Any]:
        """Have hover texts say a trial's hyperparameters; the page has a script for that."""
        labels = hover_labels(self._contents)
        traces = []
        for trace in figure["data"]:
            if trace.get("meta") == "trial" and trace.get("customdata") is not None:
                texts = [labels.get(number, "") for number in trace["customdata"]]
                template = trace.get("hovertemplate", "").replace("%{customdata}", "%{text}")
                trace = {**trace, "text": texts, "hovertemplate": template}
            traces.append(trace)
        return {"data": traces, "layout": dict(figure["layout"])}


def _named(charts: Sequence[Chart], metric: str) -> Chart:
    for chart in charts:
        if chart.name.endswith(f"-{metric}"):
            return chart
    names = ", ".join(chart.name.split("-", 1)[1] for chart in charts)
    raise ValueError(f"metric: {metric!r} is not one of {names}")


def _empty(title: str, why: str) -> Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_annotation(text=why, showarrow=False, font={"size": 14})
    figure.update_layout(title=title, height=220, template="plotly_white")
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def _picture(title: str, path: Path) -> Figure:
    """Return a PNG as a figure."""
    picture = read_picture(path)
    if picture is None:
        return _empty(title, "There are no pictures.")
    import plotly.graph_objects as go

    figure = go.Figure()
    content = base64.b64encode(path.read_bytes()).decode()
    figure.add_layout_image(
        source=f"data:image/png;base64,{content}",
        x=0,
        y=0,
        sizex=picture.width,
        sizey=picture.height,
        xref="x",
        yref="y",
        yanchor="top",
    )
    figure.update_xaxes(visible=False, range=[0, picture.width])
    figure.update_yaxes(visible=False, range=[-picture.height, 0], scaleanchor="x")
    width = min(960, max(480, picture.width))
    figure.update_layout(
        title=title,
        template="plotly_white",
        width=width,
        height=int(80 + width * picture.height / picture.width),
        margin={"l": 10, "r": 10, "t": 50, "b": 10},
    )
    return figure
