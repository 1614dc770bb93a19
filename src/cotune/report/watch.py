"""A page that follows a run: its report, drawn again as the run goes on."""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from cotune.exceptions import CotuneError, StorageError
from cotune.report import render_report
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
    """A run that is watched.

    Attributes:
        token: What an address has to have, or "" where only this machine can ask.
    """

    run: RunDirectory
    token: str = ""
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
    """Return a server, and the address to open.

    Args:
        host: Where other machines can ask, an address has a token.
        port: 0 for any that is free.

    Raises:
        StorageError: The port cannot be used.
    """
    watched = Watched(run, "" if _is_loopback(host) else secrets.token_urlsafe(24))

    class Handler(_Handler):
        of = watched

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise StorageError(f"{host}:{port}: cannot be used: {error.strerror}") from error
    shown = f"[{host}]" if ":" in host else host
    query = f"?token={watched.token}" if watched.token else ""
    return server, f"http://{shown}:{server.server_address[1]}/{query}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Handler(BaseHTTPRequestHandler):
    of: Watched

    def do_GET(self) -> None:
        """Answer a request for the page, the run's state or its report."""
        asked = urlsplit(self.path)
        given = parse_qs(asked.query).get("token", [""])[0]
        if self.of.token and not hmac.compare_digest(given.encode(), self.of.token.encode()):
            self._answer(403, "text/plain", "the address needs its token")
            return
        # A page of another name for this machine could read what it is not meant to.
        asked_of = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        if not self.of.token and not _is_loopback(asked_of):
            self._answer(403, "text/plain", "open it by the address that was printed")
            return
        try:
            if asked.path == "/":
                nonce = secrets.token_urlsafe(16)
                policy = (
                    f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
                    "frame-src 'self'; connect-src 'self'"
                )
                self._answer(200, "text/html", _PAGE.replace("@NONCE@", nonce), policy)
            elif asked.path == "/state":
                self._answer(200, "application/json", json.dumps(self.of.state()))
            elif asked.path == "/report":
                self._answer(200, "text/html", self.of.report())
            else:
                self._answer(404, "text/plain", "there is no such page")
        except CotuneError as error:
            self._answer(503, "text/plain", str(error))

    def _answer(self, code: int, kind: str, text: str, policy: str = "") -> None:
        content = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if policy:
            self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing of requests."""
