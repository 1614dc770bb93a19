"""``python -m benchmarks.anytime``: test accuracy against wall clock, Cotune and its peers.

Every run is a process of its own, one after another, and its wall clock is that of everything:
imports, data, search, final training, test. All search the space of ``tutorial_space.yaml`` on the
same training and validation parts; ``cotune-mlp`` alone has all that preset ``mlp`` has. Figures
are medians over seeds. All of it takes about five hours.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from benchmarks.methods import METHODS, Method, run
from benchmarks.records import HEADER, Record, line, medians
from cotune.data import load
from cotune.engine.device import n_cores

BUDGETS: dict[str, tuple[float, ...]] = {
    "fashion-mnist-small": (20, 120),
    "fashion-mnist": (60, 240),
    "digits": (30,),
}
"""Seconds, by data set."""

_PACKAGES = ("torch", "optuna", "ray", "keras", "keras-tuner")


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``--quick`` decides what it leaves open."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.anytime", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a minute: cotune, random and tutorial on fashion-mnist-small, 20 s, one seed",
    )
    parser.add_argument("--datasets", nargs="+", choices=BUDGETS, metavar="NAME", help="(all)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, metavar="NAME", help="(all)")
    parser.add_argument("--seeds", type=int, metavar="N", help="medians of this many (5)")
    parser.add_argument(
        "--budgets", nargs="+", type=float, metavar="SECONDS", help="(each data set's own)"
    )
    options = parser.parse_args(arguments)
    quick = options.quick
    options.datasets = options.datasets or (["fashion-mnist-small"] if quick else list(BUDGETS))
    options.methods = options.methods or (
        ["cotune", "random", "tutorial"] if quick else list(METHODS)
    )
    options.seeds = options.seeds or (1 if quick else 5)
    options.budgets = options.budgets or ([20.0] if quick else None)
    return options


def why_skipped(method: Method) -> str:
    """The line that says what a method lacks, or ""."""
    missing = method.missing()
    if not missing:
        return ""
    return f"{method.name}: skipped without {' and '.join(missing)}; make bench-peers installs them"


def installed() -> dict[str, str]:
    """Versions of what is compared."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def main() -> None:
    options = read_options()
    # JSON has standard output to itself.
    out = sys.stderr if options.json else sys.stdout
    methods, skipped = [], {}
    for name in options.methods:
        if why := why_skipped(METHODS[name]):
            skipped[name] = why
            print(why, file=out, flush=True)
        else:
            methods.append(METHODS[name])
    for dataset in options.datasets:
        load(dataset)  # a download or a cold disk would be the first run's loss
    records: list[Record] = []
    rows = []
    print(HEADER, file=out, flush=True)
    for dataset in options.datasets:
        for budget in options.budgets or BUDGETS[dataset]:
            for method in methods:
                runs = []
                for seed in range(options.seeds):
                    record = run(method, dataset, budget, seed)
                    runs.append(record)
                    if record.error:
                        what = f"{method.name}, {dataset}, {budget:g} s, seed {seed}"
                        print(f"{what}: failed: {record.error}", file=out, flush=True)
                records += runs
                rows.append(medians(runs))
                print(line(rows[-1]), file=out, flush=True)
    if options.json:
        document = {
            "cores": n_cores(),
            "versions": installed(),
            "skipped": skipped,
            "medians": [asdict(row) for row in rows],
            "runs": [asdict(record) for record in records],
        }
        print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
