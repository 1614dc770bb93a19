"""Whether a notebook is there to draw in."""

from __future__ import annotations

import sys
from typing import Any


def has_front_end() -> bool:
    """Return whether this process is a kernel that a notebook is connected to."""
    if "IPython" not in sys.modules:  # or importing it would take half a second
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


class Display:
    """One output of a cell that is replaced by what is shown next."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, html: str) -> None:
        """Show HTML in place of what was shown before."""
        from IPython.display import HTML, display

        if self._handle is None:
            self._handle = display(HTML(html), display_id=True)
        else:
            self._handle.update(HTML(html))
