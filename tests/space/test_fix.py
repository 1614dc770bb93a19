"""Hyperparameters that are held at a value: `--set lr=0.001`, `fixed={"lr": 0.001}`."""

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import cotune
from cotune.cli.main import cotune as command
from cotune.data import from_arrays
from cotune.exceptions import SpaceError, UsageError
from cotune.space.given import read_fixed
from cotune.space.presets import load_space
from cotune.space.yaml import fix, space_from_dict
from tests.tuning.test_no_test_set import X, Y

CONDITIONAL = space_from_dict(
    {
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1},
        "optimizer": {"type": "categorical", "choices": ["adam", "sgd", "rmsprop"]},
        "momentum": {"type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer": ["sgd"]}},
        "nesterov": {
            "type": "categorical",
            "choices": [True, False],
            "when": {"optimizer": ["sgd", "rmsprop"], "momentum": 0.0},
        },
    }
)


class TestFix:
    def test_a_searched_one_and_one_that_the_space_leaves_out(self):
        space = fix(CONDITIONAL, {"lr": 1, "epochs": 3.0})
        assert space.constants == {"lr": 1.0, "epochs": 3}
        assert "lr" not in space.searched
        assert space.complete({"optimizer": "adam"})["lr"] == 1.0

    def test_what_can_never_be_goes_and_so_do_its_children(self):
        assert list(fix(CONDITIONAL, {"optimizer": "rmsprop"}).searched) == ["lr"]

    def test_what_always_is_stays_without_its_condition(self):
        space = fix(CONDITIONAL, {"optimizer": "sgd"})
        assert space.searched["momentum"].when == {}
        assert space.searched["nesterov"].when == {"momentum": (0.0,)}

    def test_a_layer_count(self):
        space = fix(load_space("mlp-per-layer"), {"n_layers": 2})
        assert [name for name in space.searched if name.startswith("width")] == [
            "width_0",
            "width_1",
        ]
        assert space.searched["width_1"].when == {}

    def test_a_family(self):
        space = fix(load_space("auto"), {"model": "mlp"})
        assert space.families == ("mlp",)
        assert not {"model", "n_blocks", "filters_0"} & set(space.searched)
        assert {"n_layers", "width"} <= set(space.searched)

    def test_a_constant_of_the_space_is_replaced(self):
        space = space_from_dict({"epochs": 5, "width": {"type": "int", "low": 8, "high": 16}})
        assert fix(space, {"epochs": 7}).constants == {"epochs": 7}

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"lrr": 1}, "fixed.lrr: unknown hyperparameter; did you mean lr?"),
            ({"lr": 1000}, "fixed.lr: 1000 is outside 1e-12 to 100"),
            ({"lr": "fast"}, "fixed.lr: 'fast' is not a number"),
            ({"batch_norm": 1}, "fixed.batch_norm: 1 is not one of true, false"),
            ({"optimizer": "adm"}, "fixed.optimizer: 'adm' is not one of adam, adamw, sgd"),
            (
                {"optimizer": "adam", "momentum": 0.5},
                "fixed.momentum: exists only where optimizer is sgd",
            ),
            ({"lr": 0.1, "optimizer": "adam"}, "nothing to search"),
            ({"n_blocks": 2}, "n_blocks: is for model cnn"),
        ],
    )
    def test_errors(self, values, message):
        with pytest.raises(SpaceError) as caught:
            fix(CONDITIONAL, values)
        assert str(caught.value).startswith(message)


class TestReading:
    def test_values_are_those_of_yaml(self):
        texts = ("lr=1e-3", "optimizer = adam", "batch_norm=false", "epochs=5")
        read = {"lr": "1e-3", "optimizer": "adam", "batch_norm": False, "epochs": 5}
        assert read_fixed(texts) == read
        assert fix(CONDITIONAL, {"epochs": 2, "weight_decay": "1e-3"}).constants == {
            "epochs": 2,
            "weight_decay": 1e-3,
        }

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            (("lr",), "fixed: 'lr' is not NAME=VALUE"),
            (("=1",), "fixed: '=1' is not NAME=VALUE"),
            (("lr=1", "lr=2"), "fixed.lr: is there twice"),
            (("lr=!!python/object:os.system x",), "fixed.lr: .* is no value"),
            (("lr=2026-02-31",), "fixed.lr: .* is no value"),
        ],
    )
    def test_errors(self, texts, message):
        with pytest.raises(UsageError, match=message):
            read_fixed(texts)

    def test_the_command_line_says_it_at_once(self, tmp_path):
        arguments = ["run", "digits", "--out", str(tmp_path / "run"), "--set", "lrate=1"]
        done = CliRunner().invoke(command, arguments)
        assert "fixed.lrate: unknown hyperparameter" in str(done.exception)
        assert not (tmp_path / "run").exists()


def test_a_run_holds_them_and_its_resume_too(tmp_path):
    data = from_arrays(X, Y, test=False, name="iris")
    fixed = {"optimizer": "sgd", "epochs": 4, "batch_norm": False}
    result = cotune.run(
        data,
        n_trials=3,
        fixed=fixed,
        sampler="random",
        portfolio=False,
        workers="in-process",
        out=tmp_path / "run",
    )
    longer = cotune.resume(result.path, more=2, data=data)
    space = yaml.safe_load((result.path / "config.yaml").read_text())["space"]
    assert {name: space[name] for name in fixed} == fixed
    assert all("momentum" in trial.params for trial in longer.study.trials)
    assert not any(set(fixed) & set(trial.params) for trial in longer.study.trials)
    assert max(len(trial.intermediate_values) for trial in longer.study.trials) == 4


def test_optunas_own_distributions():
    space = space_from_dict(
        {
            "lr": FloatDistribution(1e-5, 1e-1, log=True),
            "width": IntDistribution(8, 64, step=8),
            "optimizer": CategoricalDistribution(["adam", "sgd"]),
            "momentum": {"type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer": "sgd"}},
            "epochs": 3,
        }
    )
    assert space.searched["lr"].distribution == FloatDistribution(1e-5, 1e-1, log=True)
    assert space.searched["width"].distribution == IntDistribution(8, 64, step=8)
    assert space.searched["optimizer"].distribution == CategoricalDistribution(["adam", "sgd"])
    for name, wrong, message in [
        ("lr", FloatDistribution(1e-5, 1e4), "lr.high: 10000 is outside"),
        ("width", FloatDistribution(1, 8), "width.type: width is a whole number; use int"),
        ("optimizer", CategoricalDistribution(["adam", "lion"]), r"optimizer.choices\[1\]: 'lion'"),
        ("lr_", FloatDistribution(0, 1), "lr_: unknown hyperparameter; did you mean lr?"),
    ]:
        with pytest.raises(SpaceError, match=message):
            space_from_dict({name: wrong})
