"""Plotly figures that need no network, in the page's light or dark colours."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs
from sphinx.application import Sphinx

_REMOTE_SCRIPT = re.compile(r'<script[^>]*\bsrc="https?://[^>]*></script>')


def setup(app: Sphinx) -> dict[str, Any]:
    """Have kernels show figures as HTML, and pages load one copy of plotly.js."""
    os.environ["PLOTLY_RENDERER"] = "sphinx_gallery"
    app.connect("builder-inited", _write_plotly)
    app.connect("html-page-context", _load_plotly)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_plotly(app: Sphinx) -> None:
    static = Path(app.outdir, "_static")
    static.mkdir(parents=True, exist_ok=True)
    (static / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


def _load_plotly(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    if "plotly-graph-div" in context.get("body", ""):
        context["body"] = _REMOTE_SCRIPT.sub("", context["body"])
        app.add_js_file("plotly.min.js")
        app.add_js_file("figures.js")
