"""What a network costs, as an objective beside its score."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Final

import torch

from cotune.engine.families import family_of
from cotune.engine.networks import CustomNetwork
from cotune.records import Value

_PASSES: Final = 30


def measure_cost(
    name: str,
    params: Mapping[str, Value],
    input_shape: tuple[int, ...],
    n_classes: int,
    custom: CustomNetwork | None = None,
) -> float:
    """Return a configuration's cost.

    Args:
        name: ``parameters``: trainable weights. ``latency``: milliseconds in which one thread of
            this CPU classifies one row, the least of 30 passes, as others are slowed down by
            whatever else the machine does.
        params: Its complete hyperparameters.
        input_shape: Of one row.
        custom: What makes the networks where they are the user's own.
    """
    network = family_of(params, custom).network(params, input_shape, n_classes)
    if name == "parameters":
        return float(sum(weight.numel() for weight in network.parameters()))
    network.eval()
    row = torch.zeros(1, math.prod(input_shape))
    if custom is not None:
        row = custom.rows_to_try(math.prod(input_shape))[:1]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = []
    try:
        with torch.no_grad():
            for _ in range(_PASSES):
                began = time.perf_counter()
                network(row)
                seconds.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return min(seconds) * 1000.0
