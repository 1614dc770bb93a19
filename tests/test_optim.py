from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cotune.optim import MOMENTS, update

LR = [3e-2, 1e-3, 1e-4, 3e-1, 5e-3]
DECAY = [0.0, 1e-2, 1e-1, 0.0, 3e-2]
MOMENTUM = [0.0, 0.5, 0.9, 0.99, 0.0]
STEPS = 100
SIZE = 37  # no multiple of a vector register


def torch_optimizer(name: str, weights: Tensor, lane: int) -> torch.optim.Optimizer:
    lr, decay = LR[lane], DECAY[lane]
    match name:
        case "adam":
            return torch.optim.Adam([weights], lr=lr, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW([weights], lr=lr, weight_decay=decay)
        case "sgd":
            return torch.optim.SGD([weights], lr=lr, weight_decay=decay, momentum=MOMENTUM[lane])
        case _:
            return torch.optim.RMSprop([weights], lr=lr, weight_decay=decay)


def gradients(dtype: torch.dtype) -> Tensor:
    """``[steps, lanes, n]`` of sizes from 1e-6 to 10, some exactly 0."""
    generator = torch.Generator().manual_seed(5)
    signs = torch.randn(STEPS, len(LR), SIZE, generator=generator, dtype=torch.float64)
    sizes = 10.0 ** torch.linspace(-6, 1, SIZE, dtype=torch.float64)
    drawn = signs * sizes
    drawn[:, :, :3] = 0.0
    drawn[::2, :, 3] = 0.0
    return drawn.to(dtype)


def rates(lanes: list[int], dtype: torch.dtype) -> dict[str, Tensor]:
    columns = {"lr": LR, "weight_decay": DECAY, "momentum": MOMENTUM}
    return {
        name: torch.tensor([column[lane] for lane in lanes], dtype=dtype)
        for name, column in columns.items()
    }


def by_torch(name: str, start: Tensor, given: Tensor, lane: int) -> Tensor:
    weights = start.clone().requires_grad_()
    optimizer = torch_optimizer(name, weights, lane)
    for gradient in given:
        weights.grad = gradient.clone()
        optimizer.step()
    return weights.detach()


def start(dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.randn(len(LR), SIZE, generator=generator, dtype=torch.float64).to(dtype)


# Relative to the largest weight of the lane. In float32 the two differ by rounding alone: sums are
# taken in another order, and a lane's rate is a float32 where torch.optim keeps a Python float.
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 3e-6), (torch.float64, 1e-14)], ids=["f32", "f64"]
)
@pytest.mark.parametrize("name", MOMENTS)
def test_is_torchs_update(name, dtype, tolerance):
    lanes = list(range(len(LR)))
    weights, given = start(dtype), gradients(dtype)
    moments = {moment: torch.zeros_like(weights) for moment in MOMENTS[name]}
    steps = torch.zeros(len(LR))
    for gradient in given:
        steps += 1
        update(name, weights, gradient.clone(), moments, rates(lanes, dtype), steps)
    for lane in lanes:
        expected = by_torch(name, start(dtype)[lane], given[:, lane], lane)
        assert (weights[lane] - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("name", MOMENTS)
def test_the_first_step_is_torchs(name):
    """Of all steps the one whose bias correction is the largest."""
    dtype = torch.float32
    lanes = list(range(len(LR)))
    # From zero, the weights are the step itself.
    weights, given = torch.zeros(len(LR), SIZE), gradients(dtype)[:1]
    moments = {moment: torch.zeros_like(weights) for moment in MOMENTS[name]}
    update(name, weights, given[0].clone(), moments, rates(lanes, dtype), torch.ones(len(LR)))
    for lane in lanes:
        expected = by_torch(name, torch.zeros(SIZE), given[:, lane], lane)
        torch.testing.assert_close(weights[lane], expected, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("name", MOMENTS)
def test_each_lane_counts_its_own_steps(name):
    """A lane that begins when its neighbour has 40 steps behind it."""
    dtype = torch.float64
    weights, given = start(dtype), gradients(dtype)
    first = weights[:1].clone()
    moments = {moment: torch.zeros_like(first) for moment in MOMENTS[name]}
    steps = torch.zeros(1)
    for gradient in given[:40, :1]:
        steps += 1
        update(name, first, gradient.clone(), moments, rates([0], dtype), steps)
    both = torch.cat([first, weights[1:2]])
    moments = {moment: torch.cat([m, torch.zeros_like(m)]) for moment, m in moments.items()}
    steps = torch.tensor([40.0, 0.0])
    for gradient in given[40:, :2]:
        steps += 1
        update(name, both, gradient.clone(), moments, rates([0, 1], dtype), steps)
    for lane, its_gradients in ((0, given[:, 0]), (1, given[40:, 1])):
        expected = by_torch(name, weights[lane], its_gradients, lane)
        torch.testing.assert_close(both[lane], expected, rtol=1e-12, atol=1e-14)
