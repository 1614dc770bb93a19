"""``cotune evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cotune.cli import options
from cotune.cli.checks import check_model_use


@click.command()
@options.run_directory
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--target", metavar="COLUMN", help="The labels.  [default: as in training]")
@options.as_json
@options.of_ensemble
@options.custom_model
@options.device("cpu")
def evaluate(run_directory: Path, data: Path, as_json: bool, device: str, **asked: Any) -> None:
    """Score a run's final model on labelled DATA.

    If DATA contains rows of the run's sealed test set, the reading is recorded in readings.jsonl.
    """
    check_model_use(data, device)

    from cotune.inference.evaluate import evaluate as score

    result = score(run_directory, data, device=device, **asked)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=1))
        return

    from cotune.report.terminal.evaluation import print_evaluation

    print_evaluation(result)
