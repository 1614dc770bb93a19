"""The ``cotune`` command: its subcommands, and the exit codes of errors."""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
import warnings
from typing import Any

import click

from cotune.cli.card import card
from cotune.cli.compare import compare
from cotune.cli.datasets import datasets
from cotune.cli.evaluate import evaluate
from cotune.cli.export import export
from cotune.cli.optimize import optimize
from cotune.cli.predict import predict
from cotune.cli.replay import replay
from cotune.cli.report import report
from cotune.cli.resume import resume
from cotune.cli.run import run
from cotune.cli.script_arguments import split
from cotune.cli.serve import serve
from cotune.cli.show import show
from cotune.cli.test import test
from cotune.cli.watch import dashboard, watch
from cotune.exceptions import CotuneError, DataError, StorageError, UsageError
from cotune.version import VERSION

_BEGAN = time.monotonic()  # before PyTorch is imported: --timeout counts from here
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@click.version_option(VERSION, prog_name="cotune")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cotune(context: click.Context, debug: bool) -> None:
    """Tune a PyTorch classifier: from labelled data to a tuned network and an honest score."""
    context.obj = _BEGAN  # what click.pass_obj gives to a command


for _command in (
    card,
    compare,
    dashboard,
    datasets,
    evaluate,
    export,
    optimize,
    predict,
    replay,
    report,
    resume,
    run,
    serve,
    show,
    test,
    watch,
):
    cotune.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; print an error as one line on stderr and exit with its code.

    Args:
        arguments: By default those of this process, which then exits at once after an error in
            the data.
    """
    if arguments is not None:
        _main(arguments)
        return
    try:
        _main(sys.argv[1:])
    except SystemExit as end:
        if end.code == DataError.exit_code and "pyarrow" in sys.modules:
            # Threads of Arrow may still run; a normal exit of the interpreter would then abort.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(DataError.exit_code)
        raise


def _main(arguments: list[str]) -> None:
    own, of_script = split(arguments)
    debug = "--debug" in own
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    for stream in (sys.stdout, sys.stderr):
        # A path may hold bytes that are not text, and a terminal may be limited to ASCII.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        # --debug may stand anywhere on the line.
        given = [a for a in own if a != "--debug"]
        given += [] if of_script is None else ["--", *of_script]
        cotune.main(given, "cotune", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(UsageError.exit_code)
    except click.Abort as error:
        # Click turns a KeyboardInterrupt into it. As in a shell, 128 + the signal's number.
        cause = error.__cause__
        _fail(str(cause or "") or "stopped", 128 + getattr(cause, "signal", 2), debug)
    except click.ClickException as error:
        _fail(error.format_message(), UsageError.exit_code, debug)
    except CotuneError as error:
        _fail(str(error), error.exit_code, debug)
    except BrokenPipeError:
        # The reader of stdout has gone, as in `cotune datasets | head -1`. Python flushes stdout
        # at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", StorageError.exit_code, debug)


def _fail(message: str, code: int, debug: bool) -> None:
    """Print the message on one line and exit."""
    if debug:
        traceback.print_exc()
    line = " ".join(message.split())
    click.echo(f"cotune: error: {line}" if code < 128 else f"cotune: {line}", err=True)
    sys.exit(code)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Print a warning that is for the user; hide those for programmers."""
    if issubclass(category, UserWarning):
        click.echo(f"cotune: warning: {message}", err=True)
