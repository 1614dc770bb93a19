"""Training with its large products in 16 bits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from cotune.engine.engine import Engine
from tests.engine.test_parity_cnn import grey
from tests.engine.test_parity_options import OPTIONS, of_all_options, skewed
from tests.support.parity import RUN_SEED, SINGLE, cnn, distance, go_on, spec


@pytest.mark.parametrize("family", [spec, cnn])
def test_weights_differ_a_little_and_stay_float32(family):
    data = SINGLE if family is spec else grey()
    weights, scores = {}, {}
    for precision in ("float32", "bfloat16"):
        engine = Engine(data, RUN_SEED, max_lanes=2, precision=precision)
        engine.add([family(0), family(1, optimizer="sgd")])
        go_on(engine, engine.step())
        scores[precision] = [report.scores["accuracy"] for report in engine.step()]
        weights[precision] = [engine.weights(number) for number in (0, 1)]
        lane = engine._lanes[0]
        tensors = [*lane.parameters.values(), *lane.moments["mean"].values()]
        assert {value.dtype for value in tensors} == {torch.float32}
    # Networks half trained, whose scores still jump.
    assert scores["bfloat16"] == pytest.approx(scores["float32"], abs=0.2)
    for exact, rounded in zip(*weights.values(), strict=True):
        assert 1e-4 < distance(exact, rounded) < 0.7


@pytest.mark.parametrize("family", [spec, cnn])
def test_with_all_options_of_the_training(family):
    data = skewed(SINGLE if family is spec else grey())
    losses = []
    for precision in ("float32", "bfloat16"):
        engine = Engine(data, RUN_SEED, max_lanes=len(OPTIONS), precision=precision)
        engine.add(of_all_options(family))
        reports = engine.step()
        assert [report.error for report in reports] == [None] * len(OPTIONS)
        losses.append([report.train_loss for report in sorted(reports, key=lambda r: r.number)])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]


@pytest.mark.slow
def test_a_run_with_workers_says_so(tmp_path: Path):
    command = [sys.executable, "-m", "cotune", "run", "digits", "--n-trials", "2", "--quiet"]
    out = tmp_path / "run"
    done = subprocess.run(
        [*command, "--workers", "1", "--precision", "bfloat16", "--device", "cpu", "--out", out],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((out / "config.yaml").read_text())["precision"] == "bfloat16"
    assert json.loads((out / "summary.json").read_text())["final"]["test_accuracy"] > 0.8


def test_a_precision_that_there_is_not():
    command = [sys.executable, "-m", "cotune", "run", "digits", "--precision", "float16"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "cotune: error: precision: 'float16' is unknown; did you mean bfloat16?\n"
    )
