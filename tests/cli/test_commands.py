"""Commands: their options are those of the Python functions, and importing them is fast."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest

from cotune import api
from cotune.cli.main import cotune
from cotune.inference.evaluate import evaluate
from cotune.text import parse_duration

AS_THE_FUNCTION_HAS_IT: dict[str, Callable[[Any], Any]] = {
    "checkpoint": parse_duration,
    "samplers": lambda text: tuple(text.split(",")),
}


def walk(group: click.Group, path: str = "cotune") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from walk(command, f"{path} {name}")


COMMANDS = dict(walk(cotune))


@pytest.mark.parametrize(
    ("name", "function", "own"),
    [
        ("run", api.run, {"dry_run", "quiet"}),
        ("resume", api.resume, {"run_directory", "quiet"}),
        ("optimize", api.optimize, {"quiet"}),
        ("compare", api.compare, {"quiet"}),
        ("evaluate", evaluate, {"run_directory", "as_json"}),
    ],
)
def test_options_are_arguments_of_the_function(name, function, own):
    arguments = inspect.signature(function).parameters
    given = COMMANDS[f"cotune {name}"].params
    options = {option.name: option for option in given if option.expose_value}
    assert options.keys() - own <= arguments.keys()
    for option in options.keys() - own:
        default, expected = options[option].to_info_dict()["default"], arguments[option].default
        if default is not None and expected is not None:
            assert AS_THE_FUNCTION_HAS_IT.get(option, lambda value: value)(default) == expected


@pytest.mark.parametrize("line", COMMANDS)
def test_everything_has_help(line):
    command = COMMANDS[line]
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.help.rstrip("]").endswith(".") or "[default:" in option.help


def test_importing_the_commands_is_fast():
    slow = ["torch", "optuna", "numpy", "pandas", "pyarrow", "rich", "yaml"]
    code = f"import sys, cotune.cli.main; print([m for m in {slow} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
