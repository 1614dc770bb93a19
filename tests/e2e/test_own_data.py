"""Runs on files: the same result from every format, and gone on with from the file."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import cotune
from cotune.cli.main import main
from cotune.data.reading import read_data
from cotune.exceptions import StorageError, UsageError
from cotune.tuning.reproduce import replay
from cotune.tuning.retest import retest
from tests.support.formats import digits, write_all

pytestmark = pytest.mark.slow

IMAGES, LABELS = digits(400)
SPACE = {
    "width": {"type": "int", "low": 8, "high": 32},
    "lr": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True},
    "epochs": 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def paths(folder: Path) -> dict[str, Path]:
    return write_all(folder, IMAGES, LABELS)


@pytest.fixture(scope="module")
def runs(paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run on each format."""
    out = tmp_path_factory.mktemp("runs")
    for kind in ("csv", "parquet", "npz", "idx", "png"):
        cotune.run(paths[kind], n_trials=2, workers=1, lanes=2, space=SPACE, out=out / kind)
    return {path.name: path for path in out.iterdir()}


@pytest.fixture
def moved(runs: dict[str, Path], paths: dict[str, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the run on the NPZ file, whose data is gone, and where that is now."""
    run, data = tmp_path / "run", tmp_path / "moved.npz"
    shutil.copytree(runs["npz"], run)
    shutil.copy(paths["npz"], data)
    config = (run / "config.yaml").read_text().replace(str(paths["npz"]), str(tmp_path / "gone"))
    (run / "config.yaml").write_text(config)
    return run, data


def test_the_same_result_in_every_format(runs):
    def result(run: Path) -> list[object]:
        with open(run / "trials.csv", newline="") as file:
            trials = [{**row, "seconds": ""} for row in csv.DictReader(file)]
        final = json.loads((run / "final.json").read_text())
        return [trials, final["confusion"], final["curve"], final["mistakes"]]

    first, *others = (result(run) for run in runs.values())
    assert len(others) == 4
    assert all(other == first for other in others)
    weights = {(run / "best" / "model.safetensors").read_bytes() for run in runs.values()}
    assert len(weights) == 1


def test_a_model_predicts_its_test_rows_as_reported(runs, paths):
    result = cotune.open_run(runs["csv"])
    table = np.genfromtxt(paths["csv"], delimiter=",", skip_header=1)
    with open(runs["csv"] / "splits.csv", newline="") as file:
        rows = [int(row["row"]) for row in csv.DictReader(file) if row["part"] == "test"]
    assert len(rows) == 80
    with torch.no_grad():
        images = torch.from_numpy(table[rows, 1:].reshape(-1, 8, 8))
        predicted = result.model(images).argmax(-1).numpy()
    assert (predicted == table[rows, 0]).mean() == pytest.approx(result.test_accuracy)


def test_what_is_recorded(runs, paths):
    config = yaml.safe_load((runs["csv"] / "config.yaml").read_text())["dataset"]
    assert config["name"] == "digits"
    assert config["source"] == {
        "path": str(paths["csv"]),
        "target": "label",
        "test": None,
        "columns": {},
        "skip_damaged": False,
    }
    assert "64 columns of pixels: images of 8 x 8" in config["remarks"]
    with open(runs["png"] / "splits.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(400))
    counts = {part: sum(row["part"] == part for row in rows) for part in config["rows"]}
    assert counts == config["rows"]


def test_replay_test_and_resume_read_the_file_again(runs, tmp_path):
    assert replay(runs["png"], 0).largest == 0.0
    copy = tmp_path / "run"
    shutil.copytree(runs["idx"], copy)
    assert retest(copy, again=True).accuracy == cotune.open_run(copy).test_accuracy
    trials = cotune.resume(copy, more=1).summary.trials
    assert trials.complete + trials.pruned == 3


class TestMoved:
    def test_says_what_to_do(self, moved, capsys):
        run, data = moved
        for attempt in (lambda: replay(run, 0), lambda: retest(run, again=True)):
            with pytest.raises(
                UsageError, match=r"gone: the run's data is no longer there; put it"
            ):
                attempt()
        with pytest.raises(SystemExit):
            main(["resume", str(run), "--more", "1"])
        assert f"cotune resume {run} --data NEW_PATH" in capsys.readouterr().err
        main(["resume", str(run), "--data", str(data), "--more", "1", "--quiet"])
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["dataset"]["source"]["path"] == str(data)
        assert retest(run, again=True).accuracy > 0.3

    def test_changed(self, moved):
        """Fault 29."""
        run, data = moved
        images = IMAGES.copy()
        images[:] = images[:, ::-1]
        np.savez(data, X=images, y=LABELS)
        with pytest.raises(UsageError, match=r"moved\.npz: is not what the run was on; its finger"):
            cotune.resume(run, data=data, more=1)

    @pytest.mark.parametrize("source", [{"path": 5}, {"file": "x"}])
    def test_a_damaged_record(self, moved, source):
        run, _ = moved
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["dataset"]["source"] = source
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        with pytest.raises(StorageError, match=r"config\.yaml: is damaged, or not what a run wri"):
            cotune.resume(run, more=1)


def test_a_folder_of_mixed_images_on_the_command_line(tmp_path):
    from PIL import Image

    from tests.support.formats import write_pngs

    write_pngs(tmp_path / "shapes", IMAGES[:60], LABELS[:60] % 2)
    Image.new("RGB", (20, 10)).save(tmp_path / "shapes" / "1" / "large.jpg")
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cotune", "run", "shapes", "--space", "space.yaml"),
            *("--n-trials", "1", "--workers", "1", "--lanes", "1", "--device", "cpu"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("shapes: 2 classes")
    assert lines[1].startswith("1 of 61 images resized to 8 x 8 pixels")
    assert lines[2] == "60 grey images of 61 read as colour"
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("shapes-")
    dataset = read_data(tmp_path / "shapes")
    assert dataset.input_shape == (8, 8, 3)
    assert (run / "samples.png").exists()
