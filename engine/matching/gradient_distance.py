"""Distances between the gradients of real and of synthetic images, with their derivatives.

Gradient matching (DC, arXiv:2006.05929) differentiates the distance by the synthetic images. That
goes through the gradient of the synthetic images, so each distance comes with its derivative by
that gradient in closed form; `StepGradient.pull_back` takes it on to the images.
"""

from collections.abc import Sequence
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.terms import GradientDistance

EPSILON = 1e-6
"""Added to products of norms, as in DC's public code."""


def gradient_distance(
    name: GradientDistance,
    real: Float[Tensor, " p"],
    synthetic: Float[Tensor, " p"],
    shapes: Sequence[torch.Size],
) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
    """Return the distance of two gradients, and its derivative by `synthetic`.

    `shapes` are those of the parameter tensors that the flat gradients are made of.
    """
    match name:
        case "layerwise_cosine":
            return layerwise_cosine(real, synthetic, shapes)
        case "cosine":
            distance, cotangent = row_cosines(real[None], synthetic[None])
            return distance, cotangent[0]
        case "squared":
            difference = synthetic - real
            return difference.square().sum(), 2 * difference
        case _:
            assert_never(name)


def layerwise_cosine(
    real: Float[Tensor, " p"], synthetic: Float[Tensor, " p"], shapes: Sequence[torch.Size]
) -> tuple[Float[Tensor, ""], Float[Tensor, " p"]]:
    """Return the sum over rows of 1 minus their cosine, as DC's public code has it.

    A row is what belongs to one output: a filter of a convolution, a row of a linear layer, a
    channel of a layer norm. Tensors with one dimension (biases, scales) do not count.
    """
    total, cotangents = torch.zeros_like(real[0]), []
    sizes = [shape.numel() for shape in shapes]
    for a, b, shape in zip(real.split(sizes), synthetic.split(sizes), shapes, strict=True):
        if len(shape) < 2:
            cotangents.append(torch.zeros_like(b))
            continue
        distance, cotangent = row_cosines(a.view(shape[0], -1), b.view(shape[0], -1))
        total = total + distance
        cotangents.append(cotangent.reshape(-1))
    return total, torch.cat(cotangents)


def row_cosines(
    real: Float[Tensor, "rows n"], synthetic: Float[Tensor, "rows n"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "rows n"]]:
    """Return the sum of 1 minus the cosine of each row, and its derivative by `synthetic`.

    With a and b a row of each, n = |a| |b| + EPSILON:

        distance   = 1 - <a, b> / n
        derivative = -a / n + <a, b> |a| / (n^2 |b|) b
    """
    product = (real * synthetic).sum(1, keepdim=True)
    length, other = real.norm(dim=1, keepdim=True), synthetic.norm(dim=1, keepdim=True)
    n = length * other + EPSILON
    # Where a row of the synthetic gradient is zero (a dead unit) the norm has no derivative; zero
    # is its subgradient, so only the first term is left.
    direction = torch.where(other > 0, synthetic / other.clamp(min=torch.finfo(n.dtype).tiny), 0)
    cotangent = -real / n + product * length / n.square() * direction
    return (1 - product / n).sum(), cotangent
