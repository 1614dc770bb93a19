"""``python -m benchmarks.modules``: networks of the user's own, sixteen as one beside one by one.

Milliseconds per training step and network, on one thread, the least of several; ratios of one run.
``solo`` is the engine's own training of a network that cannot be fused, ``plain`` a bare loop of
PyTorch with a fused optimizer.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cotune.engine.cohorts.base import Cohort
from cotune.engine.cohorts.module import ModuleCohort, SoloCohort
from cotune.engine.lane import Lane, start
from cotune.engine.networks import CUSTOM, CustomNetwork
from cotune.records import TrialSpec
from cotune.space.hyperparameters import defaults
from cotune.workers.process import ENVIRONMENT

_CLASSES = 10
_ROUNDS = 7


class Attention(nn.Module):
    """Batch norm, embedding of places, attention, layer norm, dropout.

    Args:
        tokens, features: Shape of a row.
        width: Of the embedding.
    """

    def __init__(self, tokens: int, features: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(tokens)
        self.embed = nn.Linear(features, width)
        self.place = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.after = nn.LayerNorm(width)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(width, _CLASSES)

    def forward(self, rows: Tensor) -> Tensor:
        """``[batch, tokens, features]`` -> logits."""
        hidden = self.embed(self.norm(rows)) + self.place
        mixed, _ = self.attention(hidden, hidden, hidden, need_weights=False)
        hidden = self.dropout(F.relu(self.after(hidden + mixed)))
        logits: Tensor = self.head(hidden.mean(1))
        return logits


def perceptron(features: int, width: int) -> nn.Module:
    """Two hidden layers with batch norm and dropout."""
    layers: list[nn.Module] = []
    for size in (features, width):
        layers += [nn.Linear(size, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(width, _CLASSES))


def convolutions(filters: int) -> nn.Module:
    """Two convolutions on images of 14 x 14."""
    return nn.Sequential(
        nn.Conv2d(1, filters, 3, padding=1),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(filters, 2 * filters, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(2 * filters * 49, _CLASSES),
    )


CASES: list[tuple[str, Callable[[], nn.Module], tuple[int, ...], int]] = [
    ("attention, 8 tokens, width 16, batch 16", lambda: Attention(8, 8, 16), (8, 8), 16),
    ("attention, 8 tokens, width 16, batch 32", lambda: Attention(8, 8, 16), (8, 8), 32),
    ("attention, 8 tokens, width 32, batch 32", lambda: Attention(8, 8, 32), (8, 8), 32),
    ("attention, 28 tokens, width 16, batch 32", lambda: Attention(28, 28, 16), (28, 28), 32),
    ("perceptron, 64 inputs, 2 x 32, batch 32", lambda: perceptron(64, 32), (64,), 32),
    ("perceptron, 784 inputs, 2 x 64, batch 32", lambda: perceptron(784, 64), (784,), 32),
    ("convolutions, 4 and 8 filters, batch 32", lambda: convolutions(4), (14, 14), 32),
]


def make_lanes(make: Callable[[], nn.Module], shape: tuple[int, ...], count: int) -> list[Lane]:
    """Lanes of one network, learning rates spread over two decades."""
    custom = CustomNetwork(lambda trial: make())
    rates = np.geomspace(1e-4, 1e-2, count)
    params = {**defaults(CUSTOM), "model": CUSTOM}
    return [
        start(
            TrialSpec(i, {**params, "lr": float(rate)}, i),
            shape,
            _CLASSES,
            torch.device("cpu"),
            custom=custom,
        )
        for i, rate in enumerate(rates)
    ]


def of_cohorts(cohorts: list[Cohort], rows: Tensor, labels: Tensor, steps: int) -> float:
    """Seconds in which every lane makes so many steps."""
    began = time.perf_counter()
    for cohort in cohorts:
        for _ in range(steps):
            cohort.step(rows, labels, [1.0] * len(cohort.lanes))
    return time.perf_counter() - began


def of_plain_loops(modules: list[nn.Module], rows: Tensor, labels: Tensor, steps: int) -> float:
    """Likewise, by a bare loop."""
    seconds = 0.0
    for module in modules:
        module.train()
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, fused=True)
        began = time.perf_counter()
        for _ in range(steps):
            loss = F.cross_entropy(module(rows), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds += time.perf_counter() - began
    return seconds


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    if not ENVIRONMENT.items() <= os.environ.items():  # as worker processes are started
        command = [sys.executable, "-m", "benchmarks.modules", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **ENVIRONMENT})
    torch.set_num_threads(1)
    print(f"{'':44}{'fused':>7}{'solo':>8}{'plain':>8}   fused is faster by")
    for name, make, shape, batch in CASES:
        fused: Cohort = ModuleCohort(make_lanes(make, shape, options.lanes))
        lanes = [replace(lane, alone="apart") for lane in make_lanes(make, shape, options.lanes)]
        apart: list[Cohort] = [SoloCohort([lane]) for lane in lanes]
        lanes = make_lanes(make, shape, options.lanes)
        modules: list[nn.Module] = [lane.architecture.live for lane in lanes]  # type: ignore[union-attr]
        rows = torch.randn(batch, int(np.prod(shape)))
        labels = torch.randint(0, _CLASSES, (batch,))
        sides = [
            lambda: of_cohorts([fused], rows, labels, options.steps),  # noqa: B023
            lambda: of_cohorts(apart, rows, labels, options.steps),  # noqa: B023
            lambda: of_plain_loops(modules, rows, labels, options.steps),  # noqa: B023
        ]
        best = [float("inf")] * 3
        for _ in range(_ROUNDS):
            for i, side in enumerate(sides):
                best[i] = min(best[i], side() / options.steps / options.lanes * 1e3)
        ratios = f"{best[1] / best[0]:.1f}x solo, {best[2] / best[0]:.1f}x plain"
        print(f"{name:44}{best[0]:7.3f}{best[1]:8.3f}{best[2]:8.3f}   {ratios}", flush=True)


if __name__ == "__main__":
    main()
