"""AST's smooth experts: a lower weight of the loss at first, and a penalty on its slope.

AST (arXiv:2310.10541) trains experts with momentum and keeps their snapshots close together.
"""

from collections.abc import Callable
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.terms import PenaltyNorm, PenaltySides


def clipped_loss_weight(epoch: int, start: float, epochs: int) -> float:
    """Weight of the loss in an epoch counted from 0: from `start` by equal steps to 1.

    With start 0.5 over 5 epochs: 0.5, 0.6, 0.7, 0.8, 0.9, then 1. The clipped loss of AST (Eq. 19),
    which is a factor on the cross-entropy; nothing is clipped.
    """
    return min(1.0, start + (1 - start) * epoch / epochs)


def gradient_penalty(
    forward: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n c h w"],
    target: float,
    norm: PenaltyNorm,
    sides: PenaltySides,
) -> Float[Tensor, ""]:
    """Mean squared distance of the input gradient's norm from `target`, differentiable.

        mean over n of (|| d sum(forward(images)) / d image_n || - target)^2

    The gradient penalty of AST, which leaves open which output is meant: the sum of all logits, as
    its public code has it. `sample`: the norm over a whole image; `pixel`: over the channels of
    each pixel, averaged over pixels too. `above` counts only norms that exceed the target.
    """
    inputs = images.detach().requires_grad_()
    (slope,) = torch.autograd.grad(forward(inputs).sum(), inputs, create_graph=True)
    match norm:
        case "sample":
            squared = slope.flatten(1).square().sum(1)
        case "pixel":
            squared = slope.square().sum(1)
        case _:
            assert_never(norm)
    # A pixel without any slope has a norm whose derivative is not defined; zero is taken for it.
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
