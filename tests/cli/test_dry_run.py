"""`cotune run DATA --dry-run`: what was understood, and nothing else."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from cotune.cli.dry_run import print_settings
from cotune.cli.main import cotune as command
from cotune.data import from_arrays
from cotune.data.dataset import Column, Dataset, Source
from cotune.exceptions import DataError, SpaceError
from cotune.runs.options import Options, Resources
from cotune.space.presets import load_space
from tests.support.processes import workers_of


def said(dataset: Dataset, **options: object) -> str:
    """What is printed of a dataset, each run of spaces as one."""
    out = io.StringIO()
    space = load_space("mlp", images=dataset.has_images)
    asked = Options(space, **options)  # type: ignore[arg-type]
    print_settings(dataset, asked, Resources("cpu", 2), Console(file=out, width=200))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    return re.sub(" *\n", "\n", re.sub(" +", " ", out.getvalue()))


def table(rows: int = 100) -> Dataset:
    """30 % of class ``no``, a column of each kind, one constant, cells missing in one."""
    rng = np.random.default_rng(0)
    inputs = np.stack(
        [
            rng.normal(size=rows) * 10,
            rng.integers(0, 2, rows),
            rng.integers(0, 5, rows),
            np.full(rows, 7.0),
        ],
        axis=1,
    )
    inputs[:20, 0] = np.nan
    labels = np.array([1, 0] + [1, 1, 1, 1, 0][:5] * ((rows - 2) // 5 + 1))[:rows]
    columns = (
        Column("income <b>", "number"),
        Column("owner", "boolean"),
        Column("town", "category", ("Ulm", "Bonn", "Köln", "Jena", "Kiel")),
        Column("version", "number"),
    )
    source = Source("/data/people.csv", "loan")
    remarks = ("rows 3 and 4 are equal",)
    return Dataset(
        "people", inputs, labels, ("no", "yes"), None, 0, columns, None, None, remarks, source
    )


def test_a_table():
    with pytest.warns(UserWarning, match="'version' has a single value"):
        text = said(table(), n_trials=5, timeout=None)
    for line in [
        "data people",
        "from /data/people.csv",
        "target loan",
        "rows 100",
        "inputs 4 columns: 2 number, 1 boolean, 1 category",
        "training 80 rows",
        "validation 20 rows, stratified by class",
        "test no test set: the final model will have no test score",
        "note rows 3 and 4 are equal",
        "owner boolean 0 to 1",
        "town category 5: Ulm, Bonn, Köln, ...",
        "version number a single value in the training part: left out",
        "search tpe, pruner asha, 5 trials",
        "note the classes are imbalanced: 80.0% of the rows are 'yes', 20.0% 'no';",
    ]:
        assert line in text
    assert re.search(r"income <b> number -\d\S* to \d\S* 1\d\n", text)  # those of the training part
    assert re.search(r"no 20 20\.0% #+ rare", text)
    assert "shift" not in text


def test_classes_that_are_about_as_frequent_are_not_marked():
    rng = np.random.default_rng(0)
    data = from_arrays(rng.normal(size=(60, 3)), np.arange(60) % 3)
    text = said(data)
    assert "rare" not in text
    assert "imbalanced" not in text
    assert "inputs 3 numbers a row" in text
    assert "test 12 rows, a stratified fifth, sealed until the end" in text


def test_what_is_many_is_cut_short():
    rng = np.random.default_rng(0)
    wide = Dataset(
        "wide",
        rng.normal(size=(200, 90)),
        np.arange(200) % 50,
        tuple(f"class {i} of quite a long name {'x' * 90}" for i in range(50)),
        None,
        0,
        tuple(Column(f"column {i} {'y' * 90}", "number") for i in range(90)),
    )
    text = said(wide)
    assert "and 50 more" in text
    assert "and 20 more" in text


def test_data_that_cannot_be_learned_from():
    with pytest.raises(DataError, match="only one row"):
        said(from_arrays([[1.0]], [0], test=False))


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command, ["run", *arguments, "--dry-run"])

    return run


def test_the_command_trains_nothing_and_writes_nothing(invoke, tmp_path: Path):
    asked = ("--model", "mlp", "--set", "lr=0.01", "--metric", "accuracy,parameters")
    done = invoke("digits", *asked, "--out", "here")
    assert done.exit_code == 0, done.output
    text = re.sub(" +", " ", done.output)
    for line in [
        "rows 1,797",
        "inputs images of 8 x 8 pixels, grey",
        "training 1,149 rows",
        "lr always 0.01",
        "width 8 to 256 in steps of 8 256",
        "momentum 0 to 0.99 - optimizer is sgd",
        "metric accuracy, parameters",
        "search tpe, pruner asha, 300 s",
        "fused trials that agree in batch_norm, batch_size, shift (24",
        "Dry run: nothing was trained, and nothing was written.",
    ]:
        assert line in text
    assert list(tmp_path.iterdir()) == []
    assert workers_of(os.getpid()) == []


def test_where_the_test_set_is_from(invoke, tmp_path: Path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (50, 4, 4), np.uint8), np.arange(50) % 2
    # as many test rows as a stratified fifth of all has
    np.savez("own.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    np.savez("whole.npz", x=x[:40], y=y[:40])
    np.savez("other.npz", x=x[40:], y=y[40:])
    for arguments, line in [
        (["own.npz"], "test 10 rows, the data's own, sealed until the end"),
        (["whole.npz"], "test 8 rows, a stratified fifth, sealed until the end"),
        (["whole.npz", "--test", "other.npz"], "test 10 rows, of other.npz, sealed until the end"),
    ]:
        done = invoke(*arguments, "--n-trials", "1")
        assert line in re.sub(" +", " ", done.output), done.output


def test_a_column_whose_missing_cells_tell_is_kept(invoke):
    rows = [f"{'' if i % 3 else 7},{i % 5 * 1.5},{'ab'[i % 2]}" for i in range(60)]
    Path("some.csv").write_text("\n".join(["seven,other,label", *rows]))
    text = re.sub(" +", " ", invoke("some.csv", "--n-trials", "1").output)
    assert "seven number 7 or missing" in text
    assert "left out" not in text


def test_what_is_wrong_is_wrong_in_a_dry_run_too(invoke):
    assert "no dataset or file 'digit'" in str(invoke("digit").exception)
    assert isinstance(invoke("digits", "--set", "lr=x").exception, SpaceError)
