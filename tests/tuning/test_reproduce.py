"""A trial trained again: the same scores, and one line where that cannot be."""

from __future__ import annotations

import contextlib
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import cotune
from cotune.cli.main import main
from cotune.exceptions import CotuneError, UsageError
from cotune.records import EpochReport
from cotune.runs.directory import RunDirectory
from cotune.space.yaml import space_from_dict
from cotune.study.study import trial_spec
from cotune.tuning.reproduce import TOLERANCE, replay

SPACE = {
    "lr": {"type": "float", "low": 0.001, "high": 0.01, "log": True},
    "width": {"type": "int", "low": 16, "high": 64, "step": 16},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "epochs": {"type": "int", "low": 3, "high": 5},
}


SPACE_OF_CNN = {
    "model": "cnn",
    "n_blocks": 1,
    "filters": 4,
    "lr": {"type": "float", "low": 0.001, "high": 0.01, "log": True},
    "epochs": 8,
    "epoch_rows": 400,
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose trials were trained one by one."""
    path = tmp_path_factory.mktemp("runs") / "alone"
    cotune.run(
        "digits", space=SPACE, n_trials=6, seed=5, workers=1, lanes=1, device="cpu", out=path
    )
    return path


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose trials were trained side by side."""
    path = tmp_path_factory.mktemp("runs") / "together"
    cotune.run(
        "digits",
        space=SPACE,
        n_trials=6,
        seed=6,
        workers="in-process",
        lanes=4,
        device="cpu",
        out=path,
    )
    return path


@pytest.fixture
def copy(alone: Path, tmp_path: Path) -> Path:
    shutil.copytree(alone, tmp_path / "run")
    return tmp_path / "run"


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    config = yaml.safe_load((path / "config.yaml").read_text())
    edit(config)
    (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def test_in_company_it_is_the_same_but_for_rounding(together: Path) -> None:
    summary = RunDirectory.open(together).summary()
    assert summary.lanes.together > 0
    curves = RunDirectory.open(together).tables.curves()
    number = max(curves, key=lambda number: len(curves[number]))
    result = replay(together, number)
    assert result.largest <= TOLERANCE
    result.check()


def test_the_spec_is_the_searchs(alone: Path) -> None:
    options = RunDirectory.open(alone).options()
    study = cotune.open_run(alone).study
    space = space_from_dict(options.space)
    specs = [trial_spec(space, trial.params, trial.number, 5) for trial in study.trials]
    assert len({spec.seed for spec in specs}) == len(specs)
    assert all(spec.averaged and spec.params["optimizer"] == "adamw" for spec in specs)


def run_command(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    try:
        main(arguments)
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def test_alone_it_is_the_same_to_the_last_bit(alone: Path, capsys, monkeypatch) -> None:
    curves = RunDirectory.open(alone).tables.curves()
    number = max(curves, key=lambda number: len(curves[number]))
    assert run_command(["replay", str(alone), str(number)], monkeypatch) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    head, *lines, last = printed.out.splitlines()
    assert head.split() == ["epoch", "recorded", "replayed", "difference"]
    scores = [f"{report.scores['accuracy']:.4f}" for report in curves[number]]
    assert len(scores) >= 3
    assert [line.split() for line in lines] == [
        [str(epoch), score, score, "+0.0000"] for epoch, score in enumerate(scores, start=1)
    ]
    assert last == "largest difference of accuracy: 0"


def test_one_whose_rate_fell_within_its_time_is_the_same(tmp_path: Path) -> None:
    """How many epochs it had was told after each; the recorded numbers are told again."""
    cotune.run(
        "digits",
        space=SPACE_OF_CNN,
        n_trials=2,
        timeout=30,
        workers="in-process",
        device="cpu",
        portfolio=False,
        out=tmp_path / "run",
    )
    reports = RunDirectory.open(tmp_path / "run").tables.curves()[1]
    assert reports[0].horizon == 4
    assert reports[-1].horizon == len(reports) > 4
    again = replay(tmp_path / "run", 1)
    assert again.replayed == again.recorded


def test_another_score_is_an_error(copy: Path, capsys, monkeypatch) -> None:
    path = copy / "curves.csv"
    rows = path.read_text().splitlines()
    (i,) = [i for i, row in enumerate(rows) if re.match(r"1,1,", row)]
    columns = rows[i].split(",")
    accuracy = rows[0].split(",").index("accuracy")
    columns[accuracy] = repr(float(columns[accuracy]) - 0.125)
    rows[i] = ",".join(columns)
    path.write_text("\n".join(rows) + "\n")
    change(copy, lambda config: config["versions"].update(torch="1.0"))
    assert run_command(["replay", str(copy), "1"], monkeypatch) == 1
    printed = capsys.readouterr()
    assert printed.err == (
        "cotune: error: trial 1: its accuracy differs by up to 0.1250 from what was recorded, "
        f"more than 0.01; it was recorded with torch 1.0, and this is {torch.__version__}\n"
    )
    assert printed.out.splitlines()[-1] == "largest difference of accuracy: 0.125"


def test_no_such_run_or_trial(alone: Path, capsys, monkeypatch, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"trial 6: is not in .*alone; there are 0 to 5"):
        replay(alone, 6)
    assert run_command(["replay", str(tmp_path), "0"], monkeypatch) == 2
    assert "no run is there" in capsys.readouterr().err
    assert run_command(["replay", str(alone), "-1"], monkeypatch) == 2
    capsys.readouterr()


def test_a_trial_without_an_epoch(copy: Path) -> None:
    path = copy / "curves.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join(row for row in rows if not row.startswith("2,")) + "\n")
    with pytest.raises(UsageError, match="trial 2: no epoch of it was recorded"):
        replay(copy, 2)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["dataset"].update(name="arrays"), "arrays: is no named dataset, so the run's"),
        (
            lambda c: c["dataset"].update(fingerprint="0123456789abcdef"),
            r"digits: is not what the run was on; its fingerprint is \w{12}, 0123456789ab was rec",
        ),
        (lambda c: c.pop("precision"), "config.yaml: has no precision; an older Cotune wrote it"),
        (lambda c: c["dataset"].pop("fingerprint"), "config.yaml: has no fingerprint; an older"),
    ],
)
def test_what_cannot_be_read_again(copy: Path, edit, message: str) -> None:
    change(copy, edit)
    with pytest.raises(UsageError, match=message):
        replay(copy, 0)


def test_a_gpu_that_is_not_here(copy: Path, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    change(copy, lambda config: config.update(device="cuda"))
    with pytest.raises(UsageError, match="the run was on cuda, which PyTorch does not find here"):
        replay(copy, 0)


def test_a_training_that_fails_now(alone: Path, monkeypatch) -> None:
    failed = EpochReport(3, 1, 1.0, 0.5, {"accuracy": 0.5}, 0.1, 8, error="it became NaN")
    monkeypatch.setattr(
        "cotune.tuning.reproduce._executor", lambda *arguments: contextlib.nullcontext()
    )
    monkeypatch.setattr("cotune.tuning.reproduce._train", lambda *arguments: iter([failed]))
    with pytest.raises(CotuneError, match="trial 3: epoch 1: it became NaN"):
        replay(alone, 3)
