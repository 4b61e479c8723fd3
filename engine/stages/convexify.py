"""Convexified trajectories: what MCT keeps of an expert, as it trains or from a stored one.

The artifact (`engine/store/trajectory_file.py`) holds the waypoints, the expert's log with the
length of every step, and for `projected` spacing the projections (MCT, arXiv:2406.19827).
"""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from ddspec.dsl.digest import Preimage, digest
from ddspec.dsl.plan.steps import Member, TrajectoryStep, member_preimage
from ddspec.dsl.spec.trajectory import ConvexTrajectory
from ddspec.engine.matching.convex_path import projections
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.experts import (
    ExpertState,
    ExpertTraining,
    new_expert,
    report_epoch,
    saving_states,
    stored_expert,
    train_epochs,
)
from ddspec.engine.store.artifacts import unfinished_preimage
from ddspec.engine.store.store import Store
from ddspec.engine.store.trajectory_file import Array, unfinished_arrays, waypoint_arrays


def convexify(step: TrajectoryStep, trajectory: Member, context: StageContext) -> None:
    """Make one convexified trajectory, from its stored expert or by training it.

    Both ways give the same numbers. While an expert trains, its state lies in an unfinished
    artifact, which is removed when the trajectory is complete.
    """
    store = context.store
    if store.has("trajectory", trajectory.digest):
        return
    net = context.network(step.recipe.network)
    training = ExpertTraining(step.id, step.recipe, trajectory.number, step.route, net)
    preimage = member_preimage(step.preimage, trajectory.number)
    unfinished = unfinished_preimage(preimage)
    needed = epochs_needed(step.trajectory, step.epochs)
    save = partial(save_unfinished, store, unfinished)
    state = furthest_state(step, trajectory.number, digest(unfinished), needed, context)
    states = train_epochs(state, training, step.epochs, needed, context)
    for state in saving_states(states, save, step.epochs, context):
        report_epoch(context, step.id, step.epochs, state)
    store.put("trajectory", preimage, convexified(state, step.trajectory, step.epochs), state.made)
    store.remove("unfinished", digest(unfinished))
    context.control.leave_if_stopped()


def epochs_needed(trajectory: ConvexTrajectory, epochs: int) -> frozenset[int]:
    """Return the epochs whose snapshots a convexified trajectory is computed from."""
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
