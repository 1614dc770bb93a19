"""Arguments after ``--``, which go to the user's script."""

from __future__ import annotations

import click


class WithScriptArguments(click.Command):
    """A command that gets the arguments after ``--`` as ``arguments``, or None without ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, script = split(args)
        ctx.params["arguments"] = script
        return super().parse_args(ctx, own)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS OF THE SCRIPT]"]


def split(arguments: list[str]) -> tuple[list[str], list[str] | None]:
    """Split the arguments at the first ``--``; the second part is None without one."""
    if "--" not in arguments:
        return arguments, None
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]
