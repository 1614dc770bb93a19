"""How many lanes pay: found by measuring on the device at hand, in well under a second."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Final

from cotune.engine.lane import start
from cotune.engine.memory import Attempt
from cotune.engine.step import DeviceData, make_cohort
from cotune.records import TrialSpec, Value

MOST_LANES: Final = {"cpu": 16, "cuda": 512, "mps": 128}
FIRST_GUESS: Final = {"cpu": 8, "cuda": 64, "mps": 16}
"""Lanes that fit and pay nearly everywhere."""

_PAYS: Final = 0.85  # another number of lanes is taken if a lane's step then costs less than this
_TIMES: Final = 3  # measurements that have to say so
_STEPS: Final = 6
# A small network, for which the number of lanes matters most: large ones fill a core alone.
_SMALL: Final[dict[str, Value]] = {
    "n_layers": 2,
    "width": 64,
    "batch_norm": True,
    "dropout": 0.2,
    "lr": 1e-3,
    "optimizer": "adamw",
    "weight_decay": 1e-4,
    "batch_size": 32,
    "epochs": 1,
}


def measure_lanes(data: DeviceData) -> int:
    """Return the number of lanes to train together on the data's device.

    Starts from a first guess that fits, and doubles or halves it as long as that makes a lane's
    step at least 15 % cheaper: differences smaller than that are noise, and a number that changed
    from run to run would change which trials meet.
    """
    device = data.device
    costs: dict[int, float] = {}

    def cost(lanes: int) -> float:
        """Take the least of all measurements: other programs make steps slower, never faster."""
        costs[lanes] = min(costs.get(lanes, math.inf), _seconds_per_lane(lanes, data))
        return costs[lanes]

    def pays(lanes: int, instead_of: int) -> bool:
        return all(cost(lanes) < _PAYS * cost(instead_of) for _ in range(_TIMES))

    best = FIRST_GUESS[device.type]
    while best > 1 and math.isinf(cost(best)):
        best //= 2
    while 2 * best <= MOST_LANES[device.type] and pays(2 * best, best):
        best *= 2
    while best > 1 and pays(best // 2, best):
        best //= 2
    return best


def _seconds_per_lane(lanes: int, data: DeviceData) -> float:
    """Return the fastest of a few steps, divided by the lanes; infinite where they do not fit."""
    device, dtype = data.device, data.dtype
    seconds = []
    with Attempt():
        cohort = make_cohort(
            [
                start(TrialSpec(i, _SMALL, i), data.input_shape, data.n_classes, device, dtype)
                for i in range(lanes)
            ],
            replace(data, custom=None),
        )
        batch = min(int(_SMALL["batch_size"]), data.n_train)
        rows, labels = data.inputs[:batch].to(device, dtype), data.labels[:batch]
        for _ in range(_STEPS):
            began = time.perf_counter()
            losses, _ = cohort.step(rows, labels, [1.0] * lanes)
            losses.sum().item()  # waits for the device
            seconds.append(time.perf_counter() - began)
    return min(seconds, default=math.inf) / lanes
