"""HTTP servers for the people of one machine: who may ask, and how it is answered.

On loopback anybody on this machine may ask. On another address each request has a token.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from cotune.exceptions import CotuneError, StorageError
from cotune.text import one_line

_SECONDS: Final = 30.0  # that a client may say nothing
_MOST_DISCARDED: Final = 2**26  # bytes of a body that nobody wants
_MOST_DIGITS: Final = 15  # of a body's length


@dataclass(frozen=True)
class Answer:
    """An answer to a request.

    Attributes:
        code: HTTP's status.
        kind: Its media type.
        policy: Its Content-Security-Policy, or "".
    """

    code: int
    kind: str
    text: str
    policy: str = ""


class Refusal(Exception):
    """A request that gets no answer but one line.

    Args:
        code: HTTP's status.
        line: The reason.
    """

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


class Handler(BaseHTTPRequestHandler):
    """Base of what answers the requests of a server; a subclass has :meth:`answer`.

    Attributes:
        token: What requests have to have, in the address or as ``Authorization: Bearer``; "" where
            only this machine can ask.
    """

    token: ClassVar[str] = ""
    protocol_version = "HTTP/1.1"  # so that a client may ask before it sends a large body
    timeout = _SECONDS
    _unread = 0

    def answer(self, method: str, path: str) -> Answer:
        """Answer a request of one who may ask.

        Raises:
            Refusal: There is nothing at this path, or the request cannot be used.
            CotuneError: The machine does not allow it now.
        """
        raise NotImplementedError

    def public(self, method: str, path: str) -> Answer | None:
        """Answer a request of anybody, without a token; None where it needs one."""
        return None

    def error(self, code: int, line: str) -> Answer:
        """Return the answer that has one line on what is wrong."""
        return Answer(code, "text/plain", line)

    def read_body(self, most: int) -> bytes:
        """Read the request's body.

        Args:
            most: Bytes that it may have.

        Raises:
            Refusal: It is larger, or cut short, or its length is not said.
        """
        if "Content-Length" not in self.headers:
            raise Refusal(411, "the request does not say its Content-Length")
        if self._unread > most:
            raise Refusal(413, f"the body is larger than {most:,} bytes; send less at a time")
        length, self._unread = self._unread, 0
        content = self.rfile.read(length)
        if len(content) < length:
            raise Refusal(400, "the body is shorter than its Content-Length")
        return content

    def do_GET(self) -> None:
        """Answer a request without a body."""
        self._respond("GET")

    def do_POST(self) -> None:
        """Answer a request with a body."""
        self._respond("POST")

    def _respond(self, method: str) -> None:
        try:
            self._unread = self._length()
            self._send(self._answered(method))
        except Refusal as refusal:
            self._send(self.error(refusal.code, str(refusal)))
        except CotuneError as error:
            self._send(self.error(503, str(error)))
        except (ConnectionError, TimeoutError):  # the client has gone, or says nothing
            raise
        except Exception as error:
            line = f"{type(error).__name__}: {one_line(error)}"
            print(f"cotune: {method} {self.path[:200]!r}: {line}", file=sys.stderr)
            self._send(self.error(500, f"the server failed ({line})"))
        self._discard()

    def _answered(self, method: str) -> Answer:
        try:
            asked, host = urlsplit(self.path), self.headers.get("Host", "")
            # A page of another name for this machine could read what it is not meant to.
            asked_of = urlsplit(f"//{host}").hostname or ""
            given = parse_qs(asked.query).get("token", [""])[0]
        except ValueError as error:
            raise Refusal(400, f"the address cannot be read: {one_line(error)}") from error
        scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given = bearer.strip()
        if not self.token and not is_loopback(asked_of):
            raise Refusal(403, "open it by the address that was printed")
        if self.token and not hmac.compare_digest(
            given.encode(errors="replace"), self.token.encode()
        ):
            if (known := self.public(method, asked.path)) is not None:
                return known
            raise Refusal(403, "the address needs its token, or the header Authorization: Bearer")
        return self.answer(method, asked.path)

    def _length(self) -> int:
        """Return the bytes of the body that the client says it sends."""
        text = self.headers.get("Content-Length", "0")
        if not (text.isascii() and text.isdigit()):
            raise Refusal(400, "the Content-Length is no number")
        return int(text[:_MOST_DIGITS]) if len(text) > _MOST_DIGITS else int(text)

    def _send(self, answer: Answer) -> None:
        content = answer.text.encode(errors="backslashreplace")
        self.send_response(answer.code)
        self.send_header("Content-Type", f"{answer.kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")  # an unread body is no second request
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if answer.policy:
            self.send_header("Content-Security-Policy", answer.policy)
        self.end_headers()
        self.wfile.write(content)

    def _discard(self) -> None:
        """Read what is left of a body; else the client would see a reset, and no answer."""
        left = min(self._unread, _MOST_DISCARDED)
        while left > 0 and (piece := self.rfile.read(min(left, 2**16))):
            left -= len(piece)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing of requests."""


def make_server(
    handler: type[Handler], host: str, port: int, token: str = ""
) -> tuple[ThreadingHTTPServer, str]:
    """Return a server, and the address to open.

    Args:
        host: Where other machines can ask, an address has a token.
        port: 0 for any that is free.
        token: By default one that nobody can guess.

    Raises:
        StorageError: The port cannot be used.
    """
    secret = token or ("" if is_loopback(host) else secrets.token_urlsafe(24))
    answering = type(handler.__name__, (handler,), {"token": secret})
    try:
        kind = _Server6 if ":" in host else _Server
        server = kind((host, port), answering)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise StorageError(f"{host}:{port}: cannot be used: {why}") from error
    shown = f"[{host}]" if ":" in host else host
    query = f"?{urlencode({'token': secret})}" if secret else ""
    return server, f"http://{shown}:{server.server_address[1]}/{query}"


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing of a client that has gone."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Server6(_Server):
    address_family = socket.AF_INET6


def is_loopback(host: str) -> bool:
    """Tell whether a name or address is this machine's own, which no other can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_page(template: str, policy: str = "", **parts: str) -> Answer:
    """Return a page that runs its own script and fetches from its server alone.

    Args:
        template: HTML with ``@NONCE@`` in its style and script.
        policy: What else its Content-Security-Policy allows.
        parts: HTML to put in for each ``@NAME@``.
    """
    nonce = secrets.token_urlsafe(16)
    text = template.replace("@NONCE@", nonce)
    for name, part in parts.items():
        text = text.replace(f"@{name.upper()}@", part)
    allowed = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        f"connect-src 'self'; base-uri 'none'; form-action 'none'; {policy}"
    )
    return Answer(200, "text/html", text, allowed)
