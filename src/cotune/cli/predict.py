"""``cotune predict``."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click

from cotune.cli import options
from cotune.cli.checks import check_model_use
from cotune.cli.output import write_output
from cotune.exceptions import UsageError


@click.command()
@options.run_directory
@click.argument("new_data", type=click.Path(path_type=Path))
@options.output
@click.option("--proba", is_flag=True, help="Add the probability of each class.")
@options.of_ensemble
@options.custom_model
@options.device("cpu")
def predict(
    run_directory: Path,
    new_data: Path,
    output: Path | None,
    proba: bool,
    ensemble: bool,
    model: str | None,
    device: str,
) -> None:
    """Predict the class of each row of NEW_DATA, as CSV.

    NEW_DATA is a file or folder as in training, with or without labels, or a folder of images.
    """
    check_model_use(new_data, device)
    if output is not None:
        _check_output(output, new_data)

    from cotune.inference.predict import load_predictor, predict_rows

    predictor = load_predictor(run_directory, ensemble, model)
    predictions = predict_rows(predictor, new_data, device=device)
    if output is None:
        predictions.write_csv(sys.stdout, proba)
        return
    text = io.StringIO()
    predictions.write_csv(text, proba)
    write_output(output, text.getvalue().encode("utf-8", "backslashreplace"))


def _check_output(output: Path, new_data: Path) -> None:
    """Make sure that the predictions replace neither the data nor a file of a run."""
    from cotune.runs.paths import check_not_own

    if output.is_file() and output.samefile(new_data):
        raise UsageError(f"{output}: is the data itself; choose another -o FILE.csv")
    check_not_own(output, "-o FILE.csv")
