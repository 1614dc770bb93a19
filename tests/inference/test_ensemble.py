"""Several networks as one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris

import cotune
from cotune.data import load, prepare
from cotune.engine.engine import Engine
from cotune.exceptions import ModelFileError
from cotune.inference.ensemble import (
    Candidate,
    Ensemble,
    load_ensemble,
    make_ensemble,
    save_ensemble,
    select_greedily,
)
from cotune.inference.model_file import signed
from cotune.records import TrialSpec, Verdict
from cotune.space.presets import load_space

CLASSES = tuple(str(digit) for digit in range(10))
DATA, PREPROCESSING = prepare(load("digits"), seed=0)


def one_hot(rows: list[list[int]]) -> np.ndarray:
    """Probabilities of networks that are sure of these classes, [networks, rows, classes]."""
    return np.eye(3)[np.array(rows)]


class TestGreedySelection:
    def test_the_most_accurate_comes_first(self):
        labels = np.array([0, 1, 2, 0])
        rows = [[0, 0, 0, 0], [0, 1, 2, 1], [1, 1, 1, 1]]
        assert select_greedily(one_hot(rows), labels, 1) == [1]

    def test_networks_that_err_differently_help_each_other(self):
        labels = np.array([0, 0, 0])
        sure = np.array(
            [
                [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]],
                [[0.4, 0.6], [0.4, 0.6], [0.9, 0.1]],
                [[0.3, 0.7], [0.3, 0.7], [0.3, 0.7]],
            ]
        )
        assert select_greedily(sure, labels, 4) == [0, 1]

    def test_what_does_not_help_is_left_out(self):
        labels = np.array([0, 1, 2])
        assert select_greedily(one_hot([[0, 1, 2], [0, 1, 1]]), labels, 5) == [0]

    def test_a_network_can_be_taken_twice(self):
        labels = np.array([0, 0, 0, 0])
        sure = np.array(
            [
                [[0.6, 0.4], [0.6, 0.4], [0.6, 0.4], [0.1, 0.9]],
                [[0.1, 0.9], [0.55, 0.45], [0.55, 0.45], [0.9, 0.1]],
                [[0.3, 0.7], [0.1, 0.9], [0.1, 0.9], [0.8, 0.2]],
            ]
        )
        taken = select_greedily(sure, labels, 6)
        average = sure[taken].mean(0)
        assert (average.argmax(-1) == labels).mean() >= 0.75


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    space = load_space("mlp")
    engine = Engine(DATA, 0, max_lanes=3)
    specs = [
        TrialSpec(n, {**space.complete({"n_layers": 1, "width": w}), "epochs": 3}, n)
        for n, w in ((4, 16), (7, 24), (9, 8))
    ]
    engine.add(specs)
    for _ in range(3):
        engine.apply([Verdict(report.number, stop=False) for report in engine.step()])
    return [Candidate(s.number, s.params, engine.weights(s.number, best=True)) for s in specs]


def test_it_averages_probabilities(candidates, tmp_path: Path):
    ensemble, result, members = make_ensemble(candidates, DATA, PREPROCESSING, CLASSES, 6)
    assert 1 <= len(members) <= 3
    assert result.members.keys() == {member.number for member in members}
    rows = torch.from_numpy(load("digits").inputs[:50])
    with torch.no_grad():
        own = [member(rows).softmax(-1) for member in ensemble.members]
        counts = list(result.members.values())
        average = sum(c * p for c, p in zip(counts, own, strict=True)) / sum(counts)
        assert torch.allclose(ensemble(rows).exp(), average, atol=1e-6)


def test_its_validation_accuracy_is_no_less_than_the_best_members(candidates):
    _, single, _ = make_ensemble(candidates, DATA, PREPROCESSING, CLASSES, 1)
    _, result, _ = make_ensemble(candidates, DATA, PREPROCESSING, CLASSES, 8)
    assert (result.validation_accuracy or 0.0) >= (single.validation_accuracy or 0.0) > 0.5
    assert list(single.members.values()) == [1]


@pytest.fixture
def saved(candidates, tmp_path: Path) -> Path:
    ensemble, _, members = make_ensemble(candidates, DATA, PREPROCESSING, CLASSES, 8)
    # All members, whatever the selection took.
    if len(members) < 2:
        ensemble = Ensemble([*ensemble.members, *ensemble.members], [2.0, 1.0])
        members = [*members, *members]
    save_ensemble(tmp_path / "ensemble", ensemble.eval(), [m.params for m in members], "test")
    return tmp_path / "ensemble"


def test_saved_and_loaded_it_predicts_the_same(saved: Path):
    loaded = load_ensemble(saved)
    again = load_ensemble(saved.parent)
    rows = torch.from_numpy(load("digits").inputs)
    with torch.no_grad():
        assert torch.equal(loaded(rows), again(rows))
        assert loaded(rows).argmax(-1).bincount().max() < 400
    assert loaded.classes == CLASSES
    assert not loaded.training


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("{}", "is not a Cotune ensemble"),
        ({"version": 1}, "is of version 1, this Cotune reads 2"),
        ({"shares": []}, "is incomplete or damaged"),
        ({"shares": ["1"]}, "is incomplete or damaged"),
        ({"shares": [0.5, -0.5]}, "is incomplete or damaged"),
        ({"shares": "x"}, "is incomplete or damaged"),
        ({"shares": [0.1] * 9}, "no model is there"),
    ],
)
def test_damage(saved: Path, content, message):
    path = saved / "ensemble.json"
    if isinstance(content, dict):
        content = signed({**json.loads(path.read_text()), **content}).decode()
    path.write_text(content)
    with pytest.raises(ModelFileError, match=message):
        load_ensemble(saved)


def test_altered_shares(saved: Path):
    path = saved / "ensemble.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "shares": [*card["shares"], 0.5]}))
    with pytest.raises(ModelFileError, match="was altered"):
        load_ensemble(saved)


def test_where_there_is_none(tmp_path: Path):
    with pytest.raises(ModelFileError, match="no ensemble is there"):
        load_ensemble(tmp_path)


def test_a_run_with_one(tmp_path: Path):
    result = cotune.run(
        "digits",
        n_trials=6,
        ensemble=5,
        fixed={"epochs": 5},
        workers="in-process",
        out=tmp_path / "run",
    )
    assert result.final is not None
    combined = result.final.ensemble
    assert combined is not None
    assert 1 <= sum(combined.members.values()) <= 5
    assert combined.test_accuracy is not None
    assert combined.test_ci95 is not None
    assert combined.test_ci95[0] < combined.test_accuracy < combined.test_ci95[1]
    inputs, labels = load("digits").read_test()
    with torch.no_grad():
        predicted = cotune.load_ensemble(result.path)(torch.from_numpy(inputs)).argmax(-1)
    assert (predicted.numpy() == labels).mean() == combined.test_accuracy
    assert result.summary.final is not None
    assert result.summary.final.ensemble_members == len(combined.members)
    assert "Ensemble’s test accuracy" in (result.path / "report.html").read_text()


@pytest.mark.slow
def test_one_of_finalists(tmp_path: Path):
    rows, labels = load_iris(return_X_y=True)
    result = cotune.run(
        (rows, labels),
        n_trials=6,
        ensemble=5,
        ensemble_of="finalists",
        workers="in-process",
        seed=1,
        out=tmp_path / "run",
    )
    assert result.final is not None
    combined = result.final.ensemble
    assert combined is not None
    assert sum(combined.members.values()) == 5
    chosen = result.summary.best.number if result.summary.best else None
    others = [one.number for one in result.final.finalists if one.number != chosen]
    assert list(combined.members) == [chosen, *others[:2]]
    assert combined.validation_accuracy is None
    assert combined.test_accuracy is not None
    members = list(cotune.load_ensemble(result.path).members)
    assert len(members) == 5
    whole = torch.from_numpy(rows)
    with torch.no_grad():
        logits = [member(whole) for member in members]
        assert torch.equal(logits[0], result.model(whole))
    assert not any(torch.equal(logits[i], logits[j]) for i in range(5) for j in range(i))
