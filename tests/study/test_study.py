"""The study: real Optuna studies in real journals, read back by Optuna itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from cotune.exceptions import StorageError
from cotune.records import State, TrialResult
from cotune.space.presets import load_space
from cotune.space.yaml import space_from_dict
from cotune.study.journal import Journal, load_study, open_storage
from cotune.study.pruners import PRUNERS, make_pruner
from cotune.study.samplers import SAMPLERS, make_sampler
from cotune.study.study import Study


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "study.journal"


def ended(number: int, state: State, value: float | None, reason: str = "") -> TrialResult:
    return TrialResult(number, state, value, 1, {}, 1.0, reason)


def reopen(journal: Path) -> optuna.Study:
    """As Optuna's own tools open it: with their default lock."""
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name="cotune", storage=storage)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_from_the_space(journal: Path, sampler: str) -> None:
    space = load_space("mlp")
    if sampler == "grid":
        space = space.discretized()
    study = Study(journal, space, sampler, "none", seed=3)
    # More than the 10 random trials that TPE and GP begin with.
    for i in range(13):
        spec = study.ask()[0]
        searched = study.params(spec.number)
        assert space.check(searched) == searched
        assert ("momentum" in spec.params) == (spec.params["optimizer"] == "sgd")
        study.report({spec.number: (1, i / 13)})
        study.tell(ended(spec.number, "complete", i / 13))
    trials = reopen(journal).trials
    assert [trial.value for trial in trials] == [i / 13 for i in range(13)]


def test_a_trial_is_told_as_it_ended(journal: Path) -> None:
    study = Study(journal, load_space("mlp"))
    specs = study.ask(3)
    study.report({specs[0].number: (1, 0.5)})
    study.tell(ended(specs[0].number, "complete", 0.5))
    study.report({specs[1].number: (1, 0.25)})
    study.tell(ended(specs[1].number, "pruned", 0.25, "time was up"))
    study.tell(ended(specs[2].number, "failed", None, "it diverged"))
    complete, pruned, failed = reopen(journal).trials
    assert (complete.state.name, complete.value) == ("COMPLETE", 0.5)
    assert (pruned.state.name, pruned.value) == ("PRUNED", 0.25)
    assert pruned.user_attrs == {"reason": "time was up"}
    assert (failed.state.name, failed.value) == ("FAIL", None)
    assert complete.params == {
        name: value for name, value in specs[0].params.items() if name in complete.params
    }


@pytest.mark.parametrize(("metric", "direction"), [("loss", "MINIMIZE"), ("f1", "MAXIMIZE")])
def test_the_metric_has_its_direction_and_name(journal: Path, metric: str, direction: str) -> None:
    Study(journal, load_space("mlp"), metric=metric)
    study = reopen(journal)
    assert study.direction.name == direction
    assert study.metric_names == [metric]


def test_enqueued_configurations_come_first_and_the_sampler_fills_the_rest(
    journal: Path,
) -> None:
    study = Study(journal, load_space("mlp"), seed=1)
    study.enqueue([{"lr": 0.02, "optimizer": "sgd", "momentum": 0.5}, {"width": 64}])
    first, second, third = (study.ask()[0] for _ in range(3))
    assert (first.params["lr"], first.params["momentum"]) == (0.02, 0.5)
    assert second.params["width"] == 64
    assert third.params["lr"] != 0.02


def test_the_same_seed_asks_for_the_same_trials(tmp_path: Path) -> None:
    def asked(name: str, seed: int) -> list[object]:
        study = Study(tmp_path / name, load_space("mlp"), "random", seed=seed)
        return [study.ask()[0] for _ in range(5)]

    assert asked("a", 7) == asked("b", 7)
    assert asked("c", 8) != asked("a2", 7)


def test_trials_of_one_run_have_different_seeds(journal: Path) -> None:
    study = Study(journal, load_space("mlp"))
    seeds = {study.ask()[0].seed for _ in range(20)}
    assert len(seeds) == 20


def test_a_grid_is_exhausted_without_repeating_itself(journal: Path) -> None:
    space = space_from_dict(
        {
            "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
            "momentum": {"type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer": "sgd"}},
            "n_layers": {"type": "int", "low": 1, "high": 2},
        }
    ).discretized()
    study = Study(journal, space, "grid", "none")
    seen = []
    while not study.exhausted:
        spec = study.ask()[0]
        seen.append(json.dumps(study.params(spec.number), sort_keys=True))
        study.tell(ended(spec.number, "complete", 0.5))
        assert len(seen) <= 100
    # adam x 2 depths, and sgd x 2 depths x each value of its momentum.
    momenta = len(space.searched["momentum"].distribution.choices)  # type: ignore[attr-defined]
    assert len(seen) == len(set(seen)) == 2 + 2 * momenta


@pytest.mark.parametrize("pruner", [name for name in PRUNERS if name != "none"])
def test_every_pruner_stops_a_hopeless_trial(journal: Path, pruner: str) -> None:
    study = Study(journal, load_space("mlp"), "random", pruner)
    for value in (0.8, 0.82, 0.84, 0.86, 0.88, 0.9):
        spec = study.ask()[0]
        for epoch in range(1, 51):
            study.report({spec.number: (epoch, value + epoch / 1000)})
        study.tell(ended(spec.number, "complete", value))
    stopped = []
    for _ in range(6):  # a hyperband bracket may let some of them go on longer than others
        spec = study.ask()[0]
        stopped.append(any(study.report({spec.number: (epoch, 0.1)}) for epoch in range(1, 51)))
    assert any(stopped)


def test_no_pruner_stops_nothing(journal: Path) -> None:
    study = Study(journal, load_space("mlp"), "random", "none")
    for value in (0.9, 0.9, 0.9, 0.9, 0.9, 0.1):
        spec = study.ask()[0]
        assert not study.report({spec.number: (1, value)})
        study.tell(ended(spec.number, "complete", value))


def test_names_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="anneal"):
        make_sampler("anneal", 0, 0)
    with pytest.raises(ValueError, match="axe"):
        make_pruner("axe", True)


def test_optuna_objects_are_taken_as_they_are(journal: Path) -> None:
    sampler = optuna.samplers.RandomSampler(seed=5)
    pruner = optuna.pruners.ThresholdPruner(lower=0.5)
    study = Study(journal, load_space("mlp"), sampler, pruner)
    spec = study.ask()[0]
    assert study.report({spec.number: (1, 0.4)})


def test_the_callers_log_level_is_left_alone(journal: Path) -> None:
    before = optuna.logging.get_verbosity()
    Study(journal, load_space("mlp")).ask()
    assert optuna.logging.get_verbosity() == before


def test_records_are_on_file_before_the_study_is_closed(journal: Path) -> None:
    study = Study(journal, load_space("mlp"))
    spec = study.ask()[0]
    study.report({spec.number: (1, 0.5)})
    trial = reopen(journal).trials[0]  # another reader, while the first one still runs
    assert trial.state.name == "RUNNING"
    assert trial.intermediate_values == {1: 0.5}


def test_optunas_own_command_reads_the_study(journal: Path) -> None:
    study = Study(journal, load_space("mlp"))
    spec = study.ask()[0]
    study.tell(ended(spec.number, "complete", 0.75))
    optuna_command = Path(sys.executable).with_name("optuna")
    done = subprocess.run(
        [optuna_command, "trials", "--study-name=cotune", f"--storage={journal}", "--format=json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout)[0]["value"] == {"accuracy": 0.75}, done.stderr


def test_a_journal_that_is_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no study"):
        load_study(tmp_path / "study.journal")
    damaged = tmp_path / "damaged.journal"
    damaged.write_text('{"op_code": 0, "worker_id"\n{"op_code": 1}\n')
    with pytest.raises(StorageError, match="damaged"):
        open_storage(Journal(damaged))
    empty = tmp_path / "empty.journal"
    empty.touch()
    with pytest.raises(StorageError, match="holds no study"):
        load_study(empty)
