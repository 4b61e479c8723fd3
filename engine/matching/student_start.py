"""A student's start: the weight of its inner loss by epoch, and noise on its parameters."""

import math
from collections.abc import Sequence
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.terms import PerturbationScale


def inner_weight(
    epoch: float, mid: float, offset: float, log_base: float, smooth: bool = False
) -> float:
    """Return the weight of the inner loss of a student that starts at `epoch`.

        log(epoch - mid + offset)        if epoch >= mid
        1 / log(mid - epoch + offset)    otherwise

    Eq. 20 of AST (arXiv:2310.10541), where it is called nu. Later starts have smaller gradients,
    so they get longer steps. The weight jumps at `mid` unless log(offset) is 1; `smooth` shifts
    the logarithm by 1 - log(offset), which makes the weight 1 there from both sides.
    """
    logarithm = math.log(abs(epoch - mid) + offset, log_base)
    if smooth:
        logarithm += 1 - math.log(offset, log_base)
    return logarithm if epoch >= mid else 1 / logarithm


def perturb(
    theta: Float[Tensor, " p"],
    shapes: Sequence[torch.Size],
    rho: float,
    scale: PerturbationScale,
    dropout: float,
    generator: torch.Generator,
) -> Float[Tensor, " p"]:
    """Return parameters with noise on their weights; biases and norms are left unchanged.

    With scale `filter` it is theta_j + rho * d_j * ||theta_j|| / ||d_j||, d standard normal, for
    each filter or row j of every tensor of two or more dimensions (Eq. 23 of AST,
    arXiv:2310.10541). With `elementwise` it is theta + rho * (d / ||d||) * theta, for
    convolutions only (AST's public code, where rho is 1). `dropout` then sets that share of those
    weights to zero and scales up the others.
    """
    pieces = []
    for piece, shape in zip(torch.split(theta, [s.numel() for s in shapes]), shapes, strict=True):
        is_weight = len(shape) >= 2 if scale == "filter" else len(shape) == 4
        if not is_weight:
            pieces.append(piece)
            continue
        # Drawn on the CPU, so that all devices perturb alike.
        noise = torch.randn(shape, generator=generator).to(theta)
        weights = piece.view(shape)
        weights = weights + rho * scaled_noise(scale, noise, weights)
        if dropout:
            kept = torch.rand(shape, generator=generator).to(theta.device) >= dropout
            weights = weights * kept / (1 - dropout)
        pieces.append(weights.reshape(-1))
    return torch.cat(pieces)


def scaled_noise(scale: PerturbationScale, noise: Tensor, weights: Tensor) -> Tensor:
    """Return noise scaled to the weights that it is added to."""
    match scale:
        case "filter":
            # One factor per filter (convolution) or output row (linear layer).
            lengths = weights.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
            return noise * lengths.view(-1, *[1] * (weights.dim() - 1))
        case "elementwise":
            return noise / noise.norm() * weights
        case _:
            assert_never(scale)
