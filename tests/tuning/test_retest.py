"""A second look at the sealed test set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import cotune
from cotune.cli.main import cotune as command
from cotune.exceptions import ModelFileError, UsageError
from cotune.tuning.retest import retest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("retest") / "run"
    cotune.run("digits", n_trials=2, timeout=30, workers=1, out=path)
    return path


def readings(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (path / "readings.jsonl").read_text().splitlines()]


def test_it_has_to_be_asked_for_and_is_recorded(path: Path):
    assert len(readings(path)) == 1
    with pytest.raises(UsageError, match=r"the test set was read on 20.*--again"):
        retest(path)
    assert len(readings(path)) == 1
    result = cotune.open_run(path)
    done = CliRunner().invoke(command, ["test", str(path), "--again"])
    assert done.output.startswith(f"test accuracy {result.test_accuracy:.2%} (95 % interval")
    assert [reading["accuracy"] for reading in readings(path)] == [result.test_accuracy] * 2
    shown = CliRunner().invoke(command, ["show", str(path)])
    assert "360 rows read 2 times" in shown.output


def test_data_that_changed(path: Path):
    config = path / "config.yaml"
    before = config.read_text()
    try:
        changed = yaml.safe_load(before)
        changed["dataset"]["fingerprint"] = "0" * 64
        config.write_text(yaml.safe_dump(changed))
        with pytest.raises(UsageError, match="digits: is not what the run was on"):
            retest(path, again=True)
        changed["dataset"]["name"] = "mine"
        config.write_text(yaml.safe_dump(changed))
        with pytest.raises(UsageError, match="mine: is no named dataset"):
            retest(path, again=True)
    finally:
        config.write_text(before)


def test_a_run_without_a_final_model(path: Path, tmp_path: Path):
    (tmp_path / "config.yaml").write_text((path / "config.yaml").read_text())
    with pytest.raises(ModelFileError, match="no model is there"):
        retest(tmp_path)
