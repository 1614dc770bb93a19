from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cotune.engine.optim import MOMENTS, Rates, update

LR = [3e-2, 1e-3, 1e-4, 3e-1, 5e-3]
DECAY = [0.0, 1e-2, 1e-1, 0.0, 3e-2]
MOMENTUM = [0.0, 0.5, 0.9, 0.99, 0.0]
NESTEROV = [True, True, False, True, False]
BETAS = [(0.9, 0.999), (0.0, 0.9), (0.8, 0.99), (0.95, 0.9999), (0.9, 0.5)]
STEPS = 100
SIZES = (37, 1, 64)  # of a lane's tensors; the first is no multiple of a vector register
TOTAL = sum(SIZES)
ELEMENTWISE = [name for name in MOMENTS if name != "muon"]


def torch_optimizer(name: str, weights: Tensor, lane: int) -> torch.optim.Optimizer:
    lr, decay, betas = LR[lane], DECAY[lane], BETAS[lane]
    match name:
        case "adam":
            return torch.optim.Adam([weights], lr=lr, betas=betas, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW([weights], lr=lr, betas=betas, weight_decay=decay)
        case "sgd":
            return torch.optim.SGD(
                [weights],
                lr=lr,
                weight_decay=decay,
                momentum=MOMENTUM[lane],
                nesterov=NESTEROV[lane] and MOMENTUM[lane] > 0.0,
            )
        case _:
            return torch.optim.RMSprop([weights], lr=lr, weight_decay=decay)


def rates(name: str, lane: int) -> Rates:
    beta1, beta2 = BETAS[lane]
    return Rates(name, LR[lane], DECAY[lane], MOMENTUM[lane], NESTEROV[lane], beta1, beta2)


def gradients(dtype: torch.dtype) -> Tensor:
    """``[steps, lanes, n]`` of sizes from 1e-6 to 10, some exactly 0."""
    generator = torch.Generator().manual_seed(5)
    signs = torch.randn(STEPS, len(LR), TOTAL, generator=generator, dtype=torch.float64)
    sizes = 10.0 ** torch.linspace(-6, 1, TOTAL, dtype=torch.float64)
    drawn = signs * sizes
    drawn[:, :, :3] = 0.0
    drawn[::2, :, 3] = 0.0
    return drawn.to(dtype)


def ours(name: str, start: Tensor, given: Tensor, lane: int, factors: list[float]) -> Tensor:
    """The lane's tensors, each a part of ``start``, after all the gradients."""
    weights = list(start.clone().split(SIZES))
    moments = {moment: [torch.zeros_like(w) for w in weights] for moment in MOMENTS[name]}
    step = torch.zeros(())
    for gradient, factor in zip(given, factors, strict=True):
        step += 1
        parts = list(gradient.clone().split(SIZES))
        update(rates(name, lane), factor, weights, parts, moments, step)
    return torch.cat(weights)


def by_torch(name: str, start: Tensor, given: Tensor, lane: int, factors: list[float]) -> Tensor:
    weights = start.clone().requires_grad_()
    optimizer = torch_optimizer(name, weights, lane)
    for gradient, factor in zip(given, factors, strict=True):
        optimizer.param_groups[0]["lr"] = LR[lane] * factor
        weights.grad = gradient.clone()
        optimizer.step()
    return weights.detach()


def start(dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.randn(len(LR), TOTAL, generator=generator, dtype=torch.float64).to(dtype)


# Relative to the largest weight of the lane. In float32 the two differ by rounding alone.
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 3e-6), (torch.float64, 1e-14)], ids=["f32", "f64"]
)
@pytest.mark.parametrize("falling", [False, True], ids=["constant", "falling"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_is_torchs_update(name, dtype, tolerance, falling):
    factors = [1.0 - i / STEPS if falling else 1.0 for i in range(STEPS)]
    given = gradients(dtype)
    for lane in range(len(LR)):
        weights = ours(name, start(dtype)[lane], given[:, lane], lane, factors)
        expected = by_torch(name, start(dtype)[lane], given[:, lane], lane, factors)
        assert (weights - expected).abs().max() <= tolerance * expected.abs().max(), lane


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_first_step_is_torchs(name):
    """Of all steps the one whose bias correction is the largest."""
    # From zero, the weights are the step itself.
    zeros, given = torch.zeros(TOTAL), gradients(torch.float32)[:1]
    for lane in range(len(LR)):
        weights = ours(name, zeros, given[:, lane], lane, [1.0])
        expected = by_torch(name, zeros, given[:, lane], lane, [1.0])
        torch.testing.assert_close(weights, expected, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_what_a_trial_leaves_out_is_as_in_torch(name):
    params = {"optimizer": name, "lr": 0.01}
    defaults = Rates.from_params(params)
    assert defaults == Rates(name, 0.01, 0.0, 0.0, False, 0.9, 0.999)
    given: dict[str, bool | int | float | str] = {
        "weight_decay": 0.5,
        "momentum": 0.7,
        "nesterov": True,
        "beta1": 0.1,
        "beta2": 0.2,
        "clip_norm": 3.0,
    }
    expected = Rates(name, 0.01, 0.5, 0.7, True, 0.1, 0.2, 3.0)
    assert Rates.from_params({**params, **given}) == expected


def test_no_tensor_but_the_lanes_own_is_touched():
    """Weights are parts of tensors that lanes share."""
    for name in MOMENTS:
        shared, gradient = torch.ones(3 * TOTAL), torch.ones(TOTAL)
        weights = [shared[TOTAL : 2 * TOTAL]]
        moments = {moment: [torch.zeros(TOTAL)] for moment in MOMENTS[name]}
        update(rates(name, 1), 1.0, weights, [gradient], moments, torch.ones(()))
        assert shared[:TOTAL].eq(1.0).all()
        assert shared[2 * TOTAL :].eq(1.0).all()
        assert shared[TOTAL : 2 * TOTAL].ne(1.0).all()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_muon_is_torchs(decay):
    """Matrices by ``torch.optim.Muon``, which iterates in 16 bits; biases and the last by AdamW."""
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(size, generator=generator) for size in ((8, 27), (8,), (20, 8), (5, 20))]
    expected = [weight.clone().requires_grad_() for weight in weights]
    matrices, others = [expected[0], expected[2]], [expected[1], expected[3]]
    muon = torch.optim.Muon(matrices, lr=0.01, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(others, lr=0.01, weight_decay=decay)
    ours = Rates.from_params({"optimizer": "muon", "lr": 0.01, "weight_decay": decay})
    moments = {name: [torch.zeros_like(w) for w in weights] for name in MOMENTS["muon"]}
    before = [weight.clone() for weight in weights]
    for step in range(1, 11):
        slopes = [torch.randn(w.shape, generator=generator) for w in weights]
        for weight, slope in zip(expected, slopes, strict=True):
            weight.grad = slope.clone()
        muon.step()
        adamw.step()
        update(ours, 1.0, weights, slopes, moments, torch.tensor(float(step)))
    for old, weight, other in zip(before, weights, expected, strict=True):
        assert (weight - other).norm() < 0.02 * (other - old).norm()
