"""Lanes that are saved and gone on with, and the folders that they are kept in."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cotune.engine.engine import Engine
from cotune.engine.lane_state import load_lanes, save_lanes, saved_specs
from cotune.exceptions import StorageError
from cotune.records import TrialSpec, Verdict
from cotune.runs.checkpoint_store import Generations
from tests.engine.test_parity_cnn import grey
from tests.support.parity import CPU, RUN_SEED, SINGLE, cnn, go_on, same_bits, spec, start_lanes


def averaged(one: TrialSpec) -> TrialSpec:
    return TrialSpec(one.number, one.params, one.seed, averaged=True)


PERCEPTRONS = [
    spec(0, dropout=0.3),
    averaged(spec(1, optimizer="sgd", n_layers=3, width=7, label_smoothing=0.1)),
    spec(2, optimizer="rmsprop", schedule="cosine", epochs=6, dropout=0.1),
    spec(3, optimizer="adam", shift=1),
]
STALLING = [
    spec(i, optimizer="sgd", lr=2.0, schedule="plateau", plateau_patience=patience, clip_norm=clip)
    for i, (patience, clip) in enumerate([(0, 0.0), (1, 5.0), (2, 0.0)])
]
NETWORKS = [averaged(cnn(i, dropout=0.2, filters=3 + i, flip=True)) for i in range(2)]


class TestLanes:
    @pytest.mark.parametrize(
        ("specs", "data"),
        [
            (PERCEPTRONS[:3], SINGLE),
            (PERCEPTRONS, grey()),
            (NETWORKS, grey()),
            (STALLING, SINGLE),
        ],
        ids=["perceptrons", "with shift", "cnns", "on a plateau"],
    )
    def test_go_on_bit_for_bit(self, specs, data, tmp_path):
        engine = Engine(data, RUN_SEED, max_lanes=3)
        engine.add(specs)
        for _ in range(7):
            go_on(engine, engine.step())
        engine.save(tmp_path / "lanes")
        if specs is STALLING:
            assert all(lane.plateau.factor < 1.0 for lane in engine._lanes.values())
        other = Engine(data, RUN_SEED, max_lanes=3)
        other.resume(specs, [tmp_path / "lanes"])
        for _ in range(7):
            told = []
            for one in (engine, other):
                reports = one.step()
                told.append([{**r.to_json(), "seconds": 0} for r in reports])
                go_on(one, reports)
            assert told[0] == told[1]
            assert told[0]
        for one in specs:
            for best in (False, True):
                assert same_bits(engine.weights(one.number, best), other.weights(one.number, best))

    def test_one_that_waits_for_its_verdict_goes_on_too(self, tmp_path):
        engine = Engine(SINGLE, RUN_SEED, max_lanes=3)
        engine.add(PERCEPTRONS[:3])
        reports = engine.step()
        engine.save(tmp_path / "lanes")
        go_on(engine, reports)
        other = Engine(SINGLE, RUN_SEED, max_lanes=3)
        other.resume(PERCEPTRONS[:3], [tmp_path / "lanes"])
        assert [r.epoch for r in other.step()] == [2, 2, 2]

    def test_others_begin_anew(self, tmp_path):
        """Those that were not saved, or whose hyperparameters were others."""
        engine = Engine(SINGLE, RUN_SEED, max_lanes=4)
        engine.add(PERCEPTRONS[:2])
        engine.step()
        engine.save(tmp_path / "lanes")
        assert saved_specs(tmp_path / "lanes") == PERCEPTRONS[:2]
        changed = TrialSpec(1, {**PERCEPTRONS[1].params, "lr": 0.5}, PERCEPTRONS[1].seed)
        other = Engine(SINGLE, RUN_SEED, max_lanes=4)
        other.resume([PERCEPTRONS[0], changed, PERCEPTRONS[2]], [tmp_path / "lanes"])
        epochs = {r.number: r.epoch for _ in range(2) for r in other.step()}
        assert epochs == {0: 2, 1: 1, 2: 1}

    def test_a_damaged_file_is_passed_over_or_an_error(self, tmp_path):
        lanes, data = start_lanes(PERCEPTRONS[:2], SINGLE)
        save_lanes(tmp_path / "lanes", lanes)
        whole = (tmp_path / "lanes").read_bytes()
        for cut in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
            (tmp_path / "cut").write_bytes(whole[:cut])
            assert saved_specs(tmp_path / "cut") == []
            with pytest.raises(StorageError, match="no checkpoint that can be used"):
                load_lanes(tmp_path / "cut", PERCEPTRONS, data.input_shape, 10, CPU)
            engine = Engine(SINGLE, RUN_SEED, max_lanes=4)
            engine.resume(PERCEPTRONS[:1], [tmp_path / "cut"])
            assert [r.epoch for r in engine.step()] == [1]

    def test_other_shapes_are_an_error(self, tmp_path):
        lanes, _ = start_lanes(PERCEPTRONS[:1], SINGLE)
        save_lanes(tmp_path / "lanes", lanes)
        with pytest.raises(StorageError, match="a tensor of shape"):
            load_lanes(tmp_path / "lanes", PERCEPTRONS, (5,), 10, CPU)

    def test_a_folder_that_is_gone(self, tmp_path):
        lanes, _ = start_lanes(PERCEPTRONS[:1], SINGLE)
        with pytest.raises(StorageError, match="cannot be written"):
            save_lanes(tmp_path / "no" / "lanes", lanes)


def filled(generations: Generations, text: str) -> Path:
    folder = generations.begin()
    (folder / "a").write_text(text)
    (folder / "b").write_text("b" * 100)
    return generations.commit(folder, [folder / "a", folder / "b"], {"is": text}).path


class TestGenerations:
    def test_the_last_two_are_kept(self, tmp_path):
        generations = Generations(tmp_path / "checkpoint")
        assert generations.latest() is None
        paths = [filled(generations, text) for text in ("one", "two", "three")]
        latest = generations.latest()
        assert latest is not None
        assert latest.state == {"is": "three"}
        assert [path.read_text() for path in latest.files] == ["three", "b" * 100]
        assert sorted((tmp_path / "checkpoint").iterdir()) == paths[1:]
        generations.remove()
        assert not (tmp_path / "checkpoint").exists()

    def test_one_that_was_not_ended_does_not_count(self, tmp_path):
        generations = Generations(tmp_path)
        filled(generations, "one")
        (generations.begin() / "a").write_text("two")
        latest = generations.latest()
        assert latest is not None
        assert latest.state == {"is": "one"}
        filled(generations, "three")  # in the place of what was not ended
        assert sorted(path.name for path in tmp_path.iterdir()) == ["000001", "000002"]

    @pytest.mark.parametrize("name", ["a", "b", "manifest.json"])
    def test_a_damaged_one_is_put_aside(self, name, tmp_path):
        """Cut or changed at any byte."""
        generations = Generations(tmp_path / "checkpoint")
        filled(generations, "one")
        good = filled(generations, "two")
        shutil.copytree(tmp_path / "checkpoint", tmp_path / "copy")
        size = (good / name).stat().st_size
        for at in {*range(0, size, max(1, size // 25)), size - 2}:
            for change in (lambda b, at=at: b[:at], lambda b, at=at: _flip(b, at)):
                shutil.rmtree(tmp_path / "checkpoint")
                shutil.copytree(tmp_path / "copy", tmp_path / "checkpoint")
                (good / name).write_bytes(change((good / name).read_bytes()))
                latest = generations.latest()
                assert latest is not None
                assert latest.state == {"is": "one"}
                assert good.with_suffix(".damaged").exists()
                assert not good.exists()

    def test_a_missing_file(self, tmp_path):
        generations = Generations(tmp_path)
        (filled(generations, "one") / "b").unlink()
        assert generations.latest() is None

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError, match="cannot be written: Not a directory"):
            Generations(tmp_path / "file" / "checkpoint").begin()


def _flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_torch_is_on_one_thread():
    """Or the bits of sums would be of another order than a worker's."""
    assert torch.get_num_threads() == 1


def test_the_horizon_of_a_schedule_is_kept(tmp_path):
    short = replace(spec(0, schedule="linear", epochs=90), horizon=4)
    engine = Engine(SINGLE, RUN_SEED, max_lanes=1)
    engine.add([short])
    assert engine._lanes[0].horizon == 4
    (report,) = engine.step()
    engine.apply([Verdict(0, stop=False, epoch=report.epoch, horizon=7)])
    engine.save(tmp_path / "lanes")
    other = Engine(SINGLE, RUN_SEED, max_lanes=1)
    other.resume([short], [tmp_path / "lanes"])
    assert other._lanes[0].horizon == 7
    for _ in range(3):
        for one in (engine, other):
            go_on(one, one.step())
    assert same_bits(engine.weights(0), other.weights(0))
