"""Windows: starts within their bounds, targets where they belong, two rows of one expert."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from ddspec.dsl.diagnostics import StoreError
from ddspec.engine.matching.convex_path import (
    epoch_fractions,
    interpolate_epoch,
    interpolate_segment,
)
from ddspec.engine.networks.flat_network import flat_network
from ddspec.engine.stages.windows import Windows
from tests.engine.stages.whole_steps import make_surrogates, train_experts


def windows_of(plan, context, count):
    step, source = plan.step("distill"), plan.trajectories
    net = flat_network(step.network, context.facts)
    with Windows(step, source, net, context) as windows:
        return [windows.draw(iteration, None) for iteration in range(count)], windows


def test_snapshots_start_below_the_exclusive_bound_and_end_that_many_epochs_later(context, plan):
    made = plan(
        "matching.min_start_epoch=1", "matching.max_start_epoch=3", "matching.expert_epochs=2"
    )
    train_experts(made.step("experts"), context)
    drawn, _ = windows_of(made, context, 60)
    assert {window.epoch for window in drawn} == {1.0, 2.0}
    assert {window.expert for window in drawn} == {0, 1, 2}
    for window in drawn:
        member = made.step("experts").members[window.expert]
        with context.store.open("expert", member.digest) as file:
            assert np.array_equal(window.start, file["theta"][int(window.epoch)])
            assert np.array_equal(window.target, file["theta"][int(window.epoch) + 2])


def test_convex_windows_lie_on_the_line_and_stop_at_its_end(context, plan):
    made = plan(
        "trajectory.type=convex", "matching.max_start_epoch=4", "matching.expert_epochs=1.5"
    )
    make_surrogates(made.step("trajectory"), context)
    drawn, windows = windows_of(made, context, 60)
    assert all(0 <= window.epoch < 4 for window in drawn)
    assert any(not window.epoch.is_integer() for window in drawn)
    assert any(window.epoch + 1.5 > 4 for window in drawn)
    for window in drawn:
        with context.store.open(
            "trajectory", made.step("trajectory").members[window.expert].digest
        ) as file:
            start, end = (torch.from_numpy(file["theta"][row]) for row in (0, 1))
            table = epoch_fractions(torch.from_numpy(file["step_length"][()]), "path")
        target = interpolate_epoch(table, min(window.epoch + 1.5, 4.0))
        torch.testing.assert_close(
            window.target, interpolate_segment(start, end, target, windows.net.sizes)
        )


@pytest.mark.parametrize("options", [(), ("trajectory.type=convex",)], ids=["sgd", "convex"])
def test_windows_read_ahead_are_those_that_are_drawn(context, plan, options):
    made = plan('matching.start_range={name="near_previous", reach=1}', *options)
    make = make_surrogates if options else train_experts
    make(made.trajectories, context)
    step, net = made.step("distill"), flat_network(made.step("distill").network, context.facts)
    with (
        Windows(step, made.trajectories, net, context) as ahead,
        Windows(step, made.trajectories, net, context) as plain,
    ):
        previous = None
        for iteration in (*range(12), 3, 4, 9):
            taken, drawn = (find(iteration, previous) for find in (ahead.take, plain.draw))
            assert (taken.expert, taken.epoch) == (drawn.expert, drawn.epoch)
            assert torch.equal(taken.start, drawn.start)
            assert torch.equal(taken.target, drawn.target)
            previous = taken.epoch


@pytest.mark.parametrize("position", [0.5, 0.8])
def test_flipped_bit_in_a_trajectory_is_found_when_it_is_read(context, plan, position):
    """Of trajectories that are too large to be verified whenever their file is opened."""
    made = plan("network.width=64")
    train_experts(made.step("experts"), context)
    for member in made.step("experts").members:
        path = context.store.path("expert", member.digest)
        content = bytearray(path.read_bytes())
        with context.store.open("expert", member.digest) as file:
            row = file["theta"].id.get_chunk_info(1)
        content[row.byte_offset + int(row.size * position)] ^= 0x40
        path.write_bytes(content)
    with pytest.raises(StoreError, match="corrupt"):
        windows_of(made, replace(context), 60)


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ((), 2),
        (("trajectory.type=convex",), 2),
        (("trajectory.type=convex", "trajectory.waypoints=4"), 3),
    ],
)
def test_a_window_reads_the_rows_that_it_needs_and_no_other(
    context, plan, options, most, monkeypatch
):
    """Start and target lie between two waypoints, or in neighbouring segments."""
    import h5py

    made = plan(*options)
    if made.trajectories.kind == "experts":
        train_experts(made.trajectories, context)
    else:
        make_surrogates(made.trajectories, context)
    read, reads = h5py.Dataset.__getitem__, []

    def counted(self, asked):
        if self.name == "/theta":
            reads.append(asked)
        return read(self, asked)

    net = flat_network(made.step("distill").network, context.facts)
    with Windows(made.step("distill"), made.trajectories, net, context) as windows:
        for iteration in range(3):
            windows.draw(iteration, None)  # Opening a file verifies its small parts.
        for iteration in range(3, 12):
            monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
            reads.clear()
            windows.draw(iteration, None)
            monkeypatch.setattr(h5py.Dataset, "__getitem__", read)
            assert all(isinstance(row, int) for row in reads)
            assert 2 <= len(reads) <= most


class Failing(h5py.File):
    """An open artifact whose next read fails, as on a network after its file was replaced."""

    def __getitem__(self, name):
        raise OSError("Can't synchronously read data (errno = 116)")


@pytest.mark.parametrize("options", [(), ("trajectory.type=convex", "matching.expert_epochs=1.5")])
def test_file_that_was_replaced_is_opened_again_and_gives_the_same_window(context, plan, options):
    made = plan("matching.max_start_epoch=2", *options)
    if options:
        make_surrogates(made.step("trajectory"), context)
    else:
        train_experts(made.step("experts"), context)
    (undisturbed, *_), _ = windows_of(made, context, 1)
    step, net = made.step("distill"), flat_network(made.step("distill").network, context.facts)
    with Windows(step, made.trajectories, net, context) as windows:
        windows.files[undisturbed.expert] = Failing(
            "gone.h5", "w", driver="core", backing_store=False
        )
        window = windows.draw(0, None)
    assert window.epoch == undisturbed.epoch
    assert torch.equal(window.start, undisturbed.start)
    assert torch.equal(window.target, undisturbed.target)
