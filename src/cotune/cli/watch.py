"""``cotune watch`` and ``cotune dashboard``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from cotune.cli import options
from cotune.cli.serve import serve_until_stopped
from cotune.exceptions import UsageError


@click.command()
@options.run_directory
@options.host
@options.port(8765)
def watch(run_directory: Path, host: str, port: int) -> None:
    """Serve a page that follows a run, until Ctrl-C.

    On another address than this machine's own, the page's address has a token.
    """
    from cotune.report.watch import make_server
    from cotune.runs.directory import RunDirectory

    serve_until_stopped(*make_server(RunDirectory.open(run_directory), host, port))


@click.command()
@options.run_directory
@options.host
@options.port(8080)
def dashboard(run_directory: Path, host: str, port: int) -> None:
    """Open a run's study in optuna-dashboard, until Ctrl-C.

    Only of a run that is not going on: the dashboard can write to the study.
    """
    from cotune.runs.directory import RunDirectory

    run = RunDirectory.open(run_directory)
    if run.config_path.exists() and run.summary().state == "running":
        raise UsageError(f"{run.path}: is going on; `cotune watch` follows it")
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise UsageError("optuna-dashboard is not installed; pip install optuna-dashboard")
    from cotune.report.dashboard import serve_dashboard

    click.echo(f"http://{host}:{port}/\nCtrl-C ends it")
    serve_dashboard(run, host, port)
