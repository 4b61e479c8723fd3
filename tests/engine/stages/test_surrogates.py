"""Bezier curves in place of trajectories: what they are trained to, on real digits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ddspec.engine.control import Control, Diverged, Interrupted
from ddspec.engine.matching.bezier_curve import BezierCurve
from ddspec.engine.networks.flat_network import flat_network
from ddspec.engine.numerics.seeds import random_stream
from ddspec.engine.stages.surrogates import gradient_by_control
from ddspec.engine.stages.windows import Windows, final_parameters
from ddspec.engine.store.store import Store
from ddspec.engine.training.epoch import (
    TrainingBatch,
    cross_entropy_gradient,
    forward_in_batches,
)
from tests.engine.stages.test_stages import other_store, read, same
from tests.engine.stages.whole_steps import (
    make_surrogates,
    measure_path_accuracy,
    train_experts,
)
from tests.in_slow_run import first_by_default

BEZIER = (
    "trajectory.type=bezier",
    "experts.count=2",
    "matching.expert_epochs=1.5",
    "matching.max_start_epoch=4",
)
STRAIGHT = (*BEZIER, "trajectory.epochs=0")
LINE = ("trajectory.type=convex", "trajectory.spacing=uniform", *BEZIER[1:])


class StopAfter(Control):
    """Behaves as if a signal came once so many epochs are reported of an expert."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs
        self.report = self.stop

    def stop(self, progress):
        if progress.done >= self.epochs:
            self.stopped_by = 15


def curves_of(context, made):
    make_surrogates(made.trajectories, context)
    return [read(context.store, "trajectory", m.digest) for m in made.trajectories.members]


def windows_of(context, made, count=30):
    step = made.step("distill")
    net = flat_network(step.network, context.facts)
    with Windows(step, made.trajectories, net, context) as windows:
        return [windows.draw(iteration, None) for iteration in range(count)]


def test_gradient_by_the_control_point_is_that_of_autograd(problem):
    """In float64, against autograd through the curve, at the positions of the same stream."""
    end = problem.start + 0.3 * torch.randn(
        problem.start.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    control = (problem.start + end) / 2 + 0.05
    batch = TrainingBatch(problem.images, problem.images, problem.labels)
    plain = cross_entropy_gradient(problem.net)
    gradient_fn = gradient_by_control(plain, problem.start, end, random_stream(0, "x"))
    positions = random_stream(0, "x")
    for _ in range(5):
        position = float(torch.rand((), generator=positions, dtype=torch.float64))
        learned = control.clone().requires_grad_()
        at_point = BezierCurve(problem.start, learned, end).at(position)
        loss = F.cross_entropy(problem.net(at_point, problem.images), problem.labels)
        (by_control,) = torch.autograd.grad(loss, learned)
        result = gradient_fn(control, batch)
        torch.testing.assert_close(result.gradient, by_control, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(result.loss, loss.detach())


def test_curve_joins_the_ends_of_its_expert(context, plan):
    full = plan("matching.max_start_epoch=4", "experts.count=2").step("experts")
    train_experts(full, context)
    made = plan(*BEZIER)
    for curve, expert in zip(curves_of(context, made), full.members, strict=True):
        snapshots = read(context.store, "expert", expert.digest)["theta"]
        assert curve["theta"].shape == (3, snapshots.shape[1])
        assert np.array_equal(curve["theta"][0], snapshots[0])
        assert np.array_equal(curve["theta"][2], snapshots[4])
        assert len(curve["curve_loss"]) == 2
    assert np.array_equal(
        final_parameters(made.trajectories, 0, context), snapshot_of(context, full)
    )


def snapshot_of(context, full):
    return read(context.store, "expert", full.members[0].digest)["theta"][4]


def test_without_epochs_the_windows_are_those_of_two_waypoints_in_equal_steps(context, plan):
    straight, line = plan(*STRAIGHT), plan(*LINE)
    for curve in curves_of(context, straight):
        middle = (curve["theta"][0] + curve["theta"][2]) / 2
        assert np.array_equal(curve["theta"][1], middle)
        assert len(curve["curve_loss"]) == 0
    make_surrogates(line.trajectories, context)
    drawn = windows_of(context, straight)
    for ours, theirs in zip(drawn, windows_of(context, line), strict=True):
        assert (ours.expert, ours.epoch) == (theirs.expert, theirs.epoch)
        # Float32: two ways to write the same line.
        torch.testing.assert_close(ours.start, theirs.start, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.target, theirs.target, rtol=1e-5, atol=1e-6)
    assert any(window.epoch + 1.5 > 4 for window in drawn)


def test_discrete_starts_are_whole_epochs_in_their_range(context, plan):
    made = plan(*STRAIGHT, "trajectory.sampling=discrete", "matching.min_start_epoch=1")
    make_surrogates(made.trajectories, context)
    assert {window.epoch for window in windows_of(context, made)} == {1.0, 2.0, 3.0}


def mean_loss_along(context, made, curve):
    """Return the mean cross-entropy on all training images at 19 inner points of a curve."""
    net = flat_network(made.distill.network, context.facts)
    path = BezierCurve(*map(torch.from_numpy, curve["theta"]))
    data = context.data
    losses = [
        F.cross_entropy(
            forward_in_batches(net, path.at(position), data.train_images), data.train_labels
        )
        for position in np.linspace(0.05, 0.95, 19)
    ]
    return float(torch.stack(losses).mean())


def test_training_the_control_point_lowers_the_mean_loss_along_the_curve(context, plan):
    """By a twentieth at least: a margin that was fixed before the first run."""
    asked = ("experts.count=1", "experts.optimizer.lr=0.05", "augmentation.families=[]")
    straight, curved = plan(*STRAIGHT, *asked), plan(*BEZIER, *asked, "trajectory.epochs=10")
    ((line,), (curve,)) = (curves_of(context, made) for made in (straight, curved))
    before, after = (mean_loss_along(context, curved, path) for path in (line, curve))
    assert after < 0.95 * before
    # The log says so too, of the test images.
    assert curve["curve_loss"][1] < 0.95 * curve["curve_loss"][0]


def test_optimiser_of_the_experts_is_that_of_the_control_point_unless_one_is_given(context, plan):
    implied = plan(*BEZIER, "experts.optimizer={lr=0.03, momentum=0.5}", "experts.count=1")
    written, other = (
        plan(
            *BEZIER,
            "experts.optimizer={lr=0.03, momentum=0.5}",
            "experts.count=1",
            f"trajectory.optimizer={optimizer}",
        )
        for optimizer in ("{lr=0.03, momentum=0.5}", "adam")
    )
    ((first,), (second,), (third,)) = (curves_of(context, m) for m in (implied, written, other))
    same(first, second)
    assert not np.array_equal(first["theta"][1], third["theta"][1])


def test_curve_streamed_derived_or_interrupted_is_one(context, plan, tmp_path):
    made = plan(*BEZIER)
    step = made.trajectories
    curves = curves_of(context, made)
    assert not list((context.store.root / "expert").glob("*"))
    assert not list((context.store.root / "unfinished").glob("*"))

    stored_experts = other_store(context, tmp_path)
    longer = plan("experts.epochs=6", "matching.max_start_epoch=5", "experts.count=2").step(
        "experts"
    )
    train_experts(longer, stored_experts)
    make_surrogates(step, stored_experts)
    for member, curve in zip(step.members, curves, strict=True):
        same(curve, read(stored_experts.store, "trajectory", member.digest))


@pytest.mark.parametrize(("epochs", "expert_done"), first_by_default([(6, True), (3, False)]))
def test_stopped_run_keeps_the_expert_and_ends_with_the_same_bytes(
    epochs, expert_done, context, plan, tmp_path
):
    """Stopped while the expert trains, or in the second of five epochs of the control point."""
    made = plan(*BEZIER)
    step, curves = made.trajectories, curves_of(context, made)
    killed = replace(context, store=Store(tmp_path / "killed"), control=StopAfter(epochs))
    with pytest.raises(Interrupted):
        make_surrogates(step, killed)
    (unfinished,) = (killed.store.root / "unfinished").glob("*.h5")
    kept = read(killed.store, "unfinished", unfinished.stem)
    assert (len(kept["train_loss"]) == 4) == expert_done
    assert not list((killed.store.root / "trajectory").glob("*.h5"))

    make_surrogates(step, replace(killed, control=Control()))
    for member, curve in zip(step.members, curves, strict=True):
        same(curve, read(killed.store, "trajectory", member.digest))


def test_progress_counts_the_epochs_of_expert_and_control_point(context, plan):
    reported = []
    watched = replace(context, control=Control(report=reported.append))
    make_surrogates(plan(*BEZIER, "experts.count=1").trajectories, watched)
    # Reports within an epoch come by the clock.
    whole = [progress.done for progress in reported if isinstance(progress.done, int)]
    assert whole == list(range(1, 10))
    assert reported[-1].total == 9
    assert set(reported[-1].figures) == {"loss along the curve"}


def test_diverging_control_point_is_an_outcome_with_its_expert(context, plan):
    made = plan(*BEZIER, "trajectory.optimizer={lr=1e6}", "network.norm=none", "experts.count=1")
    with pytest.raises(Diverged, match="control point of expert 0") as diverged:
        make_surrogates(made.trajectories, context)
    assert (diverged.value.expert, diverged.value.at) == (0, 4)
    assert "trajectory.optimizer" in diverged.value.advice


def test_accuracy_along_the_curve_begins_and_ends_with_the_expert(context, plan):
    made = plan(*BEZIER, "experts.count=1")
    (curve,) = curves_of(context, made)
    measure_path_accuracy(made.step("path"), made.trajectories, context)
    (member,) = made.step("path").members
    accuracy = read(context.store, "path", member.digest)["accuracy"]
    assert len(accuracy) == 5
    assert accuracy[-1] == curve["test_accuracy"][-1]
