"""The command line as a user meets it: its exit code and what it prints."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cotune.cli.main import main
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import BestTrial, FinalSummary, Seconds, Summary, TrialCounts
from cotune.version import VERSION

SPACE = "lr: {type: float, low: 0.001, high: 0.1, log: true}\n"


class Outcome:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def error(self) -> str:
        """The one line on stderr, less its beginning."""
        assert self.out == ""
        assert self.err.startswith("cotune: error: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert self.err.endswith("\n")
        assert "Traceback" not in self.err
        return self.err.removeprefix("cotune: error: ").rstrip("\n")


def cotune(*arguments: str | Path, cwd: Path | None = None) -> Outcome:
    """Run a command in this process, as :func:`started` does in one of its own."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        contextlib.chdir(cwd or "."),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        try:
            main([*map(str, arguments)])
        except SystemExit as end:
            code = end.code
    done = subprocess.CompletedProcess(arguments, int(str(code)), out.getvalue(), err.getvalue())
    return Outcome(done)


def started(*arguments: str | Path, cwd: Path | None = None, **options) -> Outcome:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "cotune", *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        cwd=cwd,
        timeout=60,
        **options,
    )
    return Outcome(done)


@pytest.fixture(scope="module")
def without_pytorch(tmp_path_factory) -> dict[str, str]:
    """An environment where importing PyTorch, which takes seconds, is found out."""
    folder = tmp_path_factory.mktemp("path")
    (folder / "torch.py").write_text("raise RuntimeError('PyTorch was imported')")
    return {**os.environ, "PYTHONPATH": str(folder)}


class TestHelp:
    def test_help(self):
        for arguments in (["--help"], ["-h"], ["run", "--help"], ["datasets", "show", "-h"]):
            outcome = cotune(*arguments)
            assert outcome.code == 0
            assert outcome.out.startswith("Usage: ")
            assert outcome.err == ""

    def test_every_option_has_a_word_of_help(self):
        text = cotune("run", "--help").out
        for option in ("--timeout", "--n-trials", "--space", "--sampler", "--enqueue", "--out"):
            assert re.search(rf"{option} \S+ +\w", text), option

    def test_nothing_is_help_too(self):
        outcome = cotune()
        assert outcome.code == 2
        assert "Commands:" in outcome.out

    def test_version(self):
        outcome = cotune("--version")
        assert (outcome.code, outcome.out) == (0, f"cotune, version {VERSION}\n")


class TestUsage:
    """What is wrong with plain arguments is said before PyTorch is imported."""

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            # 25 unknown flag
            ("run digits --timeot 5s", r"No such option '--timeot'.*'--timeout'"),
            ("run digits --n-trails 5", r"No such option '--n-trails'.*'--n-trials'"),
            ("rnu digits", r"No such command 'rnu'. Did you mean 'run'\?"),
            ("run", "Missing argument 'DATA'"),
            ("run digits iris", r"Got unexpected extra argument \(iris\)"),
            # 26 trials or workers <= 0
            ("run digits --n-trials 0", "Invalid value for '--n-trials': 0 is not in the range"),
            ("run digits --n-trials -1", "Invalid value for '--n-trials': -1 is not in the range"),
            ("run digits --n-trials x", "Invalid value for '--n-trials': 'x' is not a valid int"),
            ("run digits --workers 0", "Invalid value for '--workers': 0 is not in the range"),
            ("run digits --workers -1", "Invalid value for '--workers': -1 is not in the range"),
            ("run digits --validation 1", "Invalid value for '--validation': 1.0 is not in the r"),
            ("run digits --seed -1", "seed: -1 is not a whole number from 0 to 4294967295"),
            ("run digits --timeout 5x", "timeout: '5x' is not a duration; write 90s, 5m or 2h"),
            ("run digits --timeout 0s", "timeout: '0s' is not above 0; write 90s, 5m or 2h"),
            ("run digits --sampler tpee", r"sampler: 'tpee' is unknown; did you mean tpe\?"),
            ("run digits --pruner medain", r"pruner: 'medain' is unknown; did you mean median\?"),
            ("run digits --metric acc", "metric: 'acc' is unknown; choose one of accuracy, bal"),
            (
                "run digits --device gpu",
                "device: 'gpu' is unknown; choose one of auto, cpu, cuda, mps",
            ),
            ("run digits --space mpl", r"mpl: there is no such preset or file; did you mean mlp\?"),
            ("run digits --space no.yaml", "no.yaml: cannot be read: No such file or directory"),
            ("run digits --enqueue no.jsonl", "no.jsonl: cannot be read: No such file or direct"),
            # 28 show of no run
            ("show nothing", r"nothing: no run is there \(no config.yaml\); give the folder"),
            ("report nothing", r"nothing: no run is there \(no config.yaml\); give the folder"),
            ("datasets show digits", "Missing option '-o' / '--output'"),
            ("datasets shwo digits", r"No such command 'shwo'. Did you mean 'show'\?"),
        ],
    )
    def test_what_is_wrong(self, line, message, tmp_path, without_pytorch):
        outcome = started(*line.split(), cwd=tmp_path, env=without_pytorch)
        assert re.match(message, outcome.error), outcome.error
        assert outcome.code == 2
        assert os.listdir(tmp_path) == []

    def test_unknown_dataset(self, tmp_path, without_pytorch):
        outcome = started("run", "digit", cwd=tmp_path, env=without_pytorch)
        assert "no dataset or file 'digit'; did you mean digits?" in outcome.error
        assert outcome.code == 3
        assert os.listdir(tmp_path) == []

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    def test_cuda_asked_for_and_absent(self, tmp_path):
        outcome = cotune("run", "digits", "--device", "cuda", cwd=tmp_path)
        assert outcome.error == "device: PyTorch finds no CUDA device here; use --device cpu"
        assert outcome.code == 2
        assert os.listdir(tmp_path) == []

    def test_a_bad_space(self, tmp_path):
        path = tmp_path / "my.yaml"
        path.write_text("lr: {type: float, low: 1, high: 0.1}")
        outcome = cotune("run", "digits", "--space", path)
        assert outcome.error == f"{path}: lr.low: 1 is above high, 0.1"
        assert outcome.code == 2
        path.write_text(f"lr: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']")
        outcome = cotune("run", "digits", "--space", path)
        assert "could not determine a constructor for the tag" in outcome.error
        assert outcome.code == 2
        assert os.listdir(tmp_path) == ["my.yaml"]

    def test_a_bad_configuration(self, tmp_path):
        (tmp_path / "my.yaml").write_text(SPACE)
        (tmp_path / "first.jsonl").write_text('{"lr": 0.01}\n{"lr": 5}\n')
        line = ["run", "digits", "--space", "my.yaml", "--enqueue", "first.jsonl"]
        outcome = cotune(*line, cwd=tmp_path)
        assert outcome.error == "first.jsonl:2: lr: 5 is not in 0.001 to 0.1 (log)"
        assert outcome.code == 2
        # A grid has fewer values.
        (tmp_path / "first.jsonl").write_text('{"lr": 0.02}\n')
        outcome = cotune(*line, "--sampler", "grid", cwd=tmp_path)
        assert outcome.error == "first.jsonl:1: lr: 0.02 is not in 0.001, 0.01, 0.1"
        assert len(os.listdir(tmp_path)) == 2


class TestOut:
    def test_an_existing_run_is_never_touched(self, tmp_path, without_pytorch):
        (tmp_path / "config.yaml").write_text("mine")
        outcome = started("run", "digits", "--out", tmp_path, env=without_pytorch)
        assert outcome.error.endswith("other files are there already; choose another --out DIR")
        assert outcome.code == 2
        assert os.listdir(tmp_path) == ["config.yaml"]
        assert (tmp_path / "config.yaml").read_text() == "mine"

    def test_a_file(self, tmp_path):
        (tmp_path / "run").write_text("mine")
        outcome = cotune("run", "digits", "--out", tmp_path / "run")
        assert outcome.error == f"{tmp_path / 'run'}: is a file; choose another --out DIR"
        assert outcome.code == 2

    @pytest.mark.slow
    def test_a_place_that_cannot_be_written(self):
        outcome = cotune("run", "digits", "--out", "/proc/cotune/run", "--workers", "1")
        assert outcome.error == "/proc/cotune/run: cannot be written: No such file or directory"
        assert outcome.code == 4


class TestDebug:
    @pytest.mark.parametrize(
        "line", ["--debug show nothing", "show --debug nothing", "show nothing --debug"]
    )
    def test_anywhere_on_the_line(self, line):
        outcome = cotune(*line.split())
        assert outcome.err.startswith("Traceback (most recent call last):\n")
        assert "UsageError" in outcome.err
        assert outcome.err.splitlines()[-1].startswith("cotune: error: nothing: no run is there")
        assert outcome.code == 2


class TestDatasets:
    def test_the_list(self):
        outcome = started("datasets", env={**os.environ, "COLUMNS": "100"})
        assert outcome.code == 0
        lines = outcome.out.splitlines()
        assert lines[0].split() == ["name", "rows", "test", "rows", "classes", "row", "where"]
        assert any(line.split()[:2] == ["digits", "1,437"] for line in lines)

    def test_a_folder_that_looks_like_markup(self, tmp_path):
        folder = tmp_path / "[red]:smile:"
        folder.mkdir()
        (folder / "train-images-idx3-ubyte.gz").touch()
        environment = {**os.environ, "COTUNE_DATA": str(folder), "COLUMNS": "300"}
        assert str(folder) in started("datasets", env=environment).out

    def test_a_reader_that_went_away(self):
        command = f"{sys.executable} -m cotune datasets | true; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_a_full_disk_behind_stdout(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "cotune", "--version"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.stderr == "cotune: error: No space left on device\n"
        assert done.returncode == 4

    def test_a_picture(self, tmp_path):
        path = tmp_path / "digits.png"
        outcome = cotune("datasets", "show", "digits", "-o", path)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out == f"{path}\n"
        with Image.open(path) as image:
            assert image.format == "PNG"
            image.load()
            # Four by four cells: light between them, something drawn in each.
            width, height = image.size
            grey = image.convert("L")
        for row in range(4):
            for column in range(4):
                box = (
                    column * width // 4,
                    row * height // 4,
                    (column + 1) * width // 4,
                    (row + 1) * height // 4,
                )
                cell = np.asarray(grey.crop(box))
                assert int(cell.max()) - int(cell.min()) > 100, (row, column)

    def test_a_picture_in_a_missing_folder(self, tmp_path):
        path = tmp_path / "no" / "digits.png"
        outcome = cotune("datasets", "show", "digits", "-o", path)
        assert outcome.error.startswith(f"{path}: cannot be written (No such file or directory)")
        assert outcome.code == 4
        assert os.listdir(tmp_path) == []

    def test_a_picture_of_nothing(self, tmp_path):
        outcome = cotune("datasets", "show", "digit", "-o", tmp_path / "x.png")
        assert "did you mean digits" in outcome.error
        assert outcome.code == 3
        assert os.listdir(tmp_path) == []

    def test_fetching_what_is_here(self):
        outcome = cotune("datasets", "fetch", "digits")
        assert (outcome.code, outcome.out, outcome.err) == (0, "bundled\n", "")


class TestShow:
    SUMMARY = Summary(
        state="complete",
        seconds=Seconds(total=12.3, search=10.0, final=2.0, study=0.5),
        trials=TrialCounts(complete=5, pruned=1, failed=0, running=0),
        best=BestTrial(number=7, params={"lr": 0.1}, validation_accuracy=0.99, value=0.99),
        final=FinalSummary(test_accuracy=0.98, test_ci95=(0.97, 0.99), epochs=3, parameters=100),
    )

    def make(self, path: str | Path) -> RunDirectory:
        run = RunDirectory.create(path)
        rows = {"train": 100, "validation": 20, "test": 30}
        dataset = {"name": "digits", "rows": rows, "classes": ["0", "1"]}
        run.write_config({"dataset": dataset, "metric": "accuracy", "device": "cuda"})
        run.write_summary(self.SUMMARY)
        run.close()
        return run

    def test_for_people(self, tmp_path, without_pytorch):
        run = self.make(tmp_path / "run")
        outcome = started("show", run.path, env=without_pytorch)
        assert (outcome.code, outcome.err) == (0, "")
        assert "test accuracy        98.00%" in outcome.out

    def test_for_programs(self, tmp_path):
        run = self.make(tmp_path / "run")
        outcome = cotune("show", "--json", run.path)
        assert (outcome.code, outcome.err) == (0, "")
        data = json.loads(outcome.out)
        assert data == json.loads(json.dumps(self.SUMMARY.to_json()))
        assert data["final"]["test_ci95"] == [0.97, 0.99]

    @pytest.mark.parametrize("name", ["config.yaml", "summary.json"])
    def test_a_damaged_run(self, tmp_path, name):
        run = self.make(tmp_path / "run")
        (run.path / name).write_text("{")
        outcome = cotune("show", run.path)
        assert outcome.error.startswith(f"{run.path / name}: cannot be read: ")
        assert outcome.code == 4

    @pytest.mark.parametrize("locale", ["C.UTF-8", "C", "POSIX"])
    def test_a_path_that_is_no_text(self, tmp_path, locale):
        folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff-\xe2\x80\x93")
        run = self.make(folder)
        environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0"}
        outcome = started("show", run.path, env=environment)
        assert (outcome.code, outcome.err) == (0, "")
        assert "folder" in outcome.out
        outcome = started("show", f"{run.path}x", env=environment)
        assert "no run is there" in outcome.error
