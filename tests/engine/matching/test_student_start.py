"""Weights and noise by start epoch: the published numbers, and formulas worked by hand."""

import math

import pytest
import torch

from ddspec.engine.matching.student_start import inner_weight, perturb

SHAPES = [torch.Size(s) for s in ((4, 3, 3, 3), (4,), (4,), (5, 16), (5,))]


def theta():
    count = sum(shape.numel() for shape in SHAPES)
    return torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def stream(seed=2):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0.0, 0.557), (9.0, 0.732), (10.0, 1.292), (19.0, 1.760)]
)
def test_weight_is_that_of_the_public_code_at_base_five(epoch, expected):
    """For max_start_epoch = 20: rising, with a jump at the middle."""
    assert inner_weight(epoch, 10.0, 8.0, 5.0) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("epoch", "expected"), [(0.0, 0.346), (10.0, 2.079), (19.0, 2.833)])
def test_weight_with_the_natural_logarithm(epoch, expected):
    assert inner_weight(epoch, 10.0, 8.0, math.e) == pytest.approx(expected, abs=5e-4)


def test_smooth_weight_is_one_at_the_middle_and_has_no_jump():
    assert inner_weight(10.0, 10.0, 8.0, 5.0, smooth=True) == pytest.approx(1)
    assert inner_weight(10 - 1e-9, 10.0, 8.0, 5.0, smooth=True) == pytest.approx(1)
    above = [inner_weight(float(t), 10.0, 8.0, 5.0, smooth=True) for t in range(10, 20)]
    plain = [inner_weight(float(t), 10.0, 8.0, 5.0) for t in range(10, 20)]
    shifts = [p - a for p, a in zip(plain, above, strict=True)]
    assert shifts == pytest.approx([math.log(8, 5) - 1] * 10)


def test_filter_noise_has_the_norm_of_each_filter_times_rho():
    start = theta()
    moved = perturb(start, SHAPES, 0.1, "filter", 0.0, stream()) - start
    at = 0
    for shape in SHAPES:
        count = shape.numel()
        noise, weights = moved[at : at + count], start[at : at + count]
        at += count
        if len(shape) < 2:
            assert torch.equal(noise, torch.zeros_like(noise))
            continue
        lengths = noise.view(shape[0], -1).norm(dim=1)
        torch.testing.assert_close(lengths, 0.1 * weights.view(shape[0], -1).norm(dim=1))


def test_elementwise_noise_of_the_public_code_moves_convolutions_only():
    start = theta()
    moved = perturb(start, SHAPES, 1.0, "elementwise", 0.0, stream()) - start
    convolution = SHAPES[0].numel()
    noise = torch.randn(SHAPES[0], generator=stream()).double().flatten()
    torch.testing.assert_close(
        moved[:convolution], noise / noise.norm() * start[:convolution], rtol=1e-6, atol=1e-9
    )
    assert torch.equal(moved[convolution:], torch.zeros_like(moved[convolution:]))


@pytest.mark.parametrize("scale", ["filter", "elementwise"])
def test_no_noise_changes_no_bit(scale):
    for start in (theta(), theta().float()):
        assert torch.equal(perturb(start, SHAPES, 0.0, scale, 0.0, stream()), start)


def test_dropout_zeroes_weights_and_keeps_biases():
    start = theta()
    dropped = perturb(start, SHAPES, 0.0, "filter", 0.25, stream())
    weights = torch.cat([dropped[:108], dropped[116:196]])
    original = torch.cat([start[:108], start[116:196]])
    gone = weights == 0
    assert 0.1 < gone.double().mean() < 0.4
    torch.testing.assert_close(weights[~gone], original[~gone] / 0.75)
    assert torch.equal(dropped[108:116], start[108:116])
