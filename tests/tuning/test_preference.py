"""What has learned is preferred to what always predicts the most frequent class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import cotune
from cotune.records import Finalist
from cotune.tuning.play_off import prefer_learned
from cotune.tuning.preference import Measured, learned_first


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

    def test_a_nearly_constant_network_comes_after_one_that_ranks_much_better(self):
        assert self.order(
            nearly=Measured(0.895, 0.575, 0.4234),
            ranks=Measured(0.895, 0.668, 0.4288),
            constant=Measured(0.900, 0.5, 0.41),
        ) == ["ranks", "nearly", "constant"]

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
        assert prefer_learned([constant, ranks], {}, 0.01, 0.08, True) == [ranks, constant]
        assert prefer_learned([constant, ranks], {}, 0.01, 0.13, True) == [constant, ranks]

    def test_the_trial_counts_as_one_training_more(self):
        constant = Finalist(1, 1, 0.900, 0.900, None, 0.325, 0.50)
        ranks = Finalist(2, 1, 0.898, 0.898, None, 0.33, 0.52)
        assert prefer_learned([constant, ranks], {}, 0.01, 0.1, True) == [constant, ranks]
        areas = {1: 0.5, 2: 0.68}
        assert prefer_learned([constant, ranks], areas, 0.01, 0.1, True) == [ranks, constant]

    def test_one_of_fewer_trainings_is_not_close(self):
        constant = Finalist(1, 4, 0.900, 0.900, 0.01, 0.325, 0.50)
        ranks = Finalist(2, 1, 0.900, 0.900, None, 0.33, 0.65)
        assert prefer_learned([constant, ranks], {}, 0.01, 0.08, True) == [constant, ranks]

    def test_none(self):
        assert prefer_learned([], {}, 0.01, 0.08, True) == []


class Constant(nn.Module):
    """Has learned the classes' shares, and nothing of the rows."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.bias.expand(len(rows), -1)


def build(trial, n_inputs, n_classes):
    if trial.suggest_categorical("kind", ["constant", "ranks"]) == "constant":
        return Constant(n_classes)
    return nn.Sequential(nn.Linear(n_inputs, 64), nn.ReLU(), nn.Linear(64, n_classes))


@pytest.mark.parametrize(
    ("seed", "batch_size"), [pytest.param(0, 32, marks=pytest.mark.slow), (2, 64)]
)
def test_a_run_prefers_the_network_that_ranks(tmp_path, seed, batch_size):
    """On the validation part, the constant network is the more accurate one."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(1500, 6))
    chances = 1 / (1 + np.exp(2.5 - 0.6 * inputs[:, :2].sum(1)))
    labels = (rng.random(1500) < chances).astype(int)
    held: dict[str, object] = {"lr": 0.02, "batch_size": batch_size, "epochs": 20}
    held |= {"label_smoothing": 0.0, "weight_decay": 1e-6, "optimizer": "adam", "class_weight": 0.0}
    result = cotune.run(
        (inputs, labels),
        model=build,
        fixed=held,
        enqueue=[{"kind": "constant"}, {"kind": "ranks"}],
        n_trials=2,
        portfolio=False,
        pruner="none",
        workers="in-process",
        seed=seed,
        out=tmp_path / "run",
    )
    constant, ranks = result.study.trials
    assert constant.value is not None
    assert ranks.value is not None
    assert constant.value > ranks.value
    assert result.best_params["kind"] == "ranks"
    assert result.final is not None
    assert result.final.test_scores["auc"] > 0.6
    # What the search's best is, stays what the metric says.
    assert result.summary.best is not None
    assert result.summary.best.search_best == constant.value
    assert "but it does rank the rows" in result.warning
