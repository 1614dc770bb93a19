from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from cotune.exceptions import StorageError, UsageError
from cotune.runs.directory import RunDirectory

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    shutil.copytree(GOLDEN / "complete", tmp_path / "run")
    return RunDirectory.open(tmp_path / "run")


@pytest.fixture
def objective(tmp_path: Path) -> RunDirectory:
    shutil.copytree(GOLDEN / "objective", tmp_path / "objective")
    return RunDirectory.open(tmp_path / "objective")


def change(run: RunDirectory, *keys: str, value: object) -> None:
    """Sets one value of the configuration; without one (...), removes its key."""
    config = yaml.safe_load(run.config_path.read_text())
    inner = config
    for key in keys[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    run.config_path.write_text(yaml.safe_dump(config))


def test_a_run_on_data(run):
    config, options = run.data_config(), run.options()
    assert config == run.config()
    assert (config.dataset.name, config.dataset.rows.test, config.metric) == (
        "people",
        48,
        "accuracy",
    )
    assert (options.seed, options.sampler, options.n_trials) == (3, "random", 5)
    # What this older run did not record.
    assert (options.inputs, options.channels, config.dataset.baseline) == (
        "standardize",
        "none",
        None,
    )


def test_a_run_of_an_objective(objective):
    config = objective.objective_config()
    assert (config.objective, config.direction, config.workers) == (
        "objective.py:objective",
        "minimize",
        2,
    )
    assert config.arguments == []


def test_the_other_kind(run, objective):
    with pytest.raises(UsageError, match="is a run of an objective, without data or a model"):
        objective.data_config()
    with pytest.raises(UsageError, match="run: is no run of an objective"):
        run.objective_config()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("dataset",), 3),
        (("dataset", "rows", "test"), "many"),
        (("dataset", "classes"), ["no", 1]),
        (("dataset", "remarks"), "one"),
        (("dataset", "baseline"), {"accuracy": "high"}),
        (("metric",), None),
        (("notes",), "one"),
        (("versions",), []),
    ],
)
def test_a_damaged_value(run, keys, value):
    change(run, *keys, value=value)
    with pytest.raises(StorageError) as caught:
        run.config()
    key = ".".join(keys)
    assert str(caught.value).startswith(f"{run.config_path}: is damaged, or not what a run writes")
    assert f"({key}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", "x"), ("enqueued", {}), ("enqueued", [1]), ("validation", None)]
)
def test_a_damaged_option(run, name, value):
    change(run, name, value=value)
    if name != "seed":  # which is shown too
        run.config()
    with pytest.raises(StorageError, match=rf"config.yaml: is damaged, .* \({name}"):
        run.options()


def test_a_lone_surrogate_in_place_of_a_number(run):
    config = yaml.safe_load(run.config_path.read_text())
    # JSON is YAML.
    run.config_path.write_text(json.dumps({**config, "n_trials": "\ud800"}))
    with pytest.raises(StorageError, match=r"config.yaml: is damaged, or not what a run writes"):
        run.config()


def test_keys_of_another_version(run):
    before = run.config(), run.options()
    change(run, "unheard", value=1)
    change(run, "dataset", "unheard", value=[1])
    assert (run.config(), run.options()) == before


@pytest.mark.parametrize("name", ["seed", "patience", "space"])
def test_an_option_that_an_older_version_did_not_write(run, name):
    change(run, name, value=...)
    run.config()
    with pytest.raises(UsageError, match=f"config.yaml: has no {name}; an older Cotune wrote it"):
        run.options()
