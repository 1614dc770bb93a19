from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from cotune.cli.main import cotune as command
from cotune.data.builtin import fashion_mnist


@pytest.fixture(scope="session")
def fashion_mnist_dir() -> Path:
    """The folder with Fashion-MNIST's four files, as Cotune itself finds it."""
    folder = fashion_mnist.find()
    if folder is None:
        pytest.skip("Fashion-MNIST is not here: set COTUNE_DATA to a folder that holds its files")
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """PyTorch on one thread, as in a worker: small products are quicker by it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def commands_begin_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command counts its timeout from when its process began, which is pytest's."""
    monkeypatch.setattr("cotune.cli.main._BEGAN", time.monotonic())


@pytest.fixture
def dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Prints what `cotune run ARGUMENTS --dry-run` does, each run of white space as one."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(command, ["run", *arguments, "--dry-run", "--n-trials", "1"])
        if done.exception is not None:
            raise done.exception
        return re.sub(r"\s+", " ", done.output)

    return run


class Server:
    """A web server on the loopback address.

    Each path has a list of answers, functions that are given the request's handler; the last one
    is for all later requests. ``asked`` lists the paths that were requested.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Callable[[BaseHTTPRequestHandler], None]]] = {}
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                answers = server.answers.get(self.path)
                if not answers:
                    self.send_error(404)
                    return
                (answers.pop(0) if len(answers) > 1 else answers[0])(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @staticmethod
    def body(
        contents: bytes, *, length: int | None = None
    ) -> Callable[[BaseHTTPRequestHandler], None]:
        """Sends ``contents``, announcing ``length`` bytes."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(contents) if length is None else length))
            handler.end_headers()
            handler.wfile.write(contents)

        return answer

    @staticmethod
    def status(code: int) -> Callable[[BaseHTTPRequestHandler], None]:
        return lambda handler: handler.send_error(code)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.close()
