"""Tutorials as notebooks: jupytext's percent format, for the kernel of this Python."""

from __future__ import annotations

import jupytext
from nbformat import NotebookNode


def read(text: str) -> NotebookNode:
    """Read a Python file with `# %%` cells."""
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    return notebook
