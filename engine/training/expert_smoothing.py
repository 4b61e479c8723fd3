"""AST's expert smoothing: a loss that is weighted less at first, and a gradient penalty.

AST (arXiv:2310.10541) trains experts with momentum and uses both to keep their snapshots close
together.
"""

from collections.abc import Callable
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.terms import PenaltyNorm, PenaltySides


def clipped_loss_weight(epoch: int, start: float, epochs: int) -> float:
    """Return the loss's weight in an epoch counted from 0: from `start` in equal steps to 1.

    With start 0.5 over 5 epochs it is 0.5, 0.6, 0.7, 0.8, 0.9, then 1. AST (Eq. 19) calls this
    the clipped loss, though it multiplies the cross-entropy and clips nothing.
    """
    return min(1.0, start + (1 - start) * epoch / epochs)


def gradient_penalty(
    forward: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n c h w"],
    target: float,
    norm: PenaltyNorm,
    sides: PenaltySides,
) -> Float[Tensor, ""]:
    """Return the mean squared distance of the input gradient's norm from `target`.

        mean over n of (|| d sum(forward(images)) / d image_n || - target)^2

    The result can be differentiated by the parameters. AST leaves open which output is meant; here
    it is the sum of all logits, as in its public code. With norm `sample` the norm is taken over a
    whole image; with `pixel` over the channels of each pixel, and the mean runs over pixels too.
    Sides `above` counts only norms that exceed the target.
    """
    inputs = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(forward(inputs).sum(), inputs, create_graph=True)
    match norm:
        case "sample":
            squared = gradient.flatten(1).square().sum(1)
        case "pixel":
            squared = gradient.square().sum(1)
        case _:
            assert_never(norm)
    # The norm has no derivative at a gradient of zero; zero is taken for it, not NaN.
    flat = squared == 0
    lengths = torch.where(flat, 0.0, torch.where(flat, 1.0, squared).sqrt())
    match sides:
        case "both":
            excess = lengths - target
        case "above":
            excess = (lengths - target).clamp(min=0)
        case _:
            assert_never(sides)
    return excess.square().mean()
