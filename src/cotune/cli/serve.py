"""``cotune serve``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cotune.cli import options

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer


@click.command()
@options.run_directory
@options.host
@options.port(8000)
@click.option(
    "--token",
    default="",
    envvar="COTUNE_TOKEN",
    show_envvar=True,
    metavar="TEXT",
    help="What each request must have.  [default: none on this machine's own address, else random]",
)
@click.option(
    "--max-size",
    default="10MB",
    show_default=True,
    metavar="SIZE",
    help="Size limit of a request.",
)
@click.option(
    "--max-rows",
    default=10_000,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Rows that a request may have.",
)
@options.of_ensemble
@options.custom_model
@options.device("cpu")
def serve(
    run_directory: Path,
    host: str,
    port: int,
    token: str,
    max_size: str,
    max_rows: int,
    ensemble: bool,
    model: str | None,
    device: str,
) -> None:
    """Predict over HTTP with a run's final model, until Ctrl-C.

    POST /predict takes rows as JSON or CSV, or an image; GET /health describes the model, and / is
    a page to try it. On another address than this machine's own, each request needs the token, in
    the address or as the header Authorization: Bearer.
    """
    from cotune.arguments import read_size
    from cotune.engine.device import read_device

    device, most_bytes = read_device(device), int(read_size(max_size, "max-size"))

    from cotune.inference.predict import load_predictor
    from cotune.report.serve import Served, make_server, model_name

    predictor = load_predictor(run_directory, ensemble, model)
    served = Served(model_name(run_directory), predictor, device, most_bytes, max_rows)
    serve_until_stopped(*make_server(served, host, port, token))


def serve_until_stopped(server: ThreadingHTTPServer, address: str) -> None:
    """Print the address and answer requests until Ctrl-C or SIGTERM."""
    # The first process of a container ignores a signal that it has no handler for.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    click.echo(f"{address}\nCtrl-C ends it")
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo()
