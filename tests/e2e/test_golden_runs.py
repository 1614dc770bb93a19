"""Runs of an older version are still shown, resumed and predicted with, and come out equal."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cotune.cli.main import cotune as command

pytestmark = pytest.mark.slow

DRAWN = 4  # trials that the killed run had begun
GOLDEN = Path(__file__).parents[1] / "golden"
CLOCK = ("seconds",)  # columns that no two runs share


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command beside copies of all golden runs."""
    shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
    for config in tmp_path.glob("*/config.yaml"):
        config.write_text(config.read_text().replace("DATA/", f"{tmp_path}/"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        done = CliRunner().invoke(command, arguments)
        if done.exception is not None:
            raise done.exception
        return done

    return run


def rows(path: Path | str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return [
            {name: cell for name, cell in row.items() if name not in CLOCK}
            for row in csv.DictReader(file)
        ]


def assert_same_trials(found: list[dict[str, str]], wanted: list[dict[str, str]]) -> None:
    """What was drawn is equal; a score may be a row of 39 off, as other processors round."""
    assert [{**row, "value": ""} for row in found] == [{**row, "value": ""} for row in wanted]
    values = [float(row["value"]) for row in wanted]
    assert [float(row["value"]) for row in found] == pytest.approx(values, abs=1.1 / 39)


@pytest.mark.parametrize("name", ["complete", "killed", "objective", "objective-killed"])
def test_show(invoke, name: str):
    stored = json.loads((GOLDEN / name / "summary.json").read_text())
    shown = json.loads(invoke("show", name, "--json").output)
    assert shown["state"] == ("interrupted" if "killed" in name else "complete")
    assert shown["best"] == stored["best"]
    for state in ("complete", "pruned", "failed"):
        assert shown["trials"][state] == stored["trials"][state]
    if stored.get("final"):
        assert shown["final"]["test_accuracy"] == stored["final"]["test_accuracy"]
    assert "trials" in invoke("show", name).output


@pytest.mark.parametrize("name", ["complete", "objective"])
def test_report(invoke, name: str):
    invoke("report", name)
    assert "</html>" in Path(name, "report.html").read_text()


def test_predict(invoke):
    invoke("predict", "complete", "people.csv", "--proba", "-o", "now.csv")
    found, wanted = rows("now.csv"), rows("complete-predictions.csv")
    assert [row["predicted"] for row in found] == [row["predicted"] for row in wanted]
    for column in ("p_no", "p_yes"):
        shares = [float(row[column]) for row in wanted]
        assert [float(row[column]) for row in found] == pytest.approx(shares, abs=1e-5)


def test_evaluate(invoke):
    stored = json.loads((GOLDEN / "complete" / "summary.json").read_text())
    found = json.loads(invoke("evaluate", "complete", "people.csv", "--json").output)
    assert found["parts"]["test"]["accuracy"] == pytest.approx(stored["final"]["test_accuracy"])
    ensemble = json.loads(
        invoke("evaluate", "complete", "people.csv", "--json", "--ensemble").output
    )
    assert ensemble["rows"] == 240


def test_resume(invoke):
    """What had ended stays, what was in training ends as if it had not been killed.

    Later trials are drawn by another sampler than that version's.
    """
    before = rows("killed/trials.csv")
    invoke("resume", "killed", "--quiet")
    after = rows("killed/trials.csv")
    assert after[: len(before)] == before
    assert len(after) == 8
    wanted = {row["number"]: row for row in rows("reference-trials.csv")}
    drawn = [row for row in after if int(row["number"]) < DRAWN]
    assert_same_trials(drawn, [wanted[row["number"]] for row in drawn])
    assert json.loads(Path("killed/final.json").read_text())["test_accuracy"] > 0.5


def test_resume_an_objective(invoke):
    before = rows("objective-killed/trials.csv")
    invoke("resume", "objective-killed", "--objective", "objective.py:objective", "--quiet")
    after = rows("objective-killed/trials.csv")
    assert after[: len(before)] == before
    assert len(after) == 14
    # drawn by the same random numbers, with which the longer of two runs begins
    drawn = [(row["x"], row["kind"]) for row in sorted(after, key=lambda row: int(row["number"]))]
    other = sorted(rows("objective/trials.csv"), key=lambda row: int(row["number"]))
    assert drawn[:12] == [(row["x"], row["kind"]) for row in other]
