"""What has learned is preferred to what always predicts the most frequent class."""

from __future__ import annotations

import numpy as np
import pytest

import cotune
from cotune.finalists import prefer_learned
from cotune.preference import Measured, learned_first
from cotune.results import Finalist


class TestLearnedFirst:
    @staticmethod
    def order(**scores: Measured) -> list[str]:
        ranked = sorted(scores, key=lambda name: -(scores[name].value or 0.0))
        return learned_first(ranked, scores.__getitem__, margin=0.01, chance=0.57)

    def test_a_constant_network_comes_after_those_that_rank(self):
        """Its loss is that of the base rate, and theirs are larger."""
        assert self.order(
            constant=Measured(0.900, 0.5, 0.325),
            sure=Measured(0.895, 0.65, 0.36),
            ranks=Measured(0.893, 0.62, 0.33),
        ) == ["ranks", "sure", "constant"]

    def test_what_is_worse_beyond_noise_stays_behind(self):
        scores = {"constant": Measured(0.9, 0.5, 0.325), "weighted": Measured(0.8, 0.7, 0.5)}
        assert self.order(**scores) == ["constant", "weighted"]

    def test_what_was_cut_short_comes_last_of_them(self):
        scores = {"short": Measured(0.9, 0.7, 0.3, False), "whole": Measured(0.9, 0.5, 0.4)}
        assert self.order(**scores) == ["whole", "short"]

    def test_without_scores(self):
        assert self.order() == []
        assert self.order(one=Measured(0.9, None, None), two=Measured(None, None, None)) == [
            "one",
            "two",
        ]


class TestPreferLearned:
    def test_of_more_trainings_less_is_chance(self):
        constant = Finalist(1, 4, 0.900, 0.900, 0.01, 0.325, 0.50)
        ranks = Finalist(2, 4, 0.898, 0.898, 0.01, 0.33, 0.55)
        assert prefer_learned([constant, ranks], 0.01, 0.08, True) == [ranks, constant]
        assert prefer_learned([constant, ranks], 0.01, 0.12, True) == [constant, ranks]

    def test_one_of_fewer_trainings_is_not_close(self):
        constant = Finalist(1, 4, 0.900, 0.900, 0.01, 0.325, 0.50)
        ranks = Finalist(2, 1, 0.900, 0.900, None, 0.33, 0.65)
        assert prefer_learned([constant, ranks], 0.01, 0.08, True) == [constant, ranks]

    def test_none(self):
        assert prefer_learned([], 0.01, 0.08, True) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_prefers_the_network_that_ranks(tmp_path, seed):
    """A weight decay of 10 leaves a network nothing but its biases."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(1500, 6))
    chance = 1 / (1 + np.exp(3.0 - 0.8 * inputs[:, :2].sum(1)))
    labels = (rng.random(1500) < chance).astype(int)
    space = {
        "lr": 3e-3,
        "weight_decay": {"type": "categorical", "choices": [0.0, 10.0]},
        "optimizer": "adamw",
        "width": 16,
        "epochs": 12,
    }
    result = cotune.run(
        (inputs, labels),
        space=space,
        enqueue=[{"weight_decay": 10.0}, {"weight_decay": 0.0}],
        n_trials=2,
        portfolio=False,
        workers=1,
        seed=seed,
        out=tmp_path / "run",
    )
    assert result.final is not None
    print([(t.params, t.value) for t in result.study.trials], result.final.test_scores)
    assert result.final.test_scores["auc"] > 0.6
