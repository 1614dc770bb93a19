"""Samplers side by side: the arithmetic by hand, and real searches on digits."""

from __future__ import annotations

import html
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import cotune
from cotune.cli.main import main
from cotune.data import load
from cotune.data.dataset import Dataset
from cotune.report.terminal.comparison import draw
from cotune.runs.directory import RunDirectory
from cotune.space.presets import load_space
from cotune.tuning.best_so_far import band, best_so_far, reached, sampled
from cotune.tuning.comparison import Comparison, Ended, SearchRecord, cells

pytestmark = pytest.mark.slow

LINE = ["compare", "digits", "--workers", "1", "--lanes", "2"]
SPACE = """
lr: {type: float, low: 0.001, high: 0.01, log: true}
width: {type: int, low: 16, high: 64, step: 16}
epochs: 2
"""


class TestBestSoFar:
    def test_only_what_is_better_is_a_step(self):
        points = [(1, None), (2, 0.5), (3, 0.4), (4, 0.5), (5, 0.7)]
        assert best_so_far(points, maximize=True) == [(2, 0.5), (5, 0.7)]
        assert best_so_far(points, maximize=False) == [(2, 0.5), (3, 0.4)]

    def test_reached_is_the_first_as_good(self):
        steps = [(2.0, 0.5), (5.0, 0.7)]
        assert [reached(steps, target, True) for target in (0.4, 0.5, 0.6, 0.7)] == [2, 2, 5, 5]
        assert reached(steps, 0.8, True) == math.inf
        assert reached([(2.0, 0.5), (3.0, 0.4)], 0.4, False) == 3.0

    def test_a_band_begins_where_all_have_a_score_and_goes_on_to_the_end(self):
        made = band([[(1, 0.1), (4, 0.6)], [(2, 0.3)], [(3, 0.2), (5, 0.9)], []], end=8)
        assert made.x == [3, 4, 5, 8]
        assert made.low == [0.1, 0.2, 0.3, 0.3]
        assert made.median == [0.2, 0.3, 0.6, 0.6]
        assert made.high == [0.3, 0.6, 0.9, 0.9]

    def test_sampled_holds_each_score_until_the_next(self):
        assert sampled([1, 3], [0.1, 0.2], [0, 1, 2.9, 3, 9]) == (
            [1, 2.9, 3, 9],
            [0.1, 0.1, 0.2, 0.2],
        )


def searches(sampler: str, *values: list[float | None]) -> list[SearchRecord]:
    """A search for each seed, whose trials end a second apart."""
    return [
        SearchRecord(
            sampler,
            seed,
            f"{sampler}-{seed}",
            float(len(own)),
            [Ended(i, "complete", i + 1.0, value) for i, value in enumerate(own)],
        )
        for seed, own in enumerate(values)
    ]


def comparison(maximize: bool, *records: list[SearchRecord]) -> Comparison:
    names = tuple(own[0].sampler for own in records)
    settings = {"metric": "accuracy" if maximize else "loss"}
    seeds = max(len(own) for own in records)
    listed = [record for own in records for record in own]
    return Comparison(Path("nowhere"), settings, names, seeds, maximize, listed)


class TestTable:
    def test_by_hand(self):
        compared = comparison(
            True,
            searches("random", [0.5, 0.8], [0.7, 0.6], [None, 0.9]),
            searches("tpe", [0.9, 0.9], [0.7, 0.7], [0.8, None, 0.8]),
        )
        # The medians are 0.8 of (0.8, 0.7, 0.9) and 0.8 of (0.9, 0.7, 0.8).
        assert compared.target == 0.8
        random, tpe = compared.table
        assert (random.trials, random.best, random.low, random.high) == (2, 0.8, 0.7, 0.9)
        # 0.8 is reached after 2 s, never, and after 2 s; by tpe after 1 s, never, and after 1 s.
        assert (random.seconds, tpe.seconds) == (2.0, 1.0)
        assert random.wins is None
        assert (tpe.wins, tpe.ties, tpe.against) == (1, 1, 3)
        assert cells(tpe) == (
            *("tpe", "3", "2", "0.8000", "0.7000 to 0.9000", "1.0", "1 of 3, 1 equal"),
        )

    def test_a_loss_is_better_when_it_is_less(self):
        compared = comparison(
            False, searches("random", [0.5], [0.4]), searches("grid", [0.3], [0.6])
        )
        assert compared.target == pytest.approx(0.45)
        random, grid = compared.table
        assert (random.low, random.high) == (0.4, 0.5)
        assert (grid.wins, grid.ties, grid.against) == (1, 0, 2)

    def test_without_random_search_or_scores(self):
        compared = comparison(True, searches("tpe", [None], [None]))
        assert compared.target is None
        (row,) = compared.table
        assert cells(row) == ("tpe", "2", "1", "-", "-", "-", "-")
        assert compared.bands("trials") == {}
        assert draw(compared, "trials", 80) is None

    def test_a_plot_shows_every_sampler(self):
        compared = comparison(
            True, searches("random", [0.5, 0.8], [0.7, 0.6]), searches("gp", [0.6, 0.9], [0.7, 0.9])
        )
        for by in ("trials", "seconds"):
            drawn = draw(compared, by, 70)
            assert drawn is not None
            lines = drawn.plain.splitlines()
            assert max(len(line) for line in lines[:-1]) <= 70
            assert "r random" in lines[-1]
            assert any("p" in line for line in lines[:-4])


def sealed() -> Dataset:
    """The digits, with a test set that nobody may open."""
    digits = load("digits")

    def open_test():
        raise AssertionError("the test set was opened")

    return Dataset(
        digits.name, digits.inputs, digits.labels, digits.classes, open_test, digits.n_test
    )


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[str]]:
    """Two samplers, two seeds, three trials each: the folder, and the lines that were printed."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "space.yaml").write_text(SPACE)
    asked = ["--samplers", "grid,random", "--seeds", "2", "--n-trials", "3", "--device", "cpu"]
    paths = ["--space", str(folder / "space.yaml"), "--out", str(folder / "out")]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        patch.setattr("cotune.data.reading.load", lambda name: sealed())
        main([*LINE, *asked, *paths])
    return folder / "out", out.getvalue().splitlines(), err.getvalue().splitlines()


NAMES = ["grid-0", "random-0", "grid-1", "random-1"]


def test_the_searches_take_turns_and_are_said(compared) -> None:
    path, _, lines = compared
    assert len(lines) == 8
    for i, name in enumerate(NAMES):
        sampler, seed = name.split("-")
        assert lines[2 * i] == f"{sampler}, seed {seed}: search {i + 1} of 4"
        assert lines[2 * i + 1].startswith(f"{sampler}, seed {seed}: 3 trials in ")
    data = json.loads((path / "compare.json").read_text())
    assert [search["directory"] for search in data["searches"]] == NAMES


def test_each_is_a_run_of_the_search_alone(compared) -> None:
    path, *_ = compared
    lanes = set()
    for name in NAMES:
        run = RunDirectory.open(path / name)
        summary, config = run.summary(), run.data_config()
        assert (summary.state, summary.message) == ("complete", "search only")
        assert (summary.final, summary.trials.running) == (None, 0)
        assert not run.best_path.exists()
        assert run.final() is None
        assert f"{config.sampler}-{config.seed}" == name
        lanes.add(config.lanes)
    assert len(lanes) == 1


def test_the_numbers_are_optunas(compared) -> None:
    path, *_ = compared
    data = json.loads((path / "compare.json").read_text())
    for search in data["searches"]:
        storage = JournalStorage(
            JournalFileBackend(str(path / search["directory"] / "study.journal"))
        )
        study = optuna.load_study(study_name="cotune", storage=storage)
        began = study.trials[0].datetime_start
        assert len(search["trials"]) == 3
        for ended in search["trials"]:
            trial = study.trials[ended["number"]]
            assert ended["value"] == trial.value
            assert began is not None
            assert trial.datetime_complete is not None
            seconds = (trial.datetime_complete - began).total_seconds()
            assert ended["seconds"] == pytest.approx(seconds, abs=1e-3)
        assert search["trials"] == sorted(search["trials"], key=lambda one: one["seconds"])
        best = max(trial.value for trial in study.trials if trial.value is not None)
        (row,) = [row for row in data["table"] if row["sampler"] == search["sampler"]]
        assert row["low"] <= best <= row["high"]
        assert row["searches"] == 2
    # No portfolio: the default's trial comes first in every run, and here in none.
    assert all(
        trial.params["lr"] != load_space("mlp").default()["lr"]
        for trial in study.trials
        if search["sampler"] == "random"
    )


def test_the_table_and_the_plots(compared) -> None:
    path, lines, _ = compared
    assert re.sub(" +", " ", lines[0]).strip() == (
        "sampler seeds trials best range seconds beat random"
    )
    assert [line.split()[:3] for line in lines[1:3]] == [["grid", "2", "3"], ["random", "2", "3"]]
    assert re.search(r" [0-2] of 2(, [12] equal)? *$", lines[1])
    assert sum("g grid  r random" in line for line in lines) == 2
    assert lines[-1] == str(path / "compare.html")


def test_the_page_is_one_inert_file(compared) -> None:
    path, *_ = compared
    page = (path / "compare.html").read_text()
    policy = html.unescape(page[: page.index("</head>")])
    assert "default-src 'none'; script-src 'sha256-" in policy
    assert "<h1>digits: grid, random</h1>" in page
    content = page.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    charts = json.loads(content)["charts"]
    assert set(charts) == {"trials", "seconds"}
    for chart in charts.values():
        shown = [trace["name"] for trace in chart["data"] if trace.get("showlegend", True)]
        assert shown == ["grid", "random"]
    assert all(f'id="chart-{name}"' in page for name in charts)
    assert all(f"<td>{name}</td>" in page for name in NAMES)


def test_the_report_of_a_search_says_what_it_is(compared, capsys, monkeypatch) -> None:
    path, *_ = compared
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    main(["report", str(path / "random-1")])
    report = Path(capsys.readouterr().out.strip())
    assert "This run was a search only, as one of a comparison." in report.read_text()


def test_from_python_a_time_limit_is_each_searchs(tmp_path: Path) -> None:
    result = cotune.compare(
        sealed(),
        samplers=["tpe"],
        seeds=1,
        space=yaml.safe_load(SPACE),
        metric="loss",
        timeout=1.5,
        workers=1,
        lanes=2,
        out=tmp_path / "out",
    )
    (search,) = result.searches
    assert 1.2 < search.seconds < 3.5
    assert result.is_whole
    (row,) = result.table
    assert row.best is not None
    assert row.best == min(trial.value for trial in search.trials if trial.value is not None)


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "out"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "cotune",
            *LINE,
            "--model",
            "mlp",
            "--samplers",
            "random",
            "--seeds",
            "50",
            "--n-trials",
            "1",
            "--out",
            path,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    try:
        deadline = time.monotonic() + 60
        while not (path / "compare.json").exists():
            assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == f"cotune: stopped by Ctrl-C; what was finished is in {path}"
    data = json.loads((path / "compare.json").read_text())
    finished = len(data["searches"])
    assert 1 <= finished < 50
    assert printed.splitlines()[1].split()[:2] == ["random", str(finished)]
    assert (
        f"It was stopped: {finished} of 50 searches had ended."
        in (path / "compare.html").read_text()
    )


@pytest.mark.parametrize(
    ("line", "message", "code"),
    [
        ("--samplers tpe,randm", "samplers: 'randm' is unknown; did you mean random?", 2),
        ("--samplers tpe,grid,tpe", "samplers: tpe is there twice", 2),
        ("--samplers ,", "samplers: none is given; choose some of tpe, random, grid, qmc, gp", 2),
        ("--samplers tpe,", "samplers: '' is unknown; choose one of tpe, random, grid, qmc, gp", 2),
        ("--seeds 0", "Invalid value for '--seeds': 0 is not in the range x>=1.", 2),
        ("--timeout 5x", "timeout: '5x' is not a duration; write 90s, 5m or 2h", 2),
        ("--pruner medain", "pruner: 'medain' is unknown; did you mean median?", 2),
        ("--model cnn --space mlp", "model: give a model or a space, not both", 2),
    ],
)
def test_what_is_wrong(line, message, code, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["compare", "digits", *line.split(" ")])
    printed = capsys.readouterr()
    assert (exit_.value.code, printed.out) == (code, "")
    assert printed.err == f"cotune: error: {message}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_and_an_unknown_dataset(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    (tmp_path / "mine").touch()
    with pytest.raises(SystemExit, match="2"):
        main(["compare", "digits", "--out", str(tmp_path)])
    assert "other files are there already; choose another --out DIR" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="3"):
        main(["compare", "digit", "--out", str(tmp_path / "out")])
    assert "no dataset or file 'digit'; did you mean digits?" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_from_python_what_is_wrong(tmp_path) -> None:
    with pytest.raises(cotune.UsageError, match="samplers: none is given"):
        cotune.compare("digits", samplers=[], out=tmp_path / "out")
    with pytest.raises(cotune.UsageError, match="samplers: 1 is not the name of a sampler"):
        cotune.compare("digits", samplers=[1], out=tmp_path / "out")  # type: ignore[list-item]
    with pytest.raises(cotune.UsageError, match="seeds: 0 is not a whole number above 0"):
        cotune.compare("digits", seeds=0, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
