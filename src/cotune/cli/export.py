"""``cotune export``."""

from __future__ import annotations

from pathlib import Path

import click

from cotune.cli import options
from cotune.exceptions import writing


@click.command()
@options.run_directory
@click.option(
    "--format",
    "formats",
    required=True,
    multiple=True,
    metavar="NAME",
    help="onnx, torch-export, safetensors or torchscript. Can be given several times.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write, or a folder; with several formats a folder.  [default: DIR/export]",
)
@options.of_ensemble
@options.custom_model
def export(
    run_directory: Path,
    formats: tuple[str, ...],
    output: Path | None,
    ensemble: bool,
    model: str | None,
) -> None:
    """Export a run's final model with its preprocessing, for other programs.

    Each file is loaded again and must reproduce the outputs of PyTorch.
    """
    from cotune.inference.export import check_format
    from cotune.inference.export import export as write_model

    for name in formats:
        check_format(name)
    if output is not None and len(formats) > 1:
        with writing(output):
            output.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(formats):
        done = write_model(run_directory, name, output, ensemble=ensemble, model=model)
        difference = f"differs from PyTorch by {done.difference:.1g} at most"
        click.echo(f"{done.path}  {done.size:,} bytes, {difference}")
