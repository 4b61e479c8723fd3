"""The written-out second derivative is torch's own, in float64; the first is torch's to the bit."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ddspec.engine.networks.layers import AveragePool, InstanceNorm


@pytest.fixture(autouse=True, params=[0, 2**18])
def size_of_small(request, monkeypatch):
    """Both ways: images as small as these, and as if they were large."""
    monkeypatch.setattr("ddspec.engine.networks.layers.SMALL", request.param)


def pair(channels, dtype):
    """Ours, and torch's group norm with a group per channel, with the same parameters."""
    ours, theirs = InstanceNorm(channels).to(dtype), nn.GroupNorm(channels, channels).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.randn(channels, generator=generator, dtype=dtype))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def images(dtype, scale=1.0):
    generator = torch.Generator().manual_seed(2)
    return (torch.randn(2, 3, 4, 5, generator=generator, dtype=dtype) * scale).requires_grad_()


def derivatives(norm, maps, asked):
    """The output, first derivatives, and what goes back through those that are asked for."""
    out = norm(maps)
    wave = torch.arange(out.numel(), dtype=out.dtype).view(out.shape)
    outer = (out.sin() * wave).sum()
    inputs = [maps, *norm.parameters()]
    first = torch.autograd.grad(outer, inputs, create_graph=True)
    generator = torch.Generator().manual_seed(3)
    mixed = sum(
        (first[k] * torch.randn(first[k].shape, generator=generator, dtype=out.dtype)).sum()
        for k in asked
    )
    return [out, *first], torch.autograd.grad(mixed, inputs)


@pytest.mark.parametrize("asked", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_second_derivative_is_the_one_that_torch_finds(asked, scale):
    ours, theirs = (
        derivatives(n, images(torch.float64, scale), asked) for n in pair(3, torch.float64)
    )
    for derivative, expected in zip((*ours[0], *ours[1]), (*theirs[0], *theirs[1]), strict=True):
        torch.testing.assert_close(derivative, expected, rtol=1e-9, atol=1e-9)


def test_norm_and_its_first_derivative_are_torchs_to_the_bit():
    ours, theirs = pair(3, torch.float32)
    outputs, expected = (n(images(torch.float32)) for n in (ours, theirs))
    assert torch.equal(outputs, expected)
    slopes = [
        torch.autograd.grad(
            (n(maps := images(torch.float32))).square().sum(), [maps, *n.parameters()]
        )
        for n in (ours, theirs)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*slopes, strict=True))


def test_second_derivative_holds_for_a_norm_whose_weight_is_zero():
    ours, theirs = pair(3, torch.float64)
    with torch.no_grad():
        ours.weight.zero_()
        theirs.weight.zero_()
    second, expected = (derivatives(n, images(torch.float64), (0, 1, 2))[1] for n in (ours, theirs))
    for a, b in zip(second, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (8, 8), (2, 2)])
def test_pooling_and_its_derivatives_are_torchs_to_the_bit(height, width):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, height, width, generator=generator)

    def derivatives(pool):
        images = maps.clone().requires_grad_()
        out = pool(images)
        (first,) = torch.autograd.grad(out.pow(3).sum(), images, create_graph=True)
        return out, first, torch.autograd.grad(first.pow(3).sum(), images)[0]

    ours, theirs = derivatives(AveragePool()), derivatives(lambda x: F.avg_pool2d(x, 2))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
