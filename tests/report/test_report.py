"""The report: whole for every way a run can end, alone in one file, inert against hostile names."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import plotly.offline
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score, log_loss
from sklearn.neural_network import MLPClassifier

from cotune.exceptions import StorageError
from cotune.records import EpochReport, FinalResult, State, TrialResult, Value
from cotune.report import build_report
from cotune.report.html.chart import focus
from cotune.report.html.curve_charts import thinned
from cotune.runs.directory import RunDirectory
from cotune.runs.summary import BestTrial, FinalSummary, Seconds, Summary, TrialCounts

HYPERPARAMETERS = (
    "n_layers",
    "width",
    "batch_norm",
    "dropout",
    "lr",
    "optimizer",
    "momentum",
    "weight_decay",
    "batch_size",
    "epochs",
)
CLASSES = tuple(str(digit) for digit in range(10))


def suggest(trial: optuna.Trial, epochs: int, prefix: str = "") -> dict[str, Value]:
    """The hyperparameters of one trial; ``prefix`` makes their names hostile."""
    params: dict[str, Value] = {
        "n_layers": trial.suggest_int(f"{prefix}n_layers", 1, 3),
        "width": trial.suggest_int(f"{prefix}width", 8, 64, log=True),
        "batch_norm": trial.suggest_categorical(f"{prefix}batch_norm", (False, True)),
        "dropout": trial.suggest_float(f"{prefix}dropout", 0.0, 0.5),
        "lr": trial.suggest_float(f"{prefix}lr", 1e-4, 1e-1, log=True),
        "optimizer": trial.suggest_categorical(f"{prefix}optimizer", ("adam", "sgd")),
        "weight_decay": trial.suggest_float(f"{prefix}weight_decay", 1e-6, 1e-2, log=True),
        "batch_size": trial.suggest_categorical(f"{prefix}batch_size", (32, 64, 128)),
        "epochs": epochs,
    }
    if params["optimizer"] == "sgd":
        params["momentum"] = trial.suggest_float(f"{prefix}momentum", 0.0, 0.99)
    return params


def network(params: dict[str, Value], seed: int) -> MLPClassifier:
    return MLPClassifier(
        hidden_layer_sizes=(int(params["width"]),) * int(params["n_layers"]),
        solver=str(params["optimizer"]),
        alpha=float(params["weight_decay"]),
        batch_size=int(params["batch_size"]),
        learning_rate_init=float(params["lr"]),
        momentum=float(params.get("momentum", 0.9)),
        random_state=seed,
    )


def grid(images: np.ndarray) -> Image.Image:
    """16 images ``[16, 8, 8]`` as a 4 x 4 grid of grey pixels."""
    cells = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=0)
    rows = [np.hstack(list(cells[i : i + 4])) for i in range(0, 16, 4)]
    pixels = (255 - np.vstack(rows) * 255 / 16).astype(np.uint8)
    return Image.fromarray(pixels).resize((400, 400), Image.Resampling.NEAREST)


def make_run(
    path: Path,
    *,
    trials: int = 24,
    epochs: int = 6,
    final: bool = True,
    every_trial_fails: bool = False,
    classes: Sequence[str] = CLASSES,
    dataset: str = "digits",
    prefix: str = "",
    pictures: bool = True,
) -> RunDirectory:
    """A real run on scikit-learn's digits, recorded with RunDirectory's own writers."""
    started = time.monotonic()
    images, labels = load_digits(return_X_y=True)
    images = images / 16
    train, validation = slice(0, 900), slice(900, 1300)
    run = RunDirectory.create(path)
    run.write_config(
        {
            "command": f"cotune run {dataset} --trials {trials} --seed 7",
            "dataset": {
                "name": dataset,
                "fingerprint": "sha256:6f1d9f2b1c0b4cbb8c27a9c5e2a1d38e",
                "rows": {"train": 900, "validation": 400, "test": 497},
                "classes": list(classes),
                "input_shape": [1, 8, 8],
            },
            "space": {"lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}},
            "metric": "accuracy",
            "sampler": "tpe",
            "pruner": "median",
            "seed": 7,
            "timeout_seconds": None,
            "n_trials": trials,
            "workers": 2,
            "device": "cpu",
            "versions": {"cotune": "0.1.0", "python": "3.11", "torch": "2.13", "optuna": "5.0"},
        }
    )
    run.tables.start([f"{prefix}{name}" for name in HYPERPARAMETERS])
    if pictures:
        grid(load_digits().images[:16]).save(run.samples_path)
    storage = JournalStorage(JournalFileBackend(str(run.journal_path)))
    study = optuna.create_study(
        study_name="cotune",
        storage=storage,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=7),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    counts = {"complete": 0, "pruned": 0, "failed": 0, "running": 0}
    best: BestTrial | None = None
    highest = -math.inf
    for _ in range(trials):
        trial = study.ask()
        params = suggest(trial, epochs, prefix)
        model = network(params, seed=trial.number)
        began = time.monotonic()
        state: State = "complete"
        reason = ""
        value = None
        epoch = 0
        for epoch in range(1, epochs + 1):
            if every_trial_fails or trial.number == 11:
                state, reason = "failed", f"{prefix}loss is not finite at epoch {epoch}"
                break
            model.partial_fit(images[train], labels[train], classes=range(10))
            chances = model.predict_proba(images[validation])
            guesses = chances.argmax(1)
            value = float((guesses == labels[validation]).mean())
            run.tables.append_report(
                EpochReport(
                    number=trial.number,
                    epoch=epoch,
                    train_loss=float(model.loss_),
                    train_accuracy=float(model.score(images[train], labels[train])),
                    scores={
                        "loss": float(log_loss(labels[validation], chances, labels=range(10))),
                        "accuracy": value,
                        "f1": float(f1_score(labels[validation], guesses, average="macro")),
                    },
                    seconds=time.monotonic() - began,
                    steps=30,
                )
            )
            trial.report(value, epoch)
            if trial.should_prune() and epoch < epochs:
                state, reason = "pruned", "below the median"
                break
        if state == "failed":
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif state == "pruned":
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)
        counts[state] += 1
        named = {f"{prefix}{name}": value for name, value in params.items()}
        seconds = time.monotonic() - began
        run.tables.append_trial(
            TrialResult(trial.number, state, value, epoch, named, seconds, reason=reason)
        )
        if state == "complete" and (value is not None and value > highest):
            highest = value
            best = BestTrial(number=trial.number, params=named, validation_accuracy=value)
            chosen = params
    result = None
    if final and best is not None:
        result = train_final(run, chosen, epochs, pictures)
    searched = time.monotonic() - started
    run.write_summary(
        Summary(
            state="complete" if result else "failed" if every_trial_fails else "interrupted",
            seconds=Seconds(total=searched, search=searched, final=0.2, study=0.1),
            trials=TrialCounts(**counts),
            best=best,
            final=None
            if result is None
            else FinalSummary(
                test_accuracy=result.test_accuracy,
                test_ci95=result.test_ci95,
                epochs=result.epochs,
                parameters=result.parameters,
            ),
            message="every trial failed: loss is not finite" if every_trial_fails else "",
        )
    )
    run.close()
    return run


def train_final(
    run: RunDirectory, params: dict[str, Value], epochs: int, pictures: bool
) -> FinalResult:
    images, labels = load_digits(return_X_y=True)
    images = images / 16
    model = network(params, seed=0)
    curve: dict[str, list[float]] = {"loss": [], "accuracy": []}
    for _ in range(epochs):
        model.partial_fit(images[:1300], labels[:1300], classes=range(10))
        curve["loss"].append(float(model.loss_))
        curve["accuracy"].append(float(model.score(images[:1300], labels[:1300])))
    chances = model.predict_proba(images[1300:])
    truth, guesses = labels[1300:], chances.argmax(1)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (truth, guesses), 1)
    wrong = sorted(np.flatnonzero(truth != guesses), key=lambda row: -chances[row].max())[:16]
    if pictures:
        rows = (list(wrong) * 16)[:16]
        grid(load_digits().images[1300:][rows]).save(run.mistakes_path)
    accuracy = float((truth == guesses).mean())
    half = 1.96 * (accuracy * (1 - accuracy) / len(truth)) ** 0.5
    result = FinalResult(
        test_accuracy=accuracy,
        test_ci95=(accuracy - half, accuracy + half),
        epochs=epochs,
        parameters=sum(w.size for w in (*model.coefs_, *model.intercepts_)),
        curve=curve,
        confusion=confusion.tolist(),
        mistakes=[
            {
                "row": int(row),
                "true": int(truth[row]),
                "predicted": int(guesses[row]),
                "probability": float(chances[row].max()),
            }
            for row in wrong
        ],
    )
    run.write_final(result)
    return result


HOSTILE = (
    "</script><script>marker('closed')</script>",
    "<img src=x onerror=marker('img')>",
    "\"><svg onload=marker('svg')>",
    "'; marker('quote'); '",
    "{{ marker('template') }}",
    "<!--<script>",
    "<a href=\"javascript:marker('link')\">link</a>",
    "%{customdata} <b>bold</b> &lt;i&gt;",
    "\u2028`${marker('literal')}`",
    "=cmd|' /C calc'!A0",
)
MARKER = "<script>marker"


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """scikit-learn's warnings on overflowing networks are not what is tested here."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(
        tmp_path_factory.mktemp("report") / "<b onclick=marker('path')>",
        classes=HOSTILE,
        dataset=HOSTILE[0] + HOSTILE[1],
        prefix="</script><script>marker('name')</script>",
    )


def figures(page: str) -> dict[str, Any]:
    """The charts in the page, by name."""
    [found] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    charts: dict[str, Any] = json.loads(found)["charts"]
    return charts


def text_of(page: str) -> str:
    """The page without its scripts and style, white space as single blanks."""
    page = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_a_whole_run_has_every_chart_and_number(run: RunDirectory) -> None:
    path = build_report(run)
    assert path == run.report_path
    assert not path.with_name("report.html.tmp").exists()
    page = path.read_text(encoding="utf-8")
    charts = figures(page)
    assert charts.keys() >= {
        "history",
        "curves-accuracy",
        "curves-loss",
        "importances",
        "parallel",
        "final-accuracy",
        "final-loss",
        "confusion",
    }
    assert sum(name.startswith("slice-") for name in charts) >= 8
    for name in charts:
        assert page.count(f'id="chart-{name}"') == 1
    final, summary = run.final(), run.summary()
    assert final is not None
    assert final.test_accuracy is not None
    assert final.test_ci95 is not None
    assert summary.best is not None
    text = text_of(page)
    assert f"{100 * final.test_accuracy:.2f} %" in text
    assert f"{100 * final.test_ci95[0]:.2f}–{100 * final.test_ci95[1]:.2f} %" in text
    assert f"{100 * (summary.best.validation_accuracy or 0):.2f} %" in text
    assert "optimistic" in text
    assert "sha256:6f1d9f2b1c0b4cbb8c27a9c5e2a1d38e" in text
    assert "cotune run digits --trials 24 --seed 7" in text
    assert page.count('<img src="data:image/png;base64,') == 2
    assert "Not drawn" not in text


def test_every_trial_has_a_learning_curve(run: RunDirectory) -> None:
    charts = figures(build_report(run).read_text(encoding="utf-8"))
    drawn: dict[int, int] = {}
    for trace in charts["curves-loss"]["data"]:
        if trace["mode"] == "lines":
            assert len(trace["x"]) == len(trace["y"]) == len(trace["customdata"])
            for number in trace["customdata"]:
                if number is not None:
                    drawn[number] = drawn.get(number, 0) + 1
    assert drawn == {number: len(reports) for number, reports in run.tables.curves().items()}
    names = [trace["name"] for trace in charts["curves-loss"]["data"]]
    best = run.summary().best
    assert best is not None
    assert f"best: trial {best.number}" in names


def test_the_page_needs_no_network(run: RunDirectory) -> None:
    page = build_report(run).read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe|object)\b[^>]*\s(src|href)=(?!\"data:)", page)
    assert not re.search(r"@import|url\(", text_without_plotly(page))
    assert "default-src 'none'" in html.unescape(page[:2000])
    assert 4_000_000 < len(page) < 6_000_000  # plotly.js once: 4.8 MB


def text_without_plotly(page: str) -> str:
    return page.replace(plotly.offline.get_plotlyjs(), "")


@pytest.mark.slow
def test_a_run_without_a_final_model(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", final=False, pictures=False)
    page = build_report(run).read_text(encoding="utf-8")
    text = text_of(page)
    assert "This run was interrupted. There is no final model" in text
    assert "The best 24" not in text
    assert figures(page).keys() >= {"history", "curves-accuracy", "importances", "parallel"}
    assert "confusion" not in figures(page)
    assert "<img src=" not in text_without_plotly(page)


def test_a_run_whose_trials_all_failed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=4, every_trial_fails=True)
    page = build_report(run).read_text(encoding="utf-8")
    text = text_of(page)
    assert "This run failed: every trial failed: loss is not finite." in text
    assert "(4 of 4): loss is not finite at epoch 1." in text
    assert "it needs 1 complete trial; this run has none" in text
    assert figures(page) == {}


def test_a_run_of_one_trial(tmp_path: Path) -> None:
    page = build_report(make_run(tmp_path / "run", trials=1)).read_text(encoding="utf-8")
    assert figures(page).keys() >= {"history", "curves-accuracy", "confusion"}
    assert figures(page).keys().isdisjoint({"importances", "parallel", "slice-0"})
    text = text_of(page)
    assert "it needs 10 complete or pruned trials; this run has 1" in text
    assert "it needs 2 complete or pruned trials; this run has 1" in text


def test_a_run_that_wrote_little_more_than_its_config(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    rows = {"train": 8, "validation": 2, "test": 2}
    dataset = {"name": "digits", "rows": rows, "classes": ["0", "1"]}
    run.write_config({"dataset": dataset, "metric": "accuracy", "device": "cpu"})
    seconds = Seconds(total=0.5, search=0.0, final=0.0, study=0.0)
    counts = TrialCounts(complete=0, pruned=0, failed=0, running=0)
    run.write_summary(Summary("interrupted", seconds, counts, message="stopped by SIGINT"))
    run.close()
    text = text_of(build_report(run).read_text(encoding="utf-8"))
    assert "This run was interrupted: stopped by SIGINT." in text
    assert "No trial finished." in text


def test_infinite_and_missing_scores_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=2, final=False)
    for epoch, loss in ((1, math.inf), (2, math.nan), (3, 0.5)):
        scores = {"loss": loss, "accuracy": 0.5, "f1": 0.5}
        run.tables.append_report(EpochReport(7, epoch, loss, 0.5, scores, 0.1, 1))
    charts = figures(build_report(run).read_text(encoding="utf-8"))
    [points] = [
        trace["y"]
        for trace in charts["curves-loss"]["data"]
        if trace["name"] == "unfinished" and trace["mode"] == "lines"
    ]
    assert points == [0.5, None]


def test_the_worst_tenth_does_not_flatten_the_rest() -> None:
    values = [0.9 + 0.001 * i for i in range(20)] + [0.1]
    limits, hidden = focus(values, maximize=True)
    assert limits is not None
    assert 0.89 < limits[0] < limits[1] < 0.93
    assert hidden == 1
    assert focus([1 - value for value in values], maximize=False)[1] == 1
    assert focus(range(20), maximize=True) == (None, 0)
    assert focus([0.5] * 20, maximize=True) == (None, 0)


def test_long_curves_are_thinned_with_their_ends() -> None:
    reports = [EpochReport(0, epoch, 0.0, 0.0, {}, 0.0, 1) for epoch in range(1, 51)]
    kept = [report.epoch for report in thinned(reports, 20)]
    assert len(kept) == 20
    assert kept[0] == 1
    assert kept[-1] == 50


def test_an_earlier_report_survives_when_the_new_one_cannot_be_written(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build_report(run).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("cotune.runs.files.os.fsync", full)
        with pytest.raises(StorageError, match="cannot be written: No space left"):
            build_report(run)
    assert run.report_path.read_bytes() == before
    assert not run.report_path.with_name("report.html.tmp").exists()


def test_hostile_names_are_escaped_everywhere(hostile: RunDirectory) -> None:
    page = text_without_plotly(build_report(hostile).read_text(encoding="utf-8"))
    assert MARKER not in page
    assert len(re.findall(r"<script\b", page)) == len(re.findall(r"</script>", page)) == 3
    assert "<img src=x" not in page
    assert "<svg" not in page
    charts = figures(page)
    assert charts["confusion"]["data"]
    for string in strings(charts):
        without_breaks = string.replace("<br>", "").replace("<extra></extra>", "")
        assert "<" not in without_breaks


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=20000",
    "--enable-logging=stderr",
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("which", ["run", "hostile"])
def test_a_browser_draws_all_and_runs_no_foreign_script(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run: RunDirectory = request.getfixturevalue(which)
    report = build_report(run).read_text(encoding="utf-8")
    drawn = len(figures(report))
    # Without the policy, so that the escaping has to hold alone; a marker that runs shows in the
    # document's title.
    probe = "<script>window.marker = (what) => { document.title = 'RAN ' + what; };</script>"
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', probe, report)
    assert probe in bare
    for name, page in (("with", report), ("without", bare)):
        path = tmp_path / f"{name}.html"
        path.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [
                str(CHROMIUM),
                *FLAGS,
                "--window-size=1200,2000",
                f"--user-data-dir={tmp_path / name}",
                "--dump-dom",
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert f'data-drawn="{drawn}"' in done.stdout
        assert "<title>RAN" not in done.stdout
        assert "CONSOLE" not in done.stderr
