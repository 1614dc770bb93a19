"""How Sphinx builds the site; `make docs` runs it."""

import sys
from pathlib import Path

from cotune.version import VERSION

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "Cotune"
author = "The Cotune developers"
copyright = author
version = release = VERSION

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "myst_nb",
    "figures",
    "hyperparameters",
]
exclude_patterns = ["_build", "_ext", "conf.py"]

# Links to headings, as on GitHub.
myst_heading_anchors = 3

# Tutorials run where nothing of the checkout is in their way, and again only when they change.
nb_custom_formats = {".py": "notebooks.read"}
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "executed")
nb_execution_in_temp = True
nb_execution_timeout = 180
nb_execution_raise_on_error = True
nb_output_stderr = "warn"

smartquotes = False
default_role = "code"  # single backquotes, as in the commands' help
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the text says more: "seconds, or 90s, 5m"
napoleon_numpy_docstring = False

html_theme = "pydata_sphinx_theme"
html_title = "Cotune"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {"index": []}
html_show_sphinx = False
html_theme_options = {
    "logo": {"text": "Cotune"},
    "navbar_align": "left",
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
