"""A page that follows a run: its report, drawn again as the run goes on."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Final

from cotune.report import render_report, server
from cotune.report.server import Answer, Handler, Refusal, make_page
from cotune.runs.directory import RunDirectory

_LEAST_SECONDS: Final = 2.0  # between two drawings
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Cotune</title>
<meta name="viewport" content="width=device-width">
<style nonce="@NONCE@">
html, body { margin: 0; height: 100%; background: Canvas; color: CanvasText;
  font-family: system-ui, sans-serif }
body { display: flex; flex-direction: column }
#state { padding: 6px 16px; font-size: 13px; border-bottom: 1px solid rgba(128, 128, 128, .4) }
#pages { position: relative; flex: 1 }
iframe { position: absolute; inset: 0; width: 100%; height: 100%; border: 0 }
.next { visibility: hidden }
</style></head>
<body><div id="state" role="status">loading</div><div id="pages"></div>
<script nonce="@NONCE@">
const query = location.search, pages = document.getElementById("pages");
const state = document.getElementById("state");
let shown = "", loading = false;
function draw(version) {
  loading = true;
  const next = document.createElement("iframe"), now = pages.querySelector("iframe");
  next.className = "next";
  next.title = "report";
  next.src = "/report" + query;
  // The new page takes the place of the old one when it is drawn, at the same height.
  next.onload = () => {
    if (now) next.contentWindow.scrollTo(0, now.contentWindow.scrollY);
    next.className = "";
    if (now) now.remove();
    shown = version;
    loading = false;
  };
  pages.append(next);
}
async function look() {
  try {
    const told = await (await fetch("/state" + query)).json();
    state.textContent = told.line;
    document.title = told.state + " - " + told.name;
    if (told.version !== shown && !loading) draw(told.version);
  } catch { state.textContent = "cotune watch has ended"; }
}
look();
setInterval(look, 2000);
</script></body></html>
"""


@dataclass
class Watched:
    """A run that is watched."""

    run: RunDirectory
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _drawn: tuple[str, str] = field(default=("", ""), init=False)
    _due: float = field(default=0.0, init=False)

    def version(self) -> str:
        """Return what changes when there is something new to draw."""
        marks = []
        for path in (self.run.summary_path, self.run.trials_path, self.run.curves_path):
            if path.exists():
                marks.append(str(path.stat().st_size))
        return "-".join([self.run.summary().state, *marks])

    def state(self) -> dict[str, str]:
        """Return the state of the run, as the page shows it."""
        summary = self.run.summary()
        trials = summary.trials
        line = (
            f"{self.run.path.name}: {summary.state}, {trials.complete} complete, "
            f"{trials.pruned} pruned, {trials.failed} failed, {summary.seconds.total:.0f} s"
        )
        name = self.run.path.name
        return {"version": self.version(), "state": summary.state, "name": name, "line": line}

    def report(self) -> str:
        """Return the report's HTML, drawn anew where there is something new to draw."""
        with self._lock:
            version = self.version()
            if version != self._drawn[0] and time.monotonic() >= self._due:
                self._drawn = version, render_report(self.run)
                self._due = time.monotonic() + _LEAST_SECONDS
            return self._drawn[1]


def make_server(run: RunDirectory, host: str, port: int) -> tuple[ThreadingHTTPServer, str]:
    """Return a server that follows a run, and the address to open.

    Args:
        host, port: As for :func:`cotune.report.server.make_server`.

    Raises:
        StorageError: The port cannot be used.
    """

    class Watching(_Handler):
        of = Watched(run)

    return server.make_server(Watching, host, port)


class _Handler(Handler):
    of: Watched

    def answer(self, method: str, path: str) -> Answer:
        """Answer a request for the page, the run's state or its report."""
        if method != "GET":
            raise Refusal(405, "ask with GET")
        if path == "/":
            return make_page(_PAGE, "frame-src 'self'")
        if path == "/state":
            return Answer(200, "application/json", json.dumps(self.of.state()))
        if path == "/report":
            return Answer(200, "text/html", self.of.report())
        raise Refusal(404, "there is no such page")
