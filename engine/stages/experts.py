"""Experts: networks trained on the real data, and what is kept of their trajectories.

An expert's artifact holds `theta`, shape (epochs + 1, parameters), row 0 the initialisation; the
optimiser's memory after the last epoch, so that training goes on from there; and a log with a
row per epoch. How long it runs is no part of its name.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, assert_never

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.digest import Preimage
from ddspec.dsl.plan.steps import ExpertMember, ExpertRecipe, ExpertsStep, Route, member_preimage
from ddspec.dsl.spec.experts import Adam, Experts, Gsam, Sgd
from ddspec.engine.control import Control, Diverged, Interrupted, Progress
from ddspec.engine.machine.processes import side_by_side
from ddspec.engine.matching.convex_path import step_length
from ddspec.engine.networks.flat_network import FlatNetwork, initial_parameters
from ddspec.engine.numerics.seeds import random_stream
from ddspec.engine.stages.context import StageContext
from ddspec.engine.store.artifacts import LOG, expert_epochs
from ddspec.engine.store.store import ArtifactKind, Provenance, Store
from ddspec.engine.training.epoch import (
    AdamOptimiser,
    GradientFn,
    Optimiser,
    OptimiserState,
    SgdOptimiser,
    measure_accuracy,
    recorded_gradient,
    train_epoch,
)
from ddspec.engine.training.expert_gradient import cross_entropy_weight, expert_gradient_fn

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

    kept: Mapping[int, Array]
    """Snapshots by epoch, 0 being the initialisation: all of them, or those that are needed."""
    at: OptimiserState
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


def train_experts(step: ExpertsStep, context: StageContext) -> None:
    """Bring every expert to its number of epochs, continuing what the store holds.

    A function of recipe and index alone: stopped at any moment and called again, it ends with
    the numbers of one that was never stopped.
    """
    recipe, net, store = step.recipe, context.network(step.recipe.network), context.store
    todo = [e for e in step.members if expert_epochs(store, e.digest) < e.epochs]
    total = sum(expert.epochs for expert in step.members)
    done = total - sum(expert.epochs for expert in todo)

    def train(expert: ExpertMember, control: Control) -> None:
        own = replace(context, control=control)
        state = stored_expert(store, "expert", expert.digest, context.device)
        state = state or new_expert(recipe, expert.number, own)
        preimage = member_preimage(recipe.preimage, expert.number)
        save = partial(save_expert, store, preimage)
        every = frozenset(range(expert.epochs + 1))
        states = train_epochs(
            state, recipe, expert.number, expert.epochs, every, step.route, net, own
        )
        for state in saving_states(states, save, expert.epochs, own):
            report_epoch(own, step.id, expert.epochs, state)

    for _ in side_by_side(train, todo, step.processes, context.control, done, total):
        pass


def save_expert(store: Store, preimage: Preimage, state: ExpertState) -> None:
    """Write an expert with all its snapshots."""
    theta = np.stack([state.kept[epoch] for epoch in range(state.epochs + 1)])
    arrays = {"theta": theta, **optimiser_arrays(state.at), **log_arrays(state)}
    store.put("expert", preimage, arrays, state.made)


def optimiser_arrays(at: OptimiserState) -> dict[str, Array]:
    """What an optimiser remembers, as arrays."""
    arrays = {"velocity": at.velocity.cpu().numpy()}
    if at.second is not None:
        arrays |= {"second": at.second.cpu().numpy(), "steps": np.array(at.steps)}
    return arrays


def read_optimiser(value: Array, file: h5py.File, device: torch.device) -> OptimiserState:
    """The iterate at `value` with the memory that an artifact holds."""
    second, steps = None, 0
    if "second" in file:
        second, steps = torch.from_numpy(file["second"][()]).to(device), int(file["steps"][()])
    velocity = torch.from_numpy(file["velocity"][()]).to(device)
    return OptimiserState(torch.from_numpy(value).to(device), velocity, second, steps)


def new_expert(recipe: ExpertRecipe, index: int, context: StageContext) -> ExpertState:
    """An expert before its first epoch."""
    theta = initial_parameters(
        recipe.network, context.facts, recipe.experts.seed, "expert", index, "initialisation"
    )
    at = OptimiserState.without_memory(theta.to(context.device))
    return ExpertState({0: theta.numpy()}, at, (), Provenance())


def stored_expert(
    store: Store,
    kind: ArtifactKind,
    name: str,
    device: torch.device,
    until: int | None = None,
    only: frozenset[int] | None = None,
) -> ExpertState | None:
    """The state that an artifact holds, cut to `until` epochs; None where there is none.

    A cut state has no memory of its own and is not trained on. Of a stored expert's snapshots
    those in `only` are read.
    """
    if not store.has(kind, name):
        return None
    with store.open(kind, name) as file:
        log = read_log(file, until)
        theta = file["theta"]
        if kind == "expert":
            kept = {e: theta[e] for e in range(len(log) + 1) if only is None or e in only}
            last = theta[len(log)]
        else:
            kept = {int(epoch): theta[row] for row, epoch in enumerate(file["kept"][()])}
            last = theta[-1]
        return ExpertState(kept, read_optimiser(last, file, device), log, Provenance.of(file))


def refuse_missing_import(recipe: ExpertRecipe, index: int) -> None:
    """Raise StoreError where an expert was to come from elsewhere."""
    if recipe.experts.imported is not None:
        raise StoreError(
            f"expert {index} of the imported set {recipe.experts.imported} is not in this store, "
            "or does not run as far as is asked",
            hint="ddspec import FILES puts it there; it cannot be trained here",
        )


def train_epochs(
    state: ExpertState,
    recipe: ExpertRecipe,
    index: int,
    until: int,
    keep: frozenset[int],
    route: Route,
    net: FlatNetwork,
    context: StageContext,
) -> Iterator[ExpertState]:
    """The expert after each further epoch; raises Diverged where its loss is no number."""
    if state.epochs < until:
        refuse_missing_import(recipe, index)
    experts, data = recipe.experts, context.data

    @cache
    def slope_at(weight: float) -> GradientFn:
        return recorded_gradient(expert_gradient_fn(net, experts, weight), route.recorded)

    while state.epochs < until:
        began = time.monotonic()
        optimiser, start = optimiser_of_epoch(recipe, state)
        result = train_epoch(
            slope_at(cross_entropy_weight(experts, state.epochs)),
            start,
            data.train_images,
            data.train_labels,
            experts.batch_size,
            optimiser,
            recipe.augmentation.families,
            random_stream(experts.seed, "expert", index, "epoch", state.epochs),
            context.control.leave_if_stopped,
        )
        end = result.end.value
        lengths = step_length(state.at.value, end, net.sizes).cpu().numpy()
        if not (math.isfinite(result.loss) and np.isfinite(lengths).all()):
            raise Diverged(
                cause=f"expert {index} ran away in epoch {state.epochs}: loss or parameters are "
                "no finite numbers",
                advice=advice_against_runaway(experts),
                at=state.epochs,
                expert=index,
            )
        epoch = Epoch(
            result.loss,
            result.accuracy,
            measure_accuracy(net, end, data.test_images, data.test_labels),
            lengths,
        )
        number = state.epochs + 1
        state = ExpertState(
            {**state.kept, number: end.cpu().numpy()} if number in keep else state.kept,
            result.end,
            (*state.log, epoch),
            state.made.then(route, time.monotonic() - began),
        )
        yield state


def advice_against_runaway(experts: Experts) -> str:
    """What of an expert's settings makes it run away."""
    keys = ["experts.optimizer.lr"]
    if not isinstance(experts.optimizer, Adam) and experts.optimizer.momentum:
        keys.append("experts.optimizer.momentum")
    if experts.smoothing.gradient_penalty is not None:
        keys.append("experts.smoothing.gradient_penalty.weight")
    return "lower " + " or ".join(keys)


def optimiser_of_epoch(
    recipe: ExpertRecipe, state: ExpertState
) -> tuple[Optimiser, OptimiserState]:
    """The optimiser of the next epoch, and where it starts from."""
    optimizer, decay = recipe.experts.optimizer, recipe.experts.lr_decay
    dropped = decay is not None and state.epochs >= decay.epoch
    lr = optimizer.lr * decay.factor if decay is not None and dropped else optimizer.lr
    at = state.at
    if decay is not None and decay.restart and state.epochs == decay.epoch:
        at = OptimiserState.without_memory(at.value)
    match optimizer:
        case Sgd() | Gsam():
            return SgdOptimiser(lr, optimizer.momentum, optimizer.weight_decay), at
        case Adam(beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay):
            return AdamOptimiser(lr, beta1, beta2, epsilon, weight_decay), at
        case _:
            assert_never(optimizer)


def saving_states(
    states: Iterator[ExpertState],
    save: Callable[[ExpertState], None],
    until: int,
    context: StageContext,
) -> Iterator[ExpertState]:
    """Pass states on, saving now and then, the last one, and the latest where they end early."""
    latest, saved = None, None
    try:
        for latest in states:
            yield latest
            if latest.epochs == until or context.control.save_due():
                save(latest)
                saved = latest
                context.control.saved()
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


def report_epoch(context: StageContext, step: str, epochs: int, state: ExpertState) -> None:
    """Tell how far an expert is of so many epochs."""
    last = state.log[-1]
    figures = {"train loss": last.train_loss, "test accuracy": last.test_accuracy}
    context.control.report(Progress(step, state.epochs, epochs, figures))
