"""First filters that whiten patches of the images."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cotune.engine.engine import Engine
from cotune.engine.whitening import whiten
from tests.engine.test_parity_cnn import colour, grey
from tests.support.parity import RUN_SEED, cnn, same_bits


def images(channels: int) -> torch.Tensor:
    """Neighbouring pixels and colours are alike, as in photographs."""
    noise = torch.randn(64, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(noise, 3, 1)
    extra = torch.randn(64, channels, 10, 10, generator=torch.Generator().manual_seed(1))
    return smooth / smooth.std() + 0.5 * extra


@pytest.mark.parametrize("channels", [1, 3])
def test_outputs_are_uncorrelated_with_variance_one(channels):
    seen = images(channels)
    weights = torch.randn(200, channels, 3, 3)
    whiten(weights, seen)
    n = 9 * channels
    outputs = F.conv2d(seen, weights[:n]).permute(1, 0, 2, 3).reshape(n, -1)
    second_moments = outputs @ outputs.t() / outputs.shape[1]
    off = second_moments - torch.diag(second_moments.diagonal())
    assert off.abs().max() < 1e-4
    assert second_moments.diagonal().max() <= 1.0
    assert second_moments.diagonal().min() > 0.8  # the floor of the variances makes it less
    assert torch.equal(weights[n : 2 * n], -weights[:n])


def test_of_few_filters_half_are_the_largest_components_and_half_their_negatives():
    weights = torch.randn(7, 1, 3, 3)
    last = weights[6].clone()
    many = torch.randn(40, 1, 3, 3)
    whiten(weights, images(1))
    whiten(many, images(1))
    assert torch.equal(weights[:3], many[:3])
    assert torch.equal(weights[3:6], -weights[:3])
    assert torch.equal(weights[6], last)


def test_constant_images_do_no_harm():
    weights = torch.randn(4, 1, 3, 3)
    whiten(weights, torch.zeros(5, 1, 8, 8))
    assert weights.isfinite().all()


@pytest.mark.parametrize("data", [grey(), colour()], ids=["grey", "colour"])
def test_an_engine_starts_with_them(data):
    weights = []
    for whitened in (True, True, False):
        engine = Engine(data, RUN_SEED, max_lanes=1)
        engine.add([cnn(0, whitened=whitened)])
        weights.append(engine.weights(0))
    assert same_bits(weights[0], weights[1])
    differing = [name for name in weights[0] if not (weights[0][name] == weights[2][name]).all()]
    assert differing == ["conv.0.weight"]
