"""What is kept of an expert in place of its trajectory, as it trains or from a stored one.

The artifact (`engine/store/trajectory_file.py`) holds the expert's log and a few models: of a
convexified trajectory (MCT, arXiv:2406.19827) the waypoints, with the length of every step and for
`projected` spacing the projections; of a Bezier curve (BTM, arXiv:2510.05805) both ends and the
control point, which is trained here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import assert_never

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ddspec.dsl.digest import Preimage, digest
from ddspec.dsl.plan.steps import Member, TrajectoryStep, member_preimage
from ddspec.dsl.spec.trajectory import BezierTrajectory, ConvexTrajectory
from ddspec.engine.control import Diverged, Progress
from ddspec.engine.machine.stopwatch import Stopwatch
from ddspec.engine.matching.bezier_curve import BezierCurve, share_of_control, straight_control
from ddspec.engine.matching.convex_path import projections
from ddspec.engine.networks.flat_network import FlatNetwork
from ddspec.engine.numerics.seeds import random_stream
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.experts import (
    ExpertState,
    ExpertTraining,
    new_expert,
    optimiser_of,
    ranks_of_images,
    report_epoch,
    saving_states,
    stored_expert,
    train_epochs,
)
from ddspec.engine.store.artifacts import unfinished_preimage
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store
from ddspec.engine.store.trajectory_file import (
    Array,
    curve_arrays,
    unfinished_arrays,
    waypoint_arrays,
)
from ddspec.engine.training.epoch import (
    EpochResult,
    EpochSettings,
    GradientFn,
    LabelledImages,
    LossGradient,
    TrainingBatch,
    cross_entropy_gradient,
    forward_in_batches,
    recorded_gradient,
    train_epoch,
)
from ddspec.engine.training.optimisers import OptimiserState


def make_surrogate(step: TrajectoryStep, trajectory: Member, context: StageContext) -> None:
    """Make the path of one expert, from its stored trajectory or by training the expert.

    Both ways give the same numbers. While an expert trains, its state lies in an unfinished
    artifact, which is removed when the path is complete.
    """
    store = context.store
    if store.has("trajectory", trajectory.digest):
        return
    net = context.network(step.recipe.network)
    ranks = ranks_of_images(step.recipe, context)
    training = ExpertTraining(step.id, step.recipe, trajectory.number, step.route, net, ranks)
    preimage = member_preimage(step.preimage, trajectory.number)
    unfinished = unfinished_preimage(preimage)
    needed = epochs_needed(step.trajectory, step.epochs)
    save = partial(save_unfinished, store, unfinished)
    state = furthest_state(step, trajectory.number, digest(unfinished), needed, context)
    states = train_epochs(state, training, step.epochs, needed, context)
    for state in saving_states(states, save, step.epochs, context):
        report_epoch(context, step.id, step.epochs, state)
    match step.trajectory:
        case ConvexTrajectory():
            arrays, made = convexified(state, step.trajectory, step.epochs), state.made
        case BezierTrajectory():
            arrays, made = curved(state, step.trajectory, training, context)
        case _:
            assert_never(step.trajectory)
    store.put("trajectory", preimage, arrays, made)
    store.remove("unfinished", digest(unfinished))
    context.control.leave_if_stopped()


def epochs_needed(trajectory: ConvexTrajectory | BezierTrajectory, epochs: int) -> frozenset[int]:
    """Return the epochs whose snapshots a path is computed from."""
    if isinstance(trajectory, BezierTrajectory):
        return frozenset((0, epochs))
    if trajectory.spacing == "projected":
        return frozenset(range(epochs + 1))
    waypoints = trajectory.epochs_of_waypoints(epochs)
    if not trajectory.neighbour_smoothing:
        return frozenset(waypoints)
    return frozenset(
        epoch for waypoint in waypoints for epoch in averaged_epochs(waypoint, waypoints[-1])
    )


def averaged_epochs(waypoint: int, last: int) -> tuple[int, ...]:
    """Return the epochs whose mean a smoothed waypoint is (as in MCT's public code)."""
    if waypoint == 0:
        return (0,)
    return (last - 1, last) if waypoint == last else (waypoint - 1, waypoint + 1)


def convexified(state: ExpertState, trajectory: ConvexTrajectory, epochs: int) -> dict[str, Array]:
    """Return the arrays of a convexified trajectory.

    If waypoints are smoothed, the last snapshot is kept too, because baselines, initialisation
    and labels need the expert itself.
    """
    kept, waypoints = state.kept, trajectory.epochs_of_waypoints(epochs)
    rows: list[Array]
    end, projection = None, None
    if trajectory.neighbour_smoothing:
        # The mean is taken in float64 and rounded once.
        means = [
            np.mean([kept[e] for e in averaged_epochs(w, epochs)], axis=0, dtype=np.float64)
            for w in waypoints
        ]
        rows, end = list(map(np.asarray, means)), kept[epochs]
    else:
        rows = [kept[waypoint] for waypoint in waypoints]
    if trajectory.spacing == "projected":
        projection = segment_projections(kept, waypoints)
    return waypoint_arrays(np.stack(rows).astype(kept[0].dtype), state.log, end, projection)


def segment_projections(kept: Mapping[int, Array], waypoints: tuple[int, ...]) -> Array:
    """Return where every epoch projects onto its segment, from unsmoothed snapshots.

    Path lengths, too, are measured before waypoints are smoothed.
    """
    parts = [
        projections(torch.from_numpy(np.stack([kept[e] for e in range(first, last + 1)])))
        for first, last in pairwise(waypoints)
    ]
    return torch.cat(parts).numpy()


def curved(
    state: ExpertState,
    trajectory: BezierTrajectory,
    training: ExpertTraining,
    context: StageContext,
) -> tuple[dict[str, Array], Provenance]:
    """Return the arrays of a Bezier curve, and the cost of the expert and its control point.

    The control point is trained in one go from the middle: a run that is stopped meanwhile keeps
    the expert and trains the control point again, with the same numbers.
    """
    start, end = (torch.from_numpy(state.kept[e]).to(context.device) for e in (0, state.epochs))
    control, made = OptimiserState.without_memory(straight_control(start, end)), state.made
    losses: list[float] = []
    for epoch in range(trajectory.epochs):
        stopwatch, before = Stopwatch(training.route), state.epochs + epoch
        progress = partial(control_progress, training, before, state.epochs + trajectory.epochs)
        result = train_epoch(
            gradient_by_control(
                gradient_of_loss(training, context),
                start,
                end,
                control_stream(training, epoch, "positions"),
            ),
            control,
            LabelledImages(context.data.train_images, context.data.train_labels),
            control_settings(trajectory, training),
            control_stream(training, epoch, "batches"),
            partial(report_within_control, context, progress, tuple(losses)),
        )
        refuse_diverged_control(result, training.index, before)
        control, losses, made = result.end, [*losses, result.loss], made.then(stopwatch.work())
        context.control.report(progress(losses, 1))
    points = [state.kept[0], control.value.cpu().numpy(), state.kept[state.epochs]]
    curves = [BezierCurve(start, at, end) for at in (straight_control(start, end), control.value)]
    measured = [loss_along(curve, training.net, context) for curve in curves if losses]
    return curve_arrays(points, measured, state.log), made


def gradient_by_control(
    gradient_fn: GradientFn, start: Tensor, end: Tensor, positions: torch.Generator
) -> GradientFn:
    """Return the gradient by the control point of the loss at a point of the curve.

        2 t (1 - t) gradient(theta(t)),  t ~ U(0, 1) for each batch

    Its mean over many batches is the gradient of the mean loss along the curve.
    """

    def gradient_at(control: Tensor, batch: TrainingBatch) -> LossGradient:
        # Drawn on the CPU, so that all devices see the same positions.
        position = float(torch.rand((), generator=positions, dtype=torch.float64))
        at_point = gradient_fn(BezierCurve(start, control, end).at(position), batch)
        return replace(at_point, gradient=share_of_control(position) * at_point.gradient)

    return gradient_at


LOSS_POSITIONS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Positions at which the loss along a curve is measured: the middles of five equal parts."""


def loss_along(curve: BezierCurve, net: FlatNetwork, context: StageContext) -> float:
    """Return the mean loss on the test images along a curve, at fixed positions.

    The losses of training cannot be compared between epochs: each has its few positions at random,
    and the loss at the start of a curve is many times that at its end.
    """
    # Only logged: no choice depends on the test set.
    images, labels = context.data.test_images, context.data.test_labels
    losses = [
        F.cross_entropy(forward_in_batches(net, curve.at(position), images), labels)
        for position in LOSS_POSITIONS
    ]
    return float(torch.stack(losses).mean())


def gradient_of_loss(training: ExpertTraining, context: StageContext) -> GradientFn:
    """Return the gradient function of the cross-entropy by itself, made once for all curves."""
    if None not in context.expert_gradients:
        plain = cross_entropy_gradient(training.net)
        context.expert_gradients[None] = recorded_gradient(plain, training.route.recorded)
    return context.expert_gradients[None]


def control_settings(trajectory: BezierTrajectory, training: ExpertTraining) -> EpochSettings:
    """Return how an epoch of a control point is run: on batches as those of the experts."""
    optimizer = trajectory.optimizer or training.experts.optimizer
    return EpochSettings(
        training.experts.batch_size,
        optimiser_of(optimizer, optimizer.lr),
        training.recipe.augmentation.families,
    )


def control_stream(training: ExpertTraining, epoch: int, drawn: str) -> torch.Generator:
    """Return the random stream of what is drawn in one epoch of a control point."""
    seed = training.experts.seed
    return random_stream(seed, "expert", training.index, "control point", epoch, drawn)


def control_progress(
    training: ExpertTraining, before: int, total: int, losses: Sequence[float], share: int | float
) -> Progress:
    """Return the progress of an expert and its control point, in epochs of either."""
    figures = {"loss along the curve": losses[-1]} if losses else {}
    return Progress(training.step, before + share, total, figures)


def report_within_control(
    context: StageContext,
    progress: Callable[[Sequence[float], float], Progress],
    losses: Sequence[float],
    share: float,
) -> None:
    """Report from time to time the share of an epoch that is done; stop if told to."""
    context.control.report_within(lambda: progress(losses, share))


def refuse_diverged_control(result: EpochResult, expert: int, epoch: int) -> None:
    """Raise Diverged if the loss along the curve or the control point is not finite."""
    if not (math.isfinite(result.loss) and bool(result.end.value.isfinite().all())):
        raise Diverged(
            cause=f"the control point of expert {expert} diverged: the loss along its curve or "
            "its parameters are not finite",
            advice="lower the learning rate of trajectory.optimizer, which is that of the experts "
            "unless the spec sets it",
            at=epoch,
            expert=expert,
        )


def save_unfinished(store: Store, preimage: Preimage, state: ExpertState) -> None:
    """Save an expert in training of which only some snapshots are kept."""
    arrays = unfinished_arrays(state.kept, state.last, state.memory, state.log)
    store.put("unfinished", preimage, arrays, state.made)


def furthest_state(
    step: TrajectoryStep,
    index: int,
    unfinished: str,
    needed: frozenset[int],
    context: StageContext,
) -> ExpertState:
    """Return where training goes on: the unfinished or stored expert, or a new one."""
    store, device = context.store, context.device
    expert = step.recipe.expert(index).digest
    candidates = (
        stored_expert(store, "unfinished", unfinished, device),
        stored_expert(store, "expert", expert, device, until=step.epochs, only=needed),
    )
    states = [state for state in candidates if state is not None]
    furthest = max(states, key=lambda state: state.epochs, default=None)
    return furthest or new_expert(step.recipe, index, context)
