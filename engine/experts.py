"""Experts: networks trained on the real data, and what is kept of their trajectories.

An expert's artifact holds `theta`, shape (epochs + 1, parameters), row 0 the initialisation; the
optimiser's velocity after the last epoch, so that training goes on from there; and a log with a
row per epoch. How long it runs is no part of its name. A convexified trajectory holds two rows
of `theta` and the same log; experts of which no more is needed are convexified while they train.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, assert_never

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from ddspec.dsl.digest import Preimage, digest
from ddspec.dsl.plan import ExpertRecipe, ExpertsStep, Route, TrajectoryStep, member_preimage
from ddspec.engine.artifacts import LOG, expert_epochs
from ddspec.engine.bench import Bench
from ddspec.engine.control import Diverged, Interrupted, Progress
from ddspec.engine.convex import step_length
from ddspec.engine.descent import Descent, Iterate, test, train_epoch
from ddspec.engine.networks import FlatNetwork, flat_network, initial_parameters
from ddspec.engine.seeds import stream
from ddspec.engine.store import ArtifactKind, Provenance, Store

Array = NDArray[Any]


@dataclass(frozen=True)
class Epoch:
    """What is written down of one epoch."""

    train_loss: float
    train_accuracy: float
    test_accuracy: float
    step_length: Array
    """Distance travelled by each parameter tensor, float64."""


@dataclass(frozen=True)
class ExpertState:
    """An expert somewhere on its way."""

    kept: tuple[Array, ...]
    """Snapshots from the initialisation on; the initialisation alone where no more is needed."""
    at: Iterate
    log: tuple[Epoch, ...]
    made: Provenance
    """What the way so far has cost, and by which routes."""

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return len(self.log)

    @property
    def last(self) -> Array:
        """The latest snapshot."""
        return self.at.value.cpu().numpy()


def train_experts(step: ExpertsStep, bench: Bench) -> None:
    """Bring every expert to its number of epochs, continuing what the store holds.

    A function of recipe and index alone: stopped at any moment and called again, it ends with
    the numbers of one that was never stopped.
    """
    recipe, net = step.recipe, flat_network(step.recipe.network, bench.facts)
    total, done = sum(expert.epochs for expert in step.members), 0
    for expert in step.members:
        if expert_epochs(bench.store, expert.digest) < expert.epochs:
            state = resumed(bench.store, "expert", expert.digest, bench.device)
            state = state or fresh(recipe, expert.number, bench)
            preimage = member_preimage(recipe.preimage, expert.number)
            save = partial(save_expert, bench.store, preimage)
            states = epochs_after(
                state,
                recipe,
                expert.number,
                expert.epochs,
                step.route,
                net,
                bench,
                keep_all=True,
            )
            for state in saving(states, save, expert.epochs, bench):
                report(bench, step.id, done + state.epochs, total, state)
        done += expert.epochs


def convexify(step: TrajectoryStep, bench: Bench) -> None:
    """Make every convexified trajectory, from stored experts or by training.

    Whether an expert was stored or is trained here changes no number. While it trains, its state
    lies in a file of its own, which goes when the trajectory is there.
    """
    store, net = bench.store, flat_network(step.recipe.network, bench.facts)
    total = len(step.members) * step.epochs
    for position, trajectory in enumerate(step.members):
        if store.has("trajectory", trajectory.digest):
            continue
        preimage = member_preimage(step.preimage, trajectory.number)
        unfinished = {**preimage, "unfinished": True}
        save = partial(save_unfinished, store, unfinished)
        state = furthest(step, trajectory.number, digest(unfinished), bench)
        states = epochs_after(
            state,
            step.recipe,
            trajectory.number,
            step.epochs,
            step.route,
            net,
            bench,
            keep_all=False,
        )
        for state in saving(states, save, step.epochs, bench):
            report(bench, step.id, position * step.epochs + state.epochs, total, state)
        match step.waypoints:
            case 2:
                waypoints = {"theta": np.stack([state.kept[0], state.last])}
            case _:
                assert_never(step.waypoints)
        store.put("trajectory", preimage, {**waypoints, **log_arrays(state)}, state.made)
        store.remove("unfinished", digest(unfinished))
        bench.control.leave_if_stopped()


def save_expert(store: Store, preimage: Preimage, state: ExpertState) -> None:
    """Write an expert with all its snapshots."""
    arrays = {"theta": np.stack(state.kept), "velocity": state.at.velocity.cpu().numpy()}
    store.put("expert", preimage, {**arrays, **log_arrays(state)}, state.made)


def save_unfinished(store: Store, preimage: Preimage, state: ExpertState) -> None:
    """Write where an expert stands of which only the waypoints will be kept."""
    theta = np.stack([state.kept[0], state.last])
    arrays = {"theta": theta, "velocity": state.at.velocity.cpu().numpy()}
    store.put("unfinished", preimage, {**arrays, **log_arrays(state)}, state.made)


def fresh(recipe: ExpertRecipe, index: int, bench: Bench) -> ExpertState:
    """An expert before its first epoch."""
    theta = initial_parameters(
        recipe.network, bench.facts, recipe.experts.seed, "expert", index, "initialisation"
    )
    return ExpertState((theta.numpy(),), Iterate.at_rest(theta.to(bench.device)), (), Provenance())


def furthest(step: TrajectoryStep, index: int, unfinished: str, bench: Bench) -> ExpertState:
    """Where a convexified expert goes on: its own state, or a stored expert's, or the start."""
    store, device = bench.store, bench.device
    expert = step.recipe.expert(index).digest
    found = [
        state
        for state in (
            resumed(store, "unfinished", unfinished, device),
            resumed(store, "expert", expert, device, until=step.epochs),
        )
        if state is not None
    ]
    best = max(found, key=lambda state: state.epochs, default=None)
    return best or fresh(step.recipe, index, bench)


def resumed(
    store: Store,
    kind: ArtifactKind,
    name: str,
    device: torch.device,
    until: int | None = None,
) -> ExpertState | None:
    """The state that an artifact holds, cut to `until` epochs; None where there is none.

    A cut state has no velocity of its own and is not trained on.
    """
    if not store.has(kind, name):
        return None
    with store.open(kind, name) as file:
        log = read_log(file, until)
        theta, velocity = file["theta"], file["velocity"][()]
        rows = len(log) + 1 if kind == "expert" else 1
        kept = tuple(theta[row] for row in range(rows))
        last = kept[-1] if kind == "expert" else theta[-1]
        made = Provenance.of(file)
    at = Iterate(torch.from_numpy(last).to(device), torch.from_numpy(velocity).to(device))
    return ExpertState(kept, at, log, made)


def epochs_after(
    state: ExpertState,
    recipe: ExpertRecipe,
    index: int,
    until: int,
    route: Route,
    net: FlatNetwork,
    bench: Bench,
    keep_all: bool,
) -> Iterator[ExpertState]:
    """The expert after each further epoch; raises Diverged where its loss is no number."""
    experts, data = recipe.experts, bench.data
    while state.epochs < until:
        began = time.monotonic()
        result = train_epoch(
            net,
            state.at,
            data.train_images,
            data.train_labels,
            experts.batch_size,
            descent(recipe, state.epochs),
            recipe.augmentation.families,
            stream(experts.seed, "expert", index, "epoch", state.epochs),
            bench.control.leave_if_stopped,
        )
        end = result.end.value
        lengths = step_length(state.at.value, end, net.sizes).cpu().numpy()
        if not (math.isfinite(result.loss) and np.isfinite(lengths).all()):
            raise Diverged(
                cause=f"expert {index} ran away in epoch {state.epochs}: loss or parameters are "
                "no finite numbers",
                advice="lower experts.optimizer.lr or experts.optimizer.momentum",
                at=state.epochs,
                expert=index,
            )
        epoch = Epoch(
            result.loss,
            result.accuracy,
            test(net, end, data.test_images, data.test_labels),
            lengths,
        )
        state = ExpertState(
            (*state.kept, end.cpu().numpy()) if keep_all else state.kept,
            result.end,
            (*state.log, epoch),
            state.made.then(route, time.monotonic() - began),
        )
        yield state


def descent(recipe: ExpertRecipe, epoch: int) -> Descent:
    """The optimiser's settings in an epoch, counted from 0."""
    optimizer, decay = recipe.experts.optimizer, recipe.experts.lr_decay
    factor = decay.factor if decay is not None and epoch >= decay.epoch else 1.0
    return Descent(optimizer.lr * factor, optimizer.momentum, optimizer.weight_decay)


def saving(
    states: Iterator[ExpertState], save: Callable[[ExpertState], None], until: int, bench: Bench
) -> Iterator[ExpertState]:
    """Pass states on, saving now and then, the last one, and the latest where they end early."""
    latest, saved = None, None
    try:
        for latest in states:
            yield latest
            if latest.epochs == until or bench.control.save_due():
                save(latest)
                saved = latest
                bench.control.saved()
    except (Interrupted, Diverged):
        if latest is not None and latest is not saved:
            save(latest)
        raise


def log_arrays(state: ExpertState) -> Mapping[str, Array]:
    """The log of an expert, a row per epoch."""
    return {
        key: np.array([getattr(epoch, key) for epoch in state.log], dtype=np.float64) for key in LOG
    }


def read_log(file: h5py.File, until: int | None) -> tuple[Epoch, ...]:
    """The epochs that an artifact has logged, up to `until`."""
    loss, accuracy, tested, lengths = (file[key][:until] for key in LOG)
    return tuple(
        Epoch(float(loss[i]), float(accuracy[i]), float(tested[i]), lengths[i])
        for i in range(len(loss))
    )


def report(bench: Bench, step: str, done: int, total: int, state: ExpertState) -> None:
    """Tell how far training is."""
    last = state.log[-1]
    figures = {"train loss": last.train_loss, "test accuracy": last.test_accuracy}
    bench.control.report(Progress(step, done, total, figures))
