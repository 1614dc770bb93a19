from __future__ import annotations

import itertools
import json
import math
import warnings
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from cotune.exceptions import SpaceError
from cotune.space.hyperparameters import KNOWN, MAX_LAYERS, NAMES, defaults, families_of_name
from cotune.space.presets import load_space
from cotune.space.space import Space, contains, describe, nearest
from cotune.space.yaml import space_from_dict
from cotune.study.samplers import SAMPLERS, make_sampler

CONDITIONAL = {
    "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer": "sgd"}},
    "n_layers": {"type": "int", "low": 1, "high": 5},
    "width_3": {"type": "int", "low": 8, "high": 64, "step": 8, "when": {"n_layers": [4, 5]}},
}


def ask_many(space: Space, sampler: str, count: int, value=lambda params: 0.5):
    """What a sampler draws from the space, told of a value each time."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    over: list[bool] = []
    study.stop = lambda: over.append(True)  # type: ignore[method-assign]
    drawn: list[dict[str, Any]] = []
    while len(drawn) < count and not over:
        study.sampler = make_sampler(sampler, 3, len(drawn))
        trial = study.ask()
        params = space.suggest(trial)
        assert dict(trial.params) == params
        study.tell(trial, value(params))
        drawn.append(params)
    return drawn


class TestSuggest:
    @pytest.mark.parametrize(
        ("sampler", "count"), [("tpe", 40), ("random", 40), ("qmc", 40), ("gp", 14)]
    )
    def test_conditions_hold_and_values_fit(self, sampler, count):
        space = space_from_dict(CONDITIONAL)
        drawn = ask_many(space, sampler, count, lambda params: -abs(math.log10(params["lr"]) + 2))
        assert len(drawn) == count
        for params in drawn:
            assert ("momentum" in params) == (params["optimizer"] == "sgd")
            assert ("width_3" in params) == (params["n_layers"] > 3)
            assert space.check(params) == params
        for name, least in (("optimizer", 2), ("n_layers", 3), ("lr", count // 2)):
            assert len({params[name] for params in drawn}) >= least, name

    def test_grid_is_every_configuration_once(self):
        space = space_from_dict(
            {
                "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
                "momentum": {
                    "type": "float",
                    "low": 0.0,
                    "high": 0.8,
                    "step": 0.4,
                    "when": {"optimizer": "sgd"},
                },
                "n_layers": {"type": "int", "low": 1, "high": 2},
            }
        )
        drawn = ask_many(space.discretized(), "grid", 100)
        rows = [tuple(sorted(params.items())) for params in drawn]
        # adam x 2 depths, sgd x 3 momenta x 2 depths
        assert len(rows) == len(set(rows)) == 2 + 6

    def test_every_sampler_there_is_was_tried(self):
        assert set(SAMPLERS) == {"tpe", "random", "qmc", "gp", "grid"}

    def test_the_condition_on_a_constant(self):
        never = {"type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer": "sgd"}}
        lr = CONDITIONAL["lr"]
        always = space_from_dict({"optimizer": "sgd", "momentum": never, "lr": lr})
        assert all("momentum" in params for params in ask_many(always, "random", 5))
        with pytest.raises(SpaceError, match=r"^momentum.when.optimizer: optimizer is never sgd"):
            space_from_dict({"optimizer": "adam", "momentum": never, "lr": lr})


class TestComplete:
    def test_nothing_is_missing_for_the_trainer(self):
        space = space_from_dict({"lr": CONDITIONAL["lr"], "epochs": 7})
        full = space.complete({"lr": 0.01})
        assert full == {**_without(defaults("mlp"), "momentum"), "epochs": 7, "lr": 0.01}

    def test_momentum_is_for_sgd_alone(self):
        space = space_from_dict(CONDITIONAL)
        assert "momentum" not in space.complete({"optimizer": "adam", "lr": 0.1})
        assert space.complete({"optimizer": "sgd", "momentum": 0.3})["momentum"] == 0.3
        constant = space_from_dict({"lr": CONDITIONAL["lr"], "optimizer": "sgd"})
        assert constant.complete({"lr": 0.1})["momentum"] == defaults("mlp")["momentum"]


def _without(params, name):
    return {key: value for key, value in params.items() if key != name}


class TestDefault:
    def test_is_moved_into_the_space(self):
        space = space_from_dict(
            {
                "width": {"type": "int", "low": 8, "high": 100, "step": 8},
                "lr": {"type": "float", "low": 0.01, "high": 0.1, "log": True},
                "optimizer": {"type": "categorical", "choices": ["rmsprop", "sgd"]},
                "momentum": {"type": "float", "low": 0, "high": 0.5, "when": {"optimizer": "sgd"}},
                "dropout": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1},
            }
        )
        assert space.default() == {"width": 96, "lr": 0.01, "optimizer": "rmsprop", "dropout": 0.2}

    def test_steps_that_do_not_add_up_in_binary(self):
        # 3 * 0.1 is 0.30000000000000004, which is not in the range.
        distribution = FloatDistribution(0.0, 0.3, step=0.1)
        assert nearest(distribution, 1.0) == 0.3
        assert contains(distribution, nearest(distribution, 1.0))

    def test_of_the_presets_lies_in_them(self):
        for name in ("mlp", "mlp-per-layer"):
            space = load_space(name)
            assert space.check(space.default()) == space.default()
            assert "momentum" not in space.default()


class TestCheck:
    space = space_from_dict({**CONDITIONAL, "epochs": 20})

    @pytest.mark.parametrize(
        "params",
        [
            {},
            {"lr": 0.01},
            {"optimizer": "sgd", "momentum": 0.5},
            {"n_layers": 5, "width_3": 64},
        ],
    )
    def test_parts_of_a_configuration_are_fine(self, params):
        assert self.space.check(params) == params

    def test_a_whole_number_is_a_float(self):
        checked = self.space.check({"optimizer": "sgd", "momentum": 0})
        assert checked["momentum"] == 0.0
        assert type(checked["momentum"]) is float

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"lrr": 0.1}, "lrr: unknown hyperparameter; did you mean lr?"),
            ({"width": 8}, "width: unknown hyperparameter; did you mean width_3?"),
            (
                {"q": 1},
                "q: unknown hyperparameter; there are lr, optimizer, momentum, n_layers, width_3",
            ),
            ({3: 1}, "3: unknown hyperparameter; there are"),
            ({"epochs": 20}, "epochs: is the constant 20 in this space"),
            ({"lr": 1}, "lr: 1 is not in 0.0001 to 0.1 (log)"),
            ({"lr": "0.01"}, "lr: '0.01' is not in 0.0001 to 0.1 (log)"),
            ({"lr": math.nan}, "lr: nan is not in 0.0001 to 0.1 (log)"),
            ({"lr": math.inf}, "lr: inf is not in 0.0001 to 0.1 (log)"),
            ({"lr": 10**400}, "lr: 1000"),
            ({"lr": 10**5000}, "lr: a number of thousands of digits is not in"),
            ({"lr": None}, "lr: an empty value is not in"),
            ({"lr": [0.01]}, "lr: a list is not in"),
            ({"optimizer": True}, "optimizer: True is not in adam, sgd"),
            ({"optimizer": {}}, "optimizer: a mapping is not in adam, sgd"),
            ({"n_layers": True}, "n_layers: True is not in 1 to 5"),
            ({"n_layers": 2.0}, "n_layers: 2.0 is not in 1 to 5"),
            (
                {"n_layers": 5, "width_3": 9},
                "width_3: 9 is not in 8 to 64 in steps of 8",
            ),
            ({"momentum": 0.1}, "momentum: exists only where optimizer is sgd; set that too"),
            (
                {"momentum": 0.1, "optimizer": "adam"},
                "momentum: exists only where optimizer is sgd; set that too",
            ),
            (
                {"n_layers": 3, "width_3": 8},
                "width_3: exists only where n_layers is 4 or 5; set that too",
            ),
        ],
    )
    def test_what_is_wrong(self, params, message):
        with pytest.raises(SpaceError) as caught:
            self.space.check(params)
        assert str(caught.value).startswith(message)
        assert len(str(caught.value)) < 200
        assert "\n" not in str(caught.value)

    def test_a_grid_takes_a_whole_number_for_a_float(self):
        data = {"dropout": {"type": "float", "low": 0.0, "high": 0.5}}
        grid = space_from_dict(data).discretized()
        assert grid.check({"dropout": 0}) == {"dropout": 0.0}


class TestDiscretized:
    def test_ranges_get_three_values_and_the_default(self):
        space = space_from_dict(
            {
                "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
                "width": {"type": "int", "low": 8, "high": 256, "step": 8},
                "n_layers": {"type": "int", "low": 1, "high": 5},
                "dropout": {"type": "float", "low": 0.0, "high": 0.4, "step": 0.1},
                "batch_norm": {"type": "categorical", "choices": [True, False]},
            }
        ).discretized()
        values = {name: h.distribution.choices for name, h in space.searched.items()}  # type: ignore[attr-defined]
        assert values["lr"] == pytest.approx((1e-5, 1e-3, 1e-1))
        assert values["width"] == (8, 136, 256)
        assert values["n_layers"] == (1, 2, 3, 4, 5)
        assert values["dropout"] == pytest.approx((0.0, 0.1, 0.2, 0.3, 0.4))
        assert values["batch_norm"] == (True, False)

    def test_conditions_stay(self):
        grid = space_from_dict(CONDITIONAL).discretized()
        assert grid.searched["momentum"].when == {"optimizer": ("sgd",)}
        assert space_from_dict(grid.to_dict()).to_dict() == grid.to_dict()

    def test_values_lie_in_the_space(self):
        for name in ("mlp", "mlp-per-layer"):
            space = load_space(name)
            for key, hyperparameter in space.discretized().searched.items():
                choices = hyperparameter.distribution.choices  # type: ignore[attr-defined]
                original = space.searched[key].distribution
                assert all(contains(original, choice) for choice in choices), (key, choices)
                assert len(set(choices)) == len(choices)


@pytest.mark.parametrize(
    ("distribution", "text"),
    [
        (FloatDistribution(1e-5, 0.1, log=True), "1e-05 to 0.1 (log)"),
        (IntDistribution(8, 256, step=8), "8 to 256 in steps of 8"),
        (IntDistribution(1, 5), "1 to 5"),
        (IntDistribution(2, 1_048_576), "2 to 1048576"),
        (FloatDistribution(0.0, 2.0, step=1.0), "0 to 2 in steps of 1"),
        (CategoricalDistribution([True, False]), "true, false"),
    ],
)
def test_describe(distribution, text):
    assert describe(distribution) == text


# -- any space there can be ----------------------------------------------------------------------


@st.composite
def entries(draw, name: str) -> dict[str, Any]:
    known = KNOWN[name]
    if known.choices:
        choices = draw(st.permutations(known.choices))
        count = draw(st.integers(1, len(choices)))
        return {"type": "categorical", "choices": list(choices[:count])}
    low, high = max(known.low, 1e-6), min(known.high, 1_000.0)
    if known.type is int:
        bounds = sorted(draw(st.lists(st.integers(int(max(low, 1)), int(high)), min_size=2)))
        entry: dict[str, Any] = {"type": "int", "low": bounds[0], "high": bounds[-1]}
        if draw(st.booleans()):
            entry["step"] = draw(st.integers(1, 20))
    else:
        # Decimals, as people write them; binary halves of steps are not worth a promise.
        numbers = st.decimals(str(low), str(round(high, 6)), places=6, allow_nan=False)
        bounds = sorted(float(n) for n in draw(st.lists(numbers, min_size=2)))
        entry = {"type": "float", "low": bounds[0], "high": bounds[-1]}
        if draw(st.booleans()):
            entry["step"] = draw(st.sampled_from([0.1, 0.05, 1.0, 0.001]))
    if "step" not in entry and draw(st.booleans()):
        entry["log"] = True
    return entry


@st.composite
def spaces(draw) -> dict[str, Any]:
    family = draw(st.sampled_from(["mlp", "cnn"]))
    usable = sorted(n for n in KNOWN if family in families_of_name(n) and n != "model")
    names = draw(st.lists(st.sampled_from(usable), min_size=1, max_size=6, unique=True))
    data = {name: draw(entries(name)) for name in names}
    if family == "cnn":
        data["model"] = "cnn"
    if "optimizer" in data and "momentum" in data:
        data["momentum"]["when"] = {"optimizer": data["optimizer"]["choices"][0]}
    return data


@settings(max_examples=80, deadline=None)
@given(data=spaces(), seed=st.integers(0, 1000))
def test_any_space(data, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space = space_from_dict(data)
        # Through JSON and back it is the same.
        again = space_from_dict(json.loads(json.dumps(space.to_dict())))
        assert again.to_dict() == space.to_dict()
        assert again.searched == space.searched
        # The default and what a sampler draws lie in it, and Optuna agrees.
        default = space.default()
        assert space.check(default) == default
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        study.enqueue_trial(default)
        trial = study.ask()
        assert space.suggest(trial) == default
        params = space.suggest(study.ask())
        assert space.check(params) == params
        needed = set(defaults(space.families[0])) - {"momentum"}
        assert needed <= set(space.complete(params))
        grid = space.discretized()
        assert grid.check(grid.default()) == grid.default() == default


def test_the_constants_of_the_search_space_are_what_the_trainer_takes():
    assert set(KNOWN) == set(NAMES) | {
        f"{name}_{layer}"
        for name, layer in itertools.product(
            ("width", "dropout", "filters", "convolutions"), range(MAX_LAYERS)
        )
    }
    for name, known in KNOWN.items():
        assert type(known.default) is known.type
        assert known.choices or known.low <= known.default <= known.high, name  # type: ignore[operator]
