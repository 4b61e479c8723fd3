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
from ddspec.engine.stages.context import Bench
from ddspec.engine.stages.experts import (
    Array,
    ExpertState,
    epochs_after,
    fresh,
    log_arrays,
    memory,
    report,
    resumed,
    saving,
)
from ddspec.engine.store.store import Store


def convexify(step: TrajectoryStep, bench: Bench) -> None:
    """Make every convexified trajectory, from stored experts or by training.

    Whether an expert was stored or is trained here changes no number. While it trains, its state
    lies in a file of its own, which goes when the trajectory is there.
    """
    store, net = bench.store, bench.network(step.recipe.network)
    todo = [one for one in step.members if not store.has("trajectory", one.digest)]
    total = len(step.members) * step.epochs
    needed = epochs_needed(step.trajectory, step.epochs)

    def make(trajectory: Member, control: Control) -> None:
        own = replace(bench, control=control)
        preimage = member_preimage(step.preimage, trajectory.number)
        unfinished = {**preimage, "unfinished": True}
        save = partial(save_unfinished, store, unfinished)
        state = furthest(step, trajectory.number, digest(unfinished), needed, own)
        states = epochs_after(
            state, step.recipe, trajectory.number, step.epochs, needed, step.route, net, own
        )
        for state in saving(states, save, step.epochs, own):
            report(own, step.id, step.epochs, state)
        arrays = convexified(state.kept, step.trajectory, step.epochs)
        store.put("trajectory", preimage, {**arrays, **log_arrays(state)}, state.made)
        store.remove("unfinished", digest(unfinished))
        control.leave_if_stopped()

    done = total - len(todo) * step.epochs
    for _ in side_by_side(make, todo, step.processes, bench.control, done, total):
        pass


def epochs_needed(trajectory: ConvexTrajectory, epochs: int) -> frozenset[int]:
    """Epochs whose snapshots make the waypoints and constants of a convexified trajectory."""
    if trajectory.spacing == "projected":
        return frozenset(range(epochs + 1))
    waypoints = trajectory.epochs_of_waypoints(epochs)
    if not trajectory.neighbour_smoothing:
        return frozenset(waypoints)
    return frozenset(
        epoch for waypoint in waypoints for epoch in smoothed_over(waypoint, waypoints[-1])
    )


def smoothed_over(waypoint: int, last: int) -> tuple[int, ...]:
    """Epochs that a waypoint is the mean of under neighbour smoothing (MCT's public code)."""
    if waypoint == 0:
        return (0,)
    return (last - 1, last) if waypoint == last else (waypoint - 1, waypoint + 1)


def convexified(
    kept: Mapping[int, Array], trajectory: ConvexTrajectory, epochs: int
) -> dict[str, Array]:
    """Waypoints, and for `projected` spacing where every epoch projects onto its segment.

    Where waypoints are smoothed the expert itself is kept too, as `end`: baselines, initialisation
    and labels ask for it.
    """
    waypoints = trajectory.epochs_of_waypoints(epochs)
    if trajectory.neighbour_smoothing:
        rows = [
            np.mean([kept[e] for e in smoothed_over(w, epochs)], axis=0, dtype=np.float64)
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
    store.put("unfinished", preimage, {**kept, **memory(state.at), **log_arrays(state)}, state.made)


def furthest(
    step: TrajectoryStep, index: int, unfinished: str, needed: frozenset[int], bench: Bench
) -> ExpertState:
    """Where a convexified expert goes on: its own state, or a stored expert's, or the start."""
    store, device = bench.store, bench.device
    expert = step.recipe.expert(index).digest
    found = [
        state
        for state in (
            resumed(store, "unfinished", unfinished, device),
            resumed(store, "expert", expert, device, until=step.epochs, only=needed),
        )
        if state is not None
    ]
    best = max(found, key=lambda state: state.epochs, default=None)
    return best or fresh(step.recipe, index, bench)
