"""Model cards: what the run recorded, and names from the data as they are."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

import cotune
from cotune.cli.main import main
from cotune.inference.model_file import save_model
from cotune.report.card import model_card
from cotune.runs.directory import RunDirectory
from tests.inference.test_model_file import make_model
from tests.report.test_hostile_names import HOSTILE
from tests.support.report_runs import make_run

GOLDEN = Path(__file__).parents[1] / "golden"


def parts_of(card: str) -> tuple[dict[str, Any], str]:
    """The front matter, and the rest as HTML."""
    empty, front, rest = card.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(front), MarkdownIt().enable("table").render(rest)


def cells_of(page: str, first: str) -> list[str]:
    """The cells of the row of a table whose first cell is this."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.S)
    found = [re.sub(r"<[^>]+>", "", row).split("\n")[1:-1] for row in rows]
    (cells,) = [cells for cells in found if cells[0] == first]
    return cells[1:]


def test_the_card_has_what_the_run_recorded() -> None:
    run = cotune.open_run(GOLDEN / "complete")
    front, page = parts_of(run.card())
    assert front["pipeline_tag"] == "tabular-classification"
    assert "license" not in front
    (result,) = front["model-index"][0]["results"]
    scores = {one["type"]: one["value"] for one in result["metrics"]}
    final = run.final
    assert final is not None
    assert scores["accuracy"] == round(final.test_scores["accuracy"], 6)
    assert scores["roc_auc"] == round(final.test_scores["auc"], 6)
    assert result["dataset"] == {"type": "custom", "name": "people", "split": "test"}
    cells = cells_of(page, "this model")
    assert cells == ["91.67 %", "80.45–96.71 %", "0.9183", "0.9167", "0.9678", "0.2514"]
    assert cells_of(page, "the default configuration")[-1] == "0.3157"
    (hits, misses), (false, _) = final.confusion
    recall, precision = hits / (hits + misses), hits / (hits + false)
    wanted = ["", str(hits + misses), f"{100 * recall:.2f} %", f"{100 * precision:.2f} %"]
    assert cells_of(page, "no") == wanted
    assert cells_of(page, "lr") == ["0.004"]
    card = json.loads((GOLDEN / "complete/best/model.json").read_text())
    recorded = run._run.data_config()
    for text in (
        card["weights"]["sha256"],
        recorded.dataset.fingerprint,
        "153 to train on, 39 to validate, 48 for the test",
        "1 of 48 test rows is also in the training data",
        "within noise",
        "2 classes had fewer than 30 test rows",
        recorded.versions["torch"],
    ):
        assert str(text) in page
    assert str(recorded.dataset.source) not in page


def test_it_says_no_more_of_the_default_than_there_is(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=3)
    save_model(run.best_path, make_model(input_shape=(8, 8)), {"lr": 0.1}, "0.1.0")
    front, page = parts_of(model_card(run))
    assert front["pipeline_tag"] == "image-classification"
    assert "default" not in page
    final = run.final()
    assert final is not None
    assert cells_of(page, "this model")[0] == f"{100 * (final.test_accuracy or 0):.2f} %"


def test_names_from_the_data_are_inert(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=3, classes=HOSTILE, dataset=HOSTILE[0] + "\n# Title")
    hostile = {f"{name}|`{name}``": "|" for name in HOSTILE}
    save_model(run.best_path, make_model(input_shape=(8, 8)), hostile, "0.1.0")
    config = yaml.safe_load(run.config_path.read_text())
    config["dataset"]["remarks"] = list(HOSTILE)
    config["dataset"]["fingerprint"] = "0"
    run.write_config(config)
    front, page = parts_of(model_card(run))
    assert front["tags"] == ["cotune", "pytorch", "optuna"]
    assert set(re.findall(r"<([a-z0-9]+)", page)) <= {
        *("h1", "h2", "p", "em", "strong", "code", "pre", "ul", "li"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert page.count("<h1>") == 1
    for row in re.findall(r"<tr>(.*?)</tr>", page, re.S):
        assert len(re.findall("<t[hd]", row)) in (2, 5, 7)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(GOLDEN / "complete", run)
    main(["card", str(run)])
    text = capsys.readouterr().out
    assert text == cotune.open_run(run).card()
    main(["card", str(run), "-o", str(tmp_path / "README.md")])
    assert (tmp_path / "README.md").read_text() == text
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("folder", "options", "code", "line"),
    [
        ("killed", (), 3, "has no final model to describe; it is interrupted"),
        ("objective", (), 2, "is a run of an objective"),
        ("nothing", (), 2, "no run is there"),
        ("complete", ("-o", "{run}/config.yaml"), 2, "is a run's own file"),
        ("complete", ("-o", "{run}/trials.csv/card.md"), 4, "cannot be written"),
    ],
)
def test_what_has_no_card(
    folder: str,
    options: tuple[str, ...],
    code: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = GOLDEN / folder
    with pytest.raises(SystemExit) as end:
        main(["card", str(run), *(one.format(run=run) for one in options)])
    assert end.value.code == code
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_a_model_without_its_run_has_no_card() -> None:
    with pytest.raises(cotune.UsageError, match="no run is there"):
        model_card(RunDirectory.open(GOLDEN / "complete" / "best"))
