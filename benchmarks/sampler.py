"""``python -m benchmarks.sampler``: Cotune's TPE beside Optuna's own.

Both search functions whose least value is 0, over ranges, logarithms, whole numbers, choices and
conditions. A row has the median over seeds of the best value after so many trials, in how many
seeds Cotune's was better, worse and equal, and the milliseconds that each takes to draw a trial.
Trials are asked for in groups that end together, as in a search; Optuna's sampler learns of those
before in its group as they are asked for, Cotune's draws the group at once.

``--real`` searches digits and breast-cancer instead: one minus the best validation accuracy.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import TPESampler

from cotune.data.reading import read_dataset
from cotune.runs.directory import RunDirectory
from cotune.space.space import Hyperparameter, Space
from cotune.study.bounded_tpe import BoundedTPE
from cotune.tuning.observer import Observer
from cotune.tuning.run import Session, carry_out, executor_for, prepare_run
from cotune.tuning.settings import read_settings

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """A function to minimize, and its space."""

    space: Space
    value: Callable[[Params], float]


def _space(**searched: BaseDistribution | tuple[BaseDistribution, dict[str, Any]]) -> Space:
    return Space(
        {
            name: Hyperparameter(*(one if isinstance(one, tuple) else (one, {})))
            for name, one in searched.items()
        }
    )


def _floats(count: int, low: float, high: float) -> dict[str, BaseDistribution]:
    return {f"x{i}": FloatDistribution(low, high) for i in range(count)}


def _branin(p: Params) -> float:
    x, y = p["x0"], p["x1"]
    bent = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return float(bent**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.397887)


def _hartmann(p: Params) -> float:
    a = [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14]]
    a += [[3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    places = [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991]]
    places += [[2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
    total = 3.32237
    for weight, row, place in zip([1.0, 1.2, 3.0, 3.2], a, places, strict=True):
        total -= weight * math.exp(
            -sum(row[i] * (p[f"x{i}"] - place[i] / 1e4) ** 2 for i in range(6))
        )
    return total


def _ackley(p: Params) -> float:
    values = list(p.values())
    n = len(values)
    root = math.sqrt(sum(v * v for v in values) / n)
    waves = sum(math.cos(2 * math.pi * v) for v in values) / n
    return 20 + math.e - 20 * math.exp(-0.2 * root) - math.exp(waves)


def _rosenbrock(p: Params) -> float:
    v = list(p.values())
    return float(
        sum(100 * (v[i + 1] - v[i] ** 2) ** 2 + (1 - v[i]) ** 2 for i in range(len(v) - 1))
    )


def _mixed(p: Params) -> float:
    """A rate whose best place depends on a choice and a width."""
    best = {"adam": -2.5, "sgd": -1.0, "muon": -1.7}[p["optimizer"]] - p["width"] / 512
    worse = {"adam": 0.3, "sgd": 0.6, "muon": 0.0}[p["optimizer"]]
    return float(
        (math.log10(p["lr"]) - best) ** 2
        + abs(p["width"] - 192) / 256
        + (p["dropout"] - 0.3) ** 2
        + worse
    )


def _layers(p: Params) -> float:
    """Widths that exist as far as there are layers."""
    wanted = [200, 120, 40, 16, 16]
    n = p["n_layers"]
    each = sum((math.log2(p[f"width_{i}"]) - math.log2(wanted[i])) ** 2 for i in range(n)) / n
    return float(abs(n - 3) * 0.3 + each + (math.log10(p["lr"]) + 2) ** 2)


def _branches(p: Params) -> float:
    """Two networks, each with hyperparameters of its own."""
    if p["model"] == "cnn":
        return float(abs(p["blocks"] - 3) * 0.2 + (math.log10(p["cnn_lr"]) + 1.7) ** 2)
    return float(0.4 + (p["drop"] - 0.1) ** 2 + (math.log10(p["mlp_lr"]) + 3) ** 2)


_LR = FloatDistribution(1e-5, 1.0, log=True)
PROBLEMS = {
    "sphere": Problem(
        _space(**_floats(5, -5, 5)), lambda p: float(sum((v - 1) ** 2 for v in p.values()))
    ),
    "branin": Problem(_space(x0=FloatDistribution(-5, 10), x1=FloatDistribution(0, 15)), _branin),
    "hartmann": Problem(_space(**_floats(6, 0, 1)), _hartmann),
    "ackley": Problem(_space(**_floats(10, -5, 5)), _ackley),
    "rosenbrock": Problem(_space(**_floats(4, -2, 2)), _rosenbrock),
    "mixed": Problem(
        _space(
            optimizer=CategoricalDistribution(["adam", "sgd", "muon"]),
            lr=_LR,
            width=IntDistribution(8, 256, step=8),
            dropout=FloatDistribution(0, 0.5),
        ),
        _mixed,
    ),
    "layers": Problem(
        _space(
            n_layers=IntDistribution(1, 5),
            lr=_LR,
            **{
                f"width_{i}": (
                    IntDistribution(8, 256, step=8),
                    {"n_layers": tuple(range(i + 1, 6))},
                )
                for i in range(5)
            },
        ),
        _layers,
    ),
    "branches": Problem(
        _space(
            model=CategoricalDistribution(["mlp", "cnn"]),
            blocks=(IntDistribution(1, 5), {"model": ("cnn",)}),
            cnn_lr=(_LR, {"model": ("cnn",)}),
            drop=(FloatDistribution(0, 0.5), {"model": ("mlp",)}),
            mlp_lr=(_LR, {"model": ("mlp",)}),
        ),
        _branches,
    ),
}


def search_ours(problem: Problem, n_trials: int, group: int, seed: int) -> tuple[float, float]:
    """Return the best value of Cotune's sampler, and the seconds that it took to draw."""
    tpe = BoundedTPE(problem.space, maximize=False, seed=seed)
    best, seconds = math.inf, 0.0
    for first in range(0, n_trials, group):
        began = time.perf_counter()
        drawn = tpe.draw(first, min(group, n_trials - first))
        for i, params in enumerate(drawn):
            tpe.begin(first + i, params)
        seconds += time.perf_counter() - began
        for i, params in enumerate(drawn):
            value = problem.value(params)
            tpe.end(first + i, "complete", 1, value)
            best = min(best, value)
    return best, seconds


def search_optuna(problem: Problem, n_trials: int, group: int, seed: int) -> tuple[float, float]:
    """Return the best value of Optuna's sampler, and the seconds that it took to draw."""
    study = optuna.create_study(sampler=TPESampler(seed=seed))
    seconds = 0.0
    for first in range(0, n_trials, group):
        began = time.perf_counter()
        trials = [study.ask() for _ in range(min(group, n_trials - first))]
        drawn = [problem.space.suggest(trial) for trial in trials]
        seconds += time.perf_counter() - began
        for trial, params in zip(trials, drawn, strict=True):
            study.tell(trial, problem.value(params))
    return study.best_value, seconds


def search_data(name: str, n_trials: int, sampler: Any, seed: int) -> float:
    """Return one minus the best validation accuracy of a real search."""
    settings = read_settings(
        sampler=sampler, n_trials=n_trials, seed=seed, model="mlp", workers="in-process"
    )
    dataset = read_dataset(name)
    options = replace(settings.fit(dataset), search_only=True, portfolio=False)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(Path(folder) / "run")
        with executor_for(settings.resources, options) as executor:
            prepared = prepare_run(options, dataset)
            carry_out(prepared, settings.resources, executor, run, Session(Observer()))
        return 1.0 - max(trial.value or 0.0 for trial in run.tables.trials())


def compare(ours: list[float], optunas: list[float]) -> dict[str, float | int]:
    """Return the columns that say which was better."""
    pairs = list(zip(ours, optunas, strict=True))
    return {
        "cotune": round(median(ours), 5),
        "optuna": round(median(optunas), 5),
        "better": sum(a < b for a, b in pairs),
        "worse": sum(a > b for a, b in pairs),
        "equal": sum(a == b for a, b in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampler", description=__doc__)
    parser.add_argument("--trials", nargs="+", type=int, default=[50, 200])
    parser.add_argument("--group", type=int, default=4, help="trials that begin and end together")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--real", action="store_true", help="search digits and breast-cancer")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seeds = range(asked.seeds)
    for n_trials in asked.trials:
        for name in ("digits", "breast-cancer") if asked.real else asked.problems:
            row: dict[str, Any] = {"problem": name, "trials": n_trials}
            if asked.real:
                ours = [search_data(name, n_trials, "tpe", seed) for seed in seeds]
                optunas = [search_data(name, n_trials, TPESampler(seed=s), s) for s in seeds]
                row |= compare(ours, optunas)
            else:
                problem = PROBLEMS[name]
                found = [search_ours(problem, n_trials, asked.group, seed) for seed in seeds]
                beside = [search_optuna(problem, n_trials, asked.group, seed) for seed in seeds]
                row |= compare([one[0] for one in found], [one[0] for one in beside])
                row["cotune_ms"] = round(1e3 * median(one[1] for one in found) / n_trials, 2)
                row["optuna_ms"] = round(1e3 * median(one[1] for one in beside) / n_trials, 2)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
