"""A comparison in the terminal: a line as each search begins and ends, a table, two plots."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.text import Text

from cotune.report.notebook.front_end import has_front_end
from cotune.report.terminal.lines import make_console, make_table
from cotune.text import counted
from cotune.tuning.best_so_far import sampled
from cotune.tuning.compare import ComparisonObserver
from cotune.tuning.comparison import HEADINGS, Comparison, SearchRecord, cells

_COLORS = {"tpe": "yellow", "random": "bright_black", "grid": "blue", "gp": "red", "qmc": "green"}
_MARKS = {"tpe": "t", "random": "r", "grid": "g", "gp": "p", "qmc": "q"}
_MARKS_APART = 5  # columns
_MOST_WIDTH = 110
_HEIGHT = 14
_MARGIN = 22  # of plotille: axes and their labels
_TICK = 10  # columns from one tick of plotille to the next


def make_comparison_observer(quiet: bool) -> ComparisonObserver:
    """Return one display in a notebook, lines elsewhere, nothing when quiet."""
    if quiet:
        return ComparisonObserver()
    if has_front_end():
        from cotune.report.notebook.live import NotebookComparisonObserver

        return NotebookComparisonObserver()
    return PlainComparisonObserver()


class PlainComparisonObserver(ComparisonObserver):
    """Progress on stderr, table and plots on stdout."""

    def __init__(self) -> None:
        self._console = make_console(stderr=True)

    def search_started(self, sampler: str, seed: int, number: int, of: int) -> None:
        self._say(f"{sampler}, seed {seed}: search {number} of {of}")

    def search_ended(self, search: SearchRecord, best: float | None) -> None:
        score = "no score" if best is None else f"best {best:.4f}"
        trials = counted(len(search.trials), "trial")
        self._say(
            f"{search.sampler}, seed {search.seed}: {trials} in {search.seconds:.1f} s, {score}"
        )

    def ended(self, comparison: Comparison) -> None:
        print_comparison(comparison)

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print the table of the searches that ended, their plots, and where the files are."""
    console = console or make_console()
    if not comparison.searches:
        console.print("no search ended")
        return
    lefts = ("sampler", "beat random")
    table = make_table(*(name if name in lefts else f">{name}" for name in HEADINGS))
    for column in table.columns:
        column.no_wrap = True
    for row in comparison.table:
        table.add_row(*cells(row))
    console.print(table)
    metric = f"validation {comparison.settings['metric']}"
    line = f"medians over the seeds; best: {metric}, optimistic, from the least to the most"
    if comparison.target is not None:
        line += f"; seconds: until half of the searches reached {comparison.target:.4f}"
    console.print(line, style="dim", soft_wrap=not console.is_terminal)
    # The plots are of braille, which ASCII has not.
    can_draw = console.encoding.lower().startswith("utf")
    for by, label in (("trials", "trials that ended"), ("seconds", "seconds of search")):
        plot = draw(comparison, by, console.width) if can_draw else None
        if plot is not None:
            console.print(f"\nbest {metric} so far against {label}", style="dim")
            console.print(plot, soft_wrap=True)
    console.print(f"\n{comparison.path / 'compare.html'}", style="dim", soft_wrap=True)


def draw(comparison: Comparison, by: str, width: int) -> Text | None:
    """Draw the medians as lines with the samplers' letters on them, in bands of dots.

    Args:
        by: ``trials`` or ``seconds``.
        width: Columns of the terminal.

    Returns:
        None where nothing has a score.
    """
    bands = {name: band for name, band in comparison.bands(by).items() if band.x}
    if not bands:
        return None
    import plotille

    figure: Any = plotille.Figure()
    ticks = max(3, (min(width, _MOST_WIDTH) - _MARGIN) // _TICK)
    figure.width, end = _axis(max(band.x[-1] for band in bands.values()), ticks)
    figure.height = _HEIGHT
    figure.origin = False
    figure.x_label, figure.y_label = by, str(comparison.settings["metric"])
    figure.x_ticks_fkt = lambda number, _: f"{number:.4g}"
    figure.y_ticks_fkt = lambda number, _: f"{number:.4f}"
    columns = [end * i / figure.width for i in range(figure.width + 1)]
    halves = [end * i / figure.width / 2 for i in range(2 * figure.width + 1)]  # braille's dots
    figure.set_x_limits(0.0, end)
    figure.set_y_limits(*comparison.focus(by))
    for name, band in bands.items():
        for edge in (band.low, band.high):
            figure.scatter(*sampled(band.x, edge, columns), lc=_COLORS[name])
    for name, band in bands.items():
        figure.plot(*sampled(band.x, band.median, halves), lc=_COLORS[name])
    for i, (name, band) in enumerate(bands.items()):
        places = columns[2 + i * _MARKS_APART :: len(bands) * _MARKS_APART]
        letters = sampled(band.x, band.median, places)
        figure.scatter(*letters, lc=_COLORS[name], marker=_MARKS[name])
    text = Text.from_ansi(figure.show(legend=False))
    text.append("\n" + " " * 11)
    for name in bands:
        text.append(f"  {_MARKS[name]}", style=_COLORS[name])
        text.append(f" {name}")
    text.append("   line: median; dots: least and most over the seeds", style="dim")
    return text


def _axis(end: float, most: int) -> tuple[int, float]:
    """Choose an axis with round ticks and little of it empty.

    Args:
        end: What has to fit, above 0.
        most: The most ticks, at least 3.

    Returns:
        Columns of the axis, and its end.
    """
    power = 10.0 ** math.floor(math.log10(end / most))
    steps = [round_ * power for round_ in (1, 2, 5, 10, 20)]
    axes = [(ticks * step, ticks) for step in steps for ticks in range((most + 1) // 2, most + 1)]
    fitting = [axis for axis in axes if axis[0] >= end * (1 - 1e-9)]
    last, ticks = min(fitting, key=lambda axis: (axis[0], -axis[1]))
    return ticks * _TICK, last
