"""Convexified trajectories: a straight line, and how far along it each epoch lies.

MCT (arXiv:2406.19827) replaces an expert's trajectory by the line from its initialisation to its
end. Epoch t lies at the fraction lambda_t of the line; between epochs lambda is interpolated
linearly, so that a window may start anywhere (continuous sampling).
"""

from collections.abc import Sequence
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.terms import Spacing

STANDING_STILL = 1e-6
"""Share of the whole path below which a tensor has not moved but for rounding."""


def step_length(
    before: Float[Tensor, " p"], after: Float[Tensor, " p"], sizes: Sequence[int]
) -> Float[Tensor, " tensors"]:
    """Distance that each parameter tensor travelled, in float64."""
    parts = torch.split((after.double() - before.double()), list(sizes))
    return torch.stack([part.norm() for part in parts])


def fractions(
    lengths: Float[Tensor, "epochs tensors"], spacing: Spacing
) -> Float[Tensor, "epochs+1 columns"]:
    """How far along the line each epoch lies: lambda_0 = 0 to lambda_K = 1.

    Cumulative path length up to the epoch, over the whole. `path`: of the whole vector, one
    column (the paper); `path_per_tensor`: a column for each parameter tensor (the public code).
    A tensor that stands still but for rounding (a bias before instance norm) has no length of
    its own and goes with the whole vector; the public code puts it at the end.
    """
    whole = cumulative(lengths.square().sum(1, keepdim=True).sqrt())
    match spacing:
        case "path":
            return whole
        case "path_per_tensor":
            still = lengths.sum(0) <= STANDING_STILL * lengths.square().sum(1).sqrt().sum()
            safe = torch.where(still, torch.ones_like(lengths), lengths)
            return torch.where(still, whole, cumulative(safe))
        case _:
            assert_never(spacing)


def cumulative(lengths: Float[Tensor, "epochs columns"]) -> Float[Tensor, "epochs+1 columns"]:
    """Running sums over their total, beginning with zero and ending with exactly one."""
    sums = torch.cat([torch.zeros_like(lengths[:1]), lengths.cumsum(0)])
    return sums / sums[-1]


def at_epoch(table: Float[Tensor, "rows columns"], epoch: float) -> Float[Tensor, " columns"]:
    """lambda at a real epoch, linear between whole ones; the last one beyond the end."""
    last = len(table) - 1
    epoch = min(max(epoch, 0.0), float(last))
    below = min(int(epoch), last - 1)
    share = epoch - below
    return table[below] * (1 - share) + table[below + 1] * share


def point(
    start: Float[Tensor, " p"],
    end: Float[Tensor, " p"],
    fraction: Float[Tensor, " columns"],
    sizes: Sequence[int],
) -> Float[Tensor, " p"]:
    """The parameters at a fraction of the line; one fraction in all or one per tensor."""
    if len(fraction) > 1:
        fraction = fraction.repeat_interleave(torch.tensor(list(sizes), device=fraction.device))
    return torch.lerp(start, end, fraction.to(start))
