"""``cotune datasets``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(invoke_without_command=True)
@click.pass_context
def datasets(context: click.Context) -> None:
    """List the named datasets."""
    if context.invoked_subcommand is not None:
        return
    from cotune.data import entries
    from cotune.report.terminal.lines import make_console, make_table

    table = make_table("name", "rows", "test rows", "classes", "row", "where")
    for entry in entries():
        table.add_row(
            entry.name,
            f"{entry.rows:,}",
            f"{entry.test_rows:,}",
            str(entry.classes),
            " x ".join(map(str, entry.input_shape)),
            entry.where,
        )
    make_console().print(table)


@datasets.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="The picture.",
)
def show(name: str, output: Path) -> None:
    """Draw the first 16 images of a dataset with their classes."""
    from cotune.data import load
    from cotune.data.pictures import draw_samples

    draw_samples(load(name), output)
    click.echo(output)


@datasets.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download a dataset that is not here yet."""
    from cotune.data import entries, load

    load(name)
    click.echo(next(entry.where for entry in entries() if entry.name == name))
