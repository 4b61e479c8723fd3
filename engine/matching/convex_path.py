"""Convexified trajectories: straight segments between waypoints, with epochs on them.

MCT (arXiv:2406.19827) replaces an expert's trajectory by the line from its initialisation to its
end. Epoch t lies at the fraction lambda_t of the line; between epochs lambda is interpolated
linearly, so that a window may start anywhere (continuous sampling). With more than two waypoints,
each segment is such a line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import assert_never

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.terms import Spacing

STANDING_STILL = 1e-6
"""Share of the whole path length below which a tensor has moved by rounding only."""


def step_length(
    before: Float[Tensor, " p"], after: Float[Tensor, " p"], sizes: Sequence[int]
) -> Float[Tensor, " tensors"]:
    """Return the distance that each parameter tensor travelled, in float64."""
    # A sum over millions of small squares needs float64.
    parts = torch.split((after.double() - before.double()), list(sizes))
    return torch.stack([part.norm() for part in parts])


def projections(snapshots: Float[Tensor, "rows p"]) -> Float[Tensor, " epochs"]:
    """Return where each snapshot but the first projects onto the line from first to last.

    <theta_t - theta_0, theta_K - theta_0> / || theta_K - theta_0 ||^2
    """
    moved = (snapshots - snapshots[0]).double()
    return moved[1:] @ moved[-1] / moved[-1].square().sum()


def epoch_fractions(
    lengths: Float[Tensor, "epochs tensors"],
    spacing: Spacing,
    projected: Float[Tensor, " epochs"] | None = None,
) -> Float[Tensor, "epochs+1 columns"]:
    """Return each epoch's position along its segment: lambda_0 = 0 to lambda_K = 1.

    `path`: cumulative path length of the whole vector over the total, one column (the paper).
    `path_per_tensor`: the same with one column per parameter tensor (the public code). A tensor
    that moves by rounding only (a bias before instance norm) has no meaningful length and follows
    the whole vector; the public code puts it at the end.
    `uniform`: t / K. `decreasing`: steps proportional to K, K - 1, ..., 1 (the public code has one
    step more than epochs). `projected`: the snapshots' `projections`; ValueError if not given.
    """
    whole_vector = cumulative_shares(lengths.square().sum(1, keepdim=True).sqrt())
    match spacing:
        case "path":
            return whole_vector
        case "path_per_tensor":
            still = lengths.sum(0) <= STANDING_STILL * lengths.square().sum(1).sqrt().sum()
            # Still tensors get a length of one, so that no division by zero reaches the result.
            safe = torch.where(still, torch.ones_like(lengths), lengths)
            return torch.where(still, whole_vector, cumulative_shares(safe))
        case "uniform":
            return cumulative_shares(torch.ones_like(lengths[:, :1]))
        case "decreasing":
            return cumulative_shares(torch.arange(len(lengths), 0, -1).to(lengths)[:, None])
        case "projected":
            if projected is None:
                raise ValueError("spacing 'projected' needs the projections of the snapshots")
            return torch.cat([projected.new_zeros(1), projected[:-1], projected.new_ones(1)])[
                :, None
            ]
        case _:
            assert_never(spacing)


def cumulative_shares(
    lengths: Float[Tensor, "epochs columns"],
) -> Float[Tensor, "epochs+1 columns"]:
    """Return running sums divided by their total, from zero to exactly one.

    If nothing moved, the positions are equally spaced; the line is a single point then.
    """
    moved = torch.where(lengths.sum(0) > 0, lengths, torch.ones_like(lengths))
    sums = torch.cat([torch.zeros_like(moved[:1]), moved.cumsum(0)])
    return sums / sums[-1]


def interpolate_epoch(
    table: Float[Tensor, "rows columns"], epoch: float
) -> Float[Tensor, " columns"]:
    """Return lambda at a real-valued epoch: linear between epochs, clamped to the ends."""
    last = len(table) - 1
    epoch = min(max(epoch, 0.0), float(last))
    # The last epoch is the upper end of the interval before it.
    below = min(int(epoch), last - 1)
    share = epoch - below
    return table[below] * (1 - share) + table[below + 1] * share


def interpolate_segment(
    start: Float[Tensor, " p"],
    end: Float[Tensor, " p"],
    fraction: Float[Tensor, " columns"],
    sizes: Sequence[int],
) -> Float[Tensor, " p"]:
    """Return the parameters at a fraction of a segment: one fraction, or one per tensor."""
    if len(fraction) > 1:
        # One fraction per tensor becomes one per parameter.
        fraction = fraction.repeat_interleave(torch.tensor(list(sizes), device=fraction.device))
    return torch.lerp(start, end, fraction.to(start))


@dataclass(frozen=True)
class EpochMap:
    """Maps epochs to positions along all segments."""

    first_epochs: tuple[int, ...]
    """Epochs of the waypoints."""
    tables: tuple[Float[Tensor, "_ columns"], ...]
    """A table for each segment: lambda from 0 to 1, a row per epoch."""

    @classmethod
    def of(
        cls,
        lengths: Float[Tensor, "epochs tensors"],
        waypoint_epochs: tuple[int, ...],
        spacing: Spacing,
        projected: Float[Tensor, " epochs"] | None = None,
    ) -> "EpochMap":
        """Return the map for the step lengths of all epochs.

        `projected` holds the projections of the snapshots onto their segments.
        """
        ends = pairwise(waypoint_epochs)
        tables = tuple(
            epoch_fractions(
                lengths[first:last], spacing, None if projected is None else projected[first:last]
            )
            for first, last in ends
        )
        return cls(waypoint_epochs, tables)

    def position(self, epoch: float) -> tuple[int, Float[Tensor, " columns"]]:
        """Return segment and fraction of a real-valued epoch; past the end, the end."""
        segment = max(s for s, first in enumerate(self.first_epochs[:-1]) if first <= epoch)
        return segment, interpolate_epoch(self.tables[segment], epoch - self.first_epochs[segment])

    def progress(self) -> Float[Tensor, " rows"]:
        """Return every epoch's position along all segments, from 0 to 1.

        All segments count equally.

        It needs tables of one column.
        """
        parts = [s + table[:-1, 0] for s, table in enumerate(self.tables)]
        segments = len(self.tables)
        return torch.cat([*parts, parts[0].new_full((1,), segments)]) / segments

    def epoch_between(self, low: float, high: float, share: float) -> float:
        """Return the epoch at a share of the distance from epoch `low` to epoch `high`.

        The inverse of `progress`, which is piecewise linear between whole epochs.
        """
        progress = self.progress()[:, None]
        whole = range(math.floor(low) + 1, math.ceil(high))
        epochs = [low, *map(float, whole), high]
        positions = [float(interpolate_epoch(progress, epoch)) for epoch in epochs]
        # Linear between these points, so interpolating the swapped columns inverts exactly.
        wanted = positions[0] + share * (positions[-1] - positions[0])
        return float(np.interp(wanted, positions, epochs))
