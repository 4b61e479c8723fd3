"""Laws of convexified trajectories, in float64."""

from typing import get_args

import pytest
import torch

from ddspec.dsl.spec.trajectory import ConvexTrajectory
from ddspec.dsl.terms import Spacing
from ddspec.engine.matching.convex_path import (
    EpochMap,
    epoch_fractions,
    interpolate_epoch,
    interpolate_segment,
    projections,
    step_length,
)

SIZES = (3, 2)
START = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
END = START + torch.tensor([1.0, 0.0, -1.0, 2.0, 2.0], dtype=torch.float64)


def lengths(*rows):
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("spacing", get_args(Spacing))
def test_line_begins_at_the_start_and_ends_at_the_end(spacing):
    projected = torch.tensor([0.1, 0.7, 1.0], dtype=torch.float64)
    table = epoch_fractions(lengths((1, 2), (3, 1), (2, 2)), spacing, projected)
    assert torch.equal(interpolate_segment(START, END, interpolate_epoch(table, 0.0), SIZES), START)
    assert torch.equal(interpolate_segment(START, END, interpolate_epoch(table, 3.0), SIZES), END)
    assert (table.diff(dim=0) > 0).all()


def test_path_spacing_is_cumulative_length_of_the_whole_vector():
    table = epoch_fractions(lengths((3, 4), (0, 5), (6, 8)), "path")
    torch.testing.assert_close(table[:, 0], torch.tensor([0, 5, 10, 20], dtype=torch.float64) / 20)


def test_path_per_tensor_has_a_fraction_for_each():
    table = epoch_fractions(lengths((1, 4), (1, 1), (2, 5)), "path_per_tensor")
    torch.testing.assert_close(table[1], torch.tensor([0.25, 0.4], dtype=torch.float64))
    middle = interpolate_segment(START, END, table[1], SIZES)
    expected = torch.cat(
        [START[:3].lerp(END[:3], table[1, 0]), START[3:].lerp(END[3:], table[1, 1])]
    )
    torch.testing.assert_close(middle, expected)


def test_tensor_that_stands_still_but_for_rounding_goes_with_the_whole():
    table = epoch_fractions(lengths((1.0, 1e-9), (3.0, 0.0)), "path_per_tensor")
    assert torch.isfinite(table).all()
    torch.testing.assert_close(table[:, 1], table[:, 0], rtol=1e-8, atol=0)


def test_equal_steps_give_the_straight_line_at_equal_speed():
    table = epoch_fractions(lengths(*[(1.0, 2.0)] * 4), "path")
    for epoch in (0.0, 0.5, 1.25, 4.0):
        torch.testing.assert_close(
            interpolate_segment(START, END, interpolate_epoch(table, epoch), SIZES),
            START + (END - START) * epoch / 4,
        )


def test_uniform_spacing_is_exactly_the_straight_line():
    """Two waypoints: epoch t of K lies at t / K, whatever the steps were."""
    epochs = EpochMap.of(lengths((5, 1), (1, 9), (2, 2), (7, 3)), (0, 4), "uniform")
    for epoch in (0.0, 0.5, 1.0, 2.25, 4.0):
        segment, fraction = epochs.position(epoch)
        assert segment == 0
        expected = START + (END - START) * (epoch / 4)
        assert torch.equal(
            interpolate_segment(START, END, fraction, SIZES), torch.lerp(START, END, epoch / 4)
        )
        torch.testing.assert_close(interpolate_segment(START, END, fraction, SIZES), expected)


def test_decreasing_spacing_shrinks_by_equal_amounts():
    table = epoch_fractions(lengths(*[(1.0, 2.0)] * 4), "decreasing")[:, 0]
    torch.testing.assert_close(table, torch.tensor([0, 4, 7, 9, 10], dtype=torch.float64) / 10)


@pytest.mark.parametrize("spacing", ["path", "path_per_tensor"])
def test_segment_in_which_nothing_moved_has_finite_places(spacing):
    epochs = EpochMap.of(lengths((0, 0), (1, 2), (0, 3)), (0, 1, 2, 3), spacing)
    for epoch in (0.0, 0.5, 1.0, 2.5, 3.0):
        _, fraction = epochs.position(epoch)
        assert torch.isfinite(fraction).all()
    assert torch.isfinite(epochs.progress()).all() if spacing == "path" else True


def test_projection_is_the_foot_of_the_perpendicular():
    generator = torch.Generator().manual_seed(0)
    snapshots = torch.randn(5, 6, dtype=torch.float64, generator=generator)
    shares = projections(snapshots)
    direction = snapshots[-1] - snapshots[0]
    for row, share in zip(snapshots[1:], shares, strict=True):
        foot = snapshots[0] + share * direction
        assert abs((row - foot) @ direction) < 1e-12
    assert shares[-1].item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("waypoints", "epochs", "expected"),
    [
        (2, 50, (0, 50)),
        (4, 50, (0, 17, 34, 50)),  # as the public code stores them
        (3, 7, (0, 4, 7)),
        (8, 7, tuple(range(8))),
    ],
)
def test_waypoints_are_spread_evenly(waypoints, epochs, expected):
    trajectory = ConvexTrajectory(type="convex", waypoints=waypoints)
    assert trajectory.epochs_of_waypoints(epochs) == expected


def test_every_segment_is_a_line_of_its_own():
    epochs = EpochMap.of(lengths((1, 0), (3, 0), (2, 0), (2, 0), (4, 0)), (0, 2, 5), "path")
    positions = {epoch: epochs.position(epoch) for epoch in (0.0, 1.0, 1.5, 2.0, 4.0, 5.0, 9.0)}
    rounded = {epoch: (s, round(float(f), 12)) for epoch, (s, f) in positions.items()}
    assert rounded == {
        0.0: (0, 0.0),
        1.0: (0, 0.25),
        1.5: (0, 0.625),
        2.0: (1, 0.0),
        4.0: (1, 0.5),
        5.0: (1, 1.0),
        9.0: (1, 1.0),
    }


def test_place_drawn_on_the_line_is_found_again_at_its_epoch():
    epochs = EpochMap.of(lengths((1, 0), (3, 0), (0, 0), (2, 0), (4, 0)), (0, 2, 5), "path")
    for share in (0.0, 0.1, 0.5, 0.77, 0.999):
        epoch = epochs.epoch_between(0.0, 5.0, share)
        segment, fraction = epochs.position(epoch)
        assert (segment + float(fraction)) / 2 == pytest.approx(share)
    assert 1 <= epochs.epoch_between(1.0, 2.0, 0.3) < 2
    # Between real bounds the share is that of the way between them.
    low, high = 0.25, 3.5
    ends = [(s + float(f)) / 2 for s, f in map(epochs.position, (low, high))]
    segment, fraction = epochs.position(epochs.epoch_between(low, high, 0.4))
    assert (segment + float(fraction)) / 2 == pytest.approx(ends[0] + 0.4 * (ends[1] - ends[0]))


def test_between_epochs_the_fraction_is_linear_and_past_the_end_it_stays():
    table = epoch_fractions(lengths((1, 0), (3, 0)), "path")
    assert interpolate_epoch(table, 1.5).item() == pytest.approx(0.25 + 0.5 * 0.75)
    assert torch.equal(interpolate_epoch(table, 7.0), table[-1])


def test_step_length_is_the_norm_of_each_tensor():
    lengths = step_length(START, END, SIZES)
    torch.testing.assert_close(lengths, torch.tensor([2.0**0.5, 8.0**0.5], dtype=torch.float64))
