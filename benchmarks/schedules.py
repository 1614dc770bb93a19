"""``python -m benchmarks.schedules``: how soon a training shows how good it will be.

Random trials of the tutorials' space on fashion-mnist-small, each trained under every schedule with
the same seed. For every schedule: the mean accuracy of the best quarter after each rung, and the
rank correlation (Spearman) of the rung's scores with those at the end under a cosine, which is what
a carefully trained network of that configuration comes to.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.engine import random_trials
from cotune.data import load, prepare
from cotune.engine.device import n_cores
from cotune.engine.schedules import SCHEDULES
from cotune.records import TrialSpec, Verdict
from cotune.workers.base import EngineJob
from cotune.workers.pool import ProcessExecutor

_RUNGS = (1, 3, 9)
_AVERAGED = "constant, averaged"


def under(schedule: str, specs: list[TrialSpec]) -> list[TrialSpec]:
    """The same trials with that schedule."""
    averaged = schedule == _AVERAGED
    name = "constant" if averaged else schedule
    return [
        replace(spec, params={**spec.params, "schedule": name}, averaged=averaged) for spec in specs
    ]


def curves(executor: ProcessExecutor, specs: list[TrialSpec]) -> NDArray[np.float64]:
    """Validation accuracy ``[trials, epochs]``; 0 from where a trial failed."""
    epochs = specs[0].epochs
    scores = np.zeros((len(specs), epochs))
    waiting = sorted(specs, key=lambda spec: str(spec.params["batch_size"]))
    running: set[int] = set()
    while waiting or running:
        for places in executor.openings():
            group, waiting = waiting[:places], waiting[places:]
            if group:
                executor.submit(group)
                running |= {spec.number for spec in group}
        verdicts = []
        for report in executor.reports(1.0):
            over = report.epoch == epochs or report.error is not None
            if over:
                running.discard(report.number)
            if report.error is None:
                scores[report.number, report.epoch - 1] = report.scores["accuracy"]
                verdicts.append(Verdict(report.number, stop=over))
        executor.apply(verdicts)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedules", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--trials", type=int, default=32, help="random trials (32)")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each (20)")
    options = parser.parse_args()
    data, _ = prepare(load("fashion-mnist-small"), validation=0.2, seed=0)
    specs = random_trials(options.trials, options.epochs)
    results: dict[str, NDArray[np.float64]] = {}
    with ProcessExecutor(n_cores()) as executor:
        executor.load(EngineJob(data, 0))
        for schedule in (_AVERAGED, *SCHEDULES):
            results[schedule] = curves(executor, under(schedule, specs))
    rungs = [rung for rung in _RUNGS if rung < options.epochs]
    final = results["cosine"][:, -1]
    rows = []
    for schedule, scores in results.items():
        top = np.sort(scores, axis=0)[-max(1, len(scores) // 4) :].mean(0)
        rows.append(
            {
                "schedule": schedule,
                **{f"accuracy_{rung}": float(top[rung - 1]) for rung in (*rungs, options.epochs)},
                **{f"rank_{r}": float(spearmanr(scores[:, r - 1], final)[0]) for r in rungs},
            }
        )
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    columns = [name for name in rows[0] if name != "schedule"]
    print(f"{'':20}" + "".join(f"{name:>13}" for name in columns))
    for row in rows:
        print(f"{row['schedule']:20}" + "".join(f"{row[name]:13.4f}" for name in columns))


if __name__ == "__main__":
    main()
