"""``python -m benchmarks.engine``: the engine against the tutorials' loop and lean plain PyTorch.

Ratios of wall clock, measured in one run, medians of several. Processes are started and warm before
the clock starts, for all sides alike. The floor is the time of the trials' matrix products at the
rate of one large product, plus optimizer traffic at the measured copying rate, over all cores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
import optuna
import torch

from benchmarks.loops import lean_loop, tutorial_loop
from benchmarks.tutorial_space import tutorial_space
from cotune.data import load, prepare
from cotune.data.dataset import TrainingData
from cotune.engine.device import PRECISIONS, n_cores
from cotune.engine.families import family_of
from cotune.engine.lane import key_of
from cotune.engine.step import STACKED
from cotune.records import TrialSpec, Value, Verdict
from cotune.workers.base import EngineJob, Executor
from cotune.workers.in_process import InProcessExecutor
from cotune.workers.pool import ProcessExecutor

_ROWS = 4_800
_HEADER = f"{'':36}{'tutorial':>9}{'lean':>8}{'cotune':>8}{'floor':>8}  vs tutorial  vs lean  lanes"
_MLP: dict[str, Value] = {
    "n_layers": 2,
    "batch_norm": True,
    "dropout": 0.2,
    "optimizer": "adam",
    "weight_decay": 1e-5,
}


@dataclass(frozen=True)
class Case:
    """Trials to be trained, and what has to be reached."""

    name: str
    specs: list[TrialSpec]


def cases() -> list[Case]:
    """Cases a to d."""
    return [
        Case("a  32 trials, 2 x 64, batch 32", _sweep(32, 64, 32)),
        Case("b1 32 trials, 2 x 128, batch 64", _sweep(32, 128, 64)),
        Case("b2 32 trials, 2 x 256, batch 128", _sweep(32, 256, 128)),
        Case("c  48 random trials of the tutorials", random_trials(48, epochs=5)),
        Case("d  12 trials, CNN 32-64, batch 64", _cnns(12)),
    ]


def _sweep(count: int, width: int, batch: int) -> list[TrialSpec]:
    """One shape, rates spread over two decades."""
    rates = np.geomspace(1e-4, 1e-2, count)
    return [
        TrialSpec(
            i,
            {**_MLP, "width": width, "batch_size": batch, "lr": float(rate), "epochs": 3},
            seed=i,
        )
        for i, rate in enumerate(rates)
    ]


def random_trials(count: int, epochs: int) -> list[TrialSpec]:
    """Random configurations of the tutorials' space, all with as many epochs."""
    space = tutorial_space()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [
        TrialSpec(i, {**space.complete(space.suggest(study.ask())), "epochs": epochs}, seed=i)
        for i in range(count)
    ]


def _cnns(count: int) -> list[TrialSpec]:
    params: dict[str, Value] = {
        "model": "cnn",
        "n_blocks": 2,
        "filters_0": 32,
        "filters_1": 64,
        "kernel_size": 3,
        "dense_width": 128,
        "batch_norm": True,
        "dropout": 0.3,
        "optimizer": "adam",
        "weight_decay": 1e-5,
        "batch_size": 64,
        "epochs": 2,
    }
    rates = np.geomspace(1e-4, 1e-2, count)
    return [TrialSpec(i, {**params, "lr": float(rate)}, seed=i) for i, rate in enumerate(rates)]


class Cotune:
    """The engine in as many processes as cores, or on the GPU."""

    def __init__(self, data: TrainingData, device: str, precision: str) -> None:
        self._executor: Executor = (
            InProcessExecutor(device) if device != "cpu" else ProcessExecutor(n_cores())
        )
        self._executor.load(EngineJob(data, 0, precision=precision))

    def train(self, specs: list[TrialSpec]) -> float:
        """Train all; returns the mean number of lanes of a cohort."""
        groups = self._groups(specs)
        epochs = {spec.number: spec.epochs for spec in specs}
        lanes, cohorts = 0, 0.0
        while groups or epochs:
            for size in self._executor.openings():
                if groups and size >= len(groups[0]):
                    self._executor.submit(groups.pop(0))
            verdicts = []
            for report in self._executor.reports(1.0):
                lanes, cohorts = lanes + 1, cohorts + 1 / report.lanes
                over = report.epoch == epochs[report.number] or report.error is not None
                if over:
                    del epochs[report.number]
                if report.error is None:
                    verdicts.append(Verdict(report.number, stop=over))
            self._executor.apply(verdicts)
        return lanes / cohorts

    def _groups(self, specs: list[TrialSpec]) -> list[list[TrialSpec]]:
        """Trials that can be trained together, the longest work first."""
        by_key: dict[object, list[TrialSpec]] = {}
        for spec in specs:
            by_key.setdefault(key_of(spec), []).append(spec)
        groups = []
        for members in by_key.values():
            parts = max(1, math.ceil(len(members) / self._executor.lanes))
            groups += [members[i::parts] for i in range(parts)]
        return sorted(groups, key=lambda g: -len(g) / int(g[0].params["batch_size"]))

    def close(self) -> None:
        self._executor.close()


_worker_data: TrainingData | None = None


def _start_lean(data: TrainingData) -> None:
    global _worker_data
    torch.set_num_threads(1)
    _worker_data = data


def _lean(spec: TrialSpec) -> float:
    assert _worker_data is not None
    return lean_loop(spec, _worker_data)


def floor_seconds(specs: list[TrialSpec], data: TrainingData, cores: int) -> float:
    """Products and optimizer traffic of all trials at the machine's measured rates."""
    size = 1024
    a, b = torch.randn(size, size), torch.randn(size, size)
    torch.set_num_threads(1)
    product = _fastest(lambda: torch.mm(a, b))
    x, y = torch.randn(1 << 18), torch.empty(1 << 18)
    copy = _fastest(lambda: y.copy_(x))
    flops, bytes_per_second = 2 * size**3 / product, 2 * 4 * (1 << 18) / copy
    seconds = 0.0
    for spec in specs:
        batch = int(spec.params["batch_size"])
        steps = data.n_train // batch * spec.epochs
        family = family_of(spec.params)
        shape = family.architecture(spec.params, data.input_shape, data.n_classes)
        products, count = 0.0, 0
        area = data.inputs.shape[1]
        for name, size_of in shape.parameter_shapes().items():
            count += math.prod(size_of)
            if not name.endswith("weight") or name.startswith("norm"):
                continue
            places = 1.0
            if len(size_of) == 4:
                places, area = area, area / 4
            # Forward and backward by the weights; by the inputs too, but not in the first layer.
            times = 2 if name in ("hidden.0.weight", "conv.0.weight") else 3
            products += times * 2 * math.prod(size_of) * places
        seconds += steps * (batch * products / flops + 28 * count / bytes_per_second)
    return seconds / cores


def _fastest(run: Callable[[], object]) -> float:
    times = []
    for _ in range(20):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def measure(
    case: Case, data: TrainingData, device: str, precision: str, repeats: int
) -> dict[str, float | str]:
    """Seconds of each side, and ratios."""
    cores = n_cores()
    sides: dict[str, list[float]] = {"tutorial": [], "lean": [], "cotune": []}
    cotune = Cotune(data, device, precision)
    with ProcessPoolExecutor(
        cores, get_context("spawn"), initializer=_start_lean, initargs=(data,)
    ) as pool:
        warm = [TrialSpec(s.number, {**s.params, "epochs": 1}, s.seed) for s in case.specs[:cores]]
        list(pool.map(_lean, warm))
        cotune.train(warm)
        lanes = 0.0
        for _ in range(repeats):
            began = time.perf_counter()
            lanes = cotune.train(case.specs)
            sides["cotune"].append(time.perf_counter() - began)
            began = time.perf_counter()
            list(pool.map(_lean, case.specs))
            sides["lean"].append(time.perf_counter() - began)
            torch.set_num_threads(cores)
            began = time.perf_counter()
            for spec in case.specs:
                tutorial_loop(spec, data)
            sides["tutorial"].append(time.perf_counter() - began)
    cotune.close()
    tutorial, lean, ours = (statistics.median(sides[side]) for side in sides)
    return {
        "case": case.name,
        "tutorial_seconds": tutorial,
        "lean_seconds": lean,
        "cotune_seconds": ours,
        "floor_seconds": floor_seconds(case.specs, data, cores),
        "vs_tutorial": tutorial / ours,
        "vs_lean": lean / ours,
        "mean_lanes": lanes,
    }


def measure_stacked(case: Case, data: TrainingData, repeats: int) -> list[float]:
    """Seconds of Cotune on the CPU: lanes side by side, and stacked as on a GPU."""
    seconds: list[list[float]] = [[], []]
    for _ in range(repeats):
        for times, is_stacked in zip(seconds, (False, True), strict=True):
            os.environ.pop(STACKED, None)
            if is_stacked:
                os.environ[STACKED] = "1"
            cotune = Cotune(data, "cpu", "float32")
            cotune.train([replace(s, params={**s.params, "epochs": 1}) for s in case.specs[:2]])
            began = time.perf_counter()
            cotune.train(case.specs)
            times.append(time.perf_counter() - began)
            cotune.close()
    return [statistics.median(times) for times in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--repeats", type=int, default=3, help="medians of this many (3)")
    parser.add_argument("--cases", default="abcd", help="letters of the cases to run (abcd)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps"))
    parser.add_argument(
        "--stacked", action="store_true", help="only compare lanes as on a CPU with those of a GPU"
    )
    parser.add_argument("--precision", default="float32", choices=PRECISIONS, help="Cotune's")
    options = parser.parse_args()
    dataset = load("fashion-mnist-small")
    data, _ = prepare(dataset, validation=1 - _ROWS / len(dataset), seed=0)
    chosen = [case for case in cases() if case.name[0] in options.cases]
    if options.stacked:
        for case in chosen:
            usual, stacked = measure_stacked(case, data, options.repeats)
            print(f"{case.name:36}{usual:8.1f}s side by side{stacked:8.1f}s stacked", flush=True)
        return
    results = []
    if not options.json:
        print(_HEADER)
    for case in chosen:
        result = measure(case, data, options.device, options.precision, options.repeats)
        results.append(result)
        if not options.json:
            print(
                f"{case.name:36}{result['tutorial_seconds']:8.1f}s{result['lean_seconds']:7.1f}s"
                f"{result['cotune_seconds']:7.1f}s{result['floor_seconds']:7.1f}s"
                f"{result['vs_tutorial']:12.1f}x{result['vs_lean']:8.2f}x{result['mean_lanes']:7.1f}",
                flush=True,
            )
    if options.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
