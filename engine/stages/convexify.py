"""Convexified trajectories: what MCT keeps of an expert, while it trains or from a stored one.

The artifact holds a row of `theta` per waypoint, the log of the expert with the length of every
step, and for `projected` spacing where each epoch projects (MCT, arXiv:2406.19827).
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from ddspec.dsl.digest import Preimage, digest
from ddspec.dsl.plan.steps import Member, TrajectoryStep, member_preimage
from ddspec.dsl.spec.trajectory import ConvexTrajectory
from ddspec.engine.control import Control
from ddspec.engine.machine.processes import side_by_side
from ddspec.engine.matching.convex_path import projections
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.experts import (
    Array,
    ExpertState,
    log_arrays,
    new_expert,
    optimiser_arrays,
    report_epoch,
    saving_states,
    stored_expert,
    train_epochs,
)
from ddspec.engine.store.store import Store


def convexify(step: TrajectoryStep, context: StageContext) -> None:
    """Make every convexified trajectory, from stored experts or by training.

    Whether an expert was stored or is trained here changes no number. While it trains, its state
    lies in a file of its own, which goes when the trajectory is there.
    """
    store, net = context.store, context.network(step.recipe.network)
    todo = [one for one in step.members if not store.has("trajectory", one.digest)]
    total = len(step.members) * step.epochs
    needed = epochs_needed(step.trajectory, step.epochs)

    def make(trajectory: Member, control: Control) -> None:
        own = replace(context, control=control)
        preimage = member_preimage(step.preimage, trajectory.number)
        unfinished = {**preimage, "unfinished": True}
        save = partial(save_unfinished, store, unfinished)
        state = furthest_state(step, trajectory.number, digest(unfinished), needed, own)
        states = train_epochs(
            state, step.recipe, trajectory.number, step.epochs, needed, step.route, net, own
        )
        for state in saving_states(states, save, step.epochs, own):
            report_epoch(own, step.id, step.epochs, state)
        arrays = waypoint_arrays(state.kept, step.trajectory, step.epochs)
        store.put("trajectory", preimage, {**arrays, **log_arrays(state)}, state.made)
        store.remove("unfinished", digest(unfinished))
        control.leave_if_stopped()

    done = total - len(todo) * step.epochs
    for _ in side_by_side(make, todo, step.processes, context.control, done, total):
        pass


def epochs_needed(trajectory: ConvexTrajectory, epochs: int) -> frozenset[int]:
    """Epochs whose snapshots make the waypoints and constants of a convexified trajectory."""
    if trajectory.spacing == "projected":
        return frozenset(range(epochs + 1))
    waypoints = trajectory.epochs_of_waypoints(epochs)
    if not trajectory.neighbour_smoothing:
        return frozenset(waypoints)
    return frozenset(
        epoch for waypoint in waypoints for epoch in averaged_epochs(waypoint, waypoints[-1])
    )


def averaged_epochs(waypoint: int, last: int) -> tuple[int, ...]:
    """Epochs that a waypoint is the mean of under neighbour smoothing (MCT's public code)."""
    if waypoint == 0:
        return (0,)
    return (last - 1, last) if waypoint == last else (waypoint - 1, waypoint + 1)


def waypoint_arrays(
    kept: Mapping[int, Array], trajectory: ConvexTrajectory, epochs: int
) -> dict[str, Array]:
    """Waypoints, and for `projected` spacing where every epoch projects onto its segment.

    Where waypoints are smoothed the expert itself is kept too, as `end`: baselines, initialisation
    and labels ask for it.
    """
    waypoints = trajectory.epochs_of_waypoints(epochs)
    if trajectory.neighbour_smoothing:
        rows = [
            np.mean([kept[e] for e in averaged_epochs(w, epochs)], axis=0, dtype=np.float64)
            for w in waypoints
        ]
    else:
        rows = [kept[waypoint] for waypoint in waypoints]
    arrays: dict[str, Array] = {"theta": np.stack(rows).astype(kept[0].dtype)}
    if trajectory.neighbour_smoothing:
        arrays["end"] = kept[epochs]
    if trajectory.spacing == "projected":
        # As with path lengths, smoothing of waypoints comes after the constants.
        parts = [
            projections(torch.from_numpy(np.stack([kept[e] for e in range(first, last + 1)])))
            for first, last in pairwise(waypoints)
        ]
        arrays["projection"] = torch.cat(parts).numpy()
    return arrays


def save_unfinished(store: Store, preimage: Preimage, state: ExpertState) -> None:
    """Write where an expert stands of which not all snapshots will be kept."""
    kept = {
        "theta": np.stack([*state.kept.values(), state.last]),
        "kept": np.array([*state.kept], dtype=np.int64),
    }
    store.put(
        "unfinished",
        preimage,
        {**kept, **optimiser_arrays(state.at), **log_arrays(state)},
        state.made,
    )


def furthest_state(
    step: TrajectoryStep, index: int, unfinished: str, needed: frozenset[int], context: StageContext
) -> ExpertState:
    """Where a convexified expert goes on: its own state, or a stored expert's, or the start."""
    store, device = context.store, context.device
    expert = step.recipe.expert(index).digest
    found = [
        state
        for state in (
            stored_expert(store, "unfinished", unfinished, device),
            stored_expert(store, "expert", expert, device, until=step.epochs, only=needed),
        )
        if state is not None
    ]
    best = max(found, key=lambda state: state.epochs, default=None)
    return best or new_expert(step.recipe, index, context)
