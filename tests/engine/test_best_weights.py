"""A lane's best weights are those of its best epoch by the run's metric."""

from __future__ import annotations

import numpy as np
import pytest

from cotune.engine.engine import Engine
from cotune.metrics import METRICS
from tests.support.parity import RUN_SEED, SINGLE, go_on, same_bits, spec


@pytest.mark.parametrize("metric", list(METRICS))
def test_they_are_of_the_best_epoch(metric):
    engine = Engine(SINGLE, RUN_SEED, max_lanes=1, metric=metric)
    engine.add([spec(0, lr=0.05, epochs=12)])
    scores, weights = [], []
    for _ in range(12):
        reports = engine.step()
        scores.append(reports[0].scores)
        weights.append(engine.weights(0))
        go_on(engine, reports)
    sign = 1 if METRICS[metric].direction == "maximize" else -1
    best = int(np.argmax([sign * score[metric] for score in scores]))
    if metric == "loss":
        assert best != np.argmax([score["accuracy"] for score in scores])
    assert same_bits(engine.weights(0, best=True), weights[best])
