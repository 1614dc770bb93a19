"""Rendering of a page as one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cotune.report.html import text
from cotune.report.html.chart import Chart


def render_page(
    template: str, charts: Sequence[Chart], hover: Mapping[int, str], **context: Any
) -> str:
    """Render a template that extends ``base.html.j2``.

    Args:
        charts: All that the page draws.
        hover: What a trial's points say, by number, in plotly.js's markup.
        context: What else the template names.
    """
    import jinja2
    from markupsafe import Markup
    from plotly.io.json import to_json_plotly
    from plotly.offline import get_plotlyjs

    data = {
        "charts": {chart.name: chart.figure for chart in charts if chart.figure is not None},
        "trials": hover,
    }
    # Browsers normalise line ends before they hash an inline script, so do it first.
    plotly_js = get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")
    page_js = read_template("page.js")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(value=text.value, duration=text.duration, percent=text.percent)
    return environment.get_template(template).render(
        policy=_policy(plotly_js, page_js),
        style=Markup(read_template("page.css")),
        plotly_js=Markup(plotly_js),
        page_js=Markup(page_js),
        data=Markup(inert_json(to_json_plotly(data, engine="json"))),
        **context,
    )


def facts(*items: tuple[str, object]) -> list[tuple[str, str]]:
    """Return labels and what stands beside them; what is unknown is left out."""
    return [(label, str(item)) for label, item in items if item not in (None, "")]


def named_values(values: Mapping[str, object]) -> str:
    """Return names and values on one line: ``torch 2.9, optuna 4.5``."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def read_template(name: str) -> str:
    """Return a file of the folder of templates."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def inert_json(content: str) -> str:
    """Escape JSON so that it cannot end the script element it stands in."""
    return content.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(*scripts: str) -> str:
    """Return a Content-Security-Policy that runs these scripts alone and fetches nothing."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
