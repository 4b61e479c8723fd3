"""Distances of gradients: values by plain formulas, derivatives by autograd, in float64."""

from typing import get_args

import pytest
import torch

from ddspec.dsl.terms import GradientDistance
from ddspec.engine.matching.gradient_distance import gradient_distance

SHAPES = [torch.Size(shape) for shape in ((4, 3, 3, 3), (4,), (2, 2, 2), (5, 6), (5,))]
LENGTH = sum(shape.numel() for shape in SHAPES)


def plain_distance(name, real, synthetic):
    """Each distance in the plainest words; `synthetic` may carry a graph."""
    if name == "squared":
        return sum((b - a) ** 2 for a, b in zip(real, synthetic, strict=True))
    if name == "cosine":
        return 1 - real @ synthetic / (real.norm() * synthetic.norm() + 1e-6)
    total, first = 0.0, 0
    for shape in SHAPES:
        last = first + shape.numel()
        if len(shape) > 1:
            for a, b in zip(
                real[first:last].view(shape[0], -1),
                synthetic[first:last].view(shape[0], -1),
                strict=True,
            ):
                total = total + 1 - a @ b / (a.norm() * b.norm() + 1e-6)
        first = last
    return total


@pytest.fixture
def gradients():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(2, LENGTH, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("name", get_args(GradientDistance))
def test_every_distance_has_the_derivative_that_autograd_finds(name, gradients):
    real, synthetic = gradients
    leaf = synthetic.clone().requires_grad_()
    expected = plain_distance(name, real, leaf)
    (derivative,) = torch.autograd.grad(expected, leaf)

    distance, cotangent = gradient_distance(name, real, synthetic, SHAPES)

    torch.testing.assert_close(distance, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(cotangent, derivative, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", get_args(GradientDistance))
def test_every_distance_vanishes_between_equal_gradients(name, gradients):
    distance, _ = gradient_distance(name, gradients[0], gradients[0], SHAPES)
    # DC's public code adds 1e-6 to products of norms, so that a cosine is a little below 1.
    assert abs(float(distance)) < 1e-5


@pytest.mark.parametrize("name", get_args(GradientDistance))
def test_row_of_a_dead_unit_has_the_derivative_of_torch(name, gradients):
    """Where a row is zero its norm has no derivative; torch and DC take zero for it."""
    real, synthetic = gradients
    synthetic = synthetic.clone()
    synthetic[:27] = 0.0
    leaf = synthetic.clone().requires_grad_()
    (derivative,) = torch.autograd.grad(plain_distance(name, real, leaf), leaf)

    distance, cotangent = gradient_distance(name, real, synthetic, SHAPES)

    assert distance.isfinite() and cotangent.isfinite().all()
    torch.testing.assert_close(cotangent, derivative, rtol=1e-12, atol=1e-9)


def test_biases_and_scales_do_not_count_in_the_layerwise_distance(gradients):
    real, synthetic = gradients
    other = synthetic.clone()
    other[108:112] += 1.0
    first, second = (
        gradient_distance("layerwise_cosine", real, g, SHAPES)[0] for g in (synthetic, other)
    )
    assert first == second
