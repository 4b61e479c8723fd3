"""Experts: networks trained on the real data, whose snapshots form the trajectories.

An expert's file (`engine/store/trajectory_file.py`) can be continued: how long the expert runs is
not part of its digest.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import assert_never

import numpy as np
import torch

from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.digest import Preimage
from ddspec.dsl.plan.route import Route
from ddspec.dsl.plan.steps import (
    ExpertMember,
    ExpertRecipe,
    ExpertsStep,
    Member,
    ScoresStep,
    member_preimage,
)
from ddspec.dsl.spec.experts import Adam, Experts, Gsam, Sgd
from ddspec.engine.control import Diverged, Interrupted, Progress
from ddspec.engine.machine.stopwatch import Stopwatch
from ddspec.engine.matching.convex_path import step_length
from ddspec.engine.networks.flat_network import FlatNetwork, initial_parameters
from ddspec.engine.numerics.seeds import random_stream
from ddspec.engine.stages.context import StageContext
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import ArtifactKind, Store
from ddspec.engine.store.trajectory_file import (
    Array,
    EpochLog,
    OptimiserMemory,
    expert_arrays,
    expert_epochs,
    read_kept_snapshots,
    read_log,
    read_memory,
    read_snapshots,
)
from ddspec.engine.training.data_order import error_norms, images_of_epoch, ranks_in_classes
from ddspec.engine.training.epoch import (
    EpochResult,
    EpochSettings,
    GradientFn,
    LabelledImages,
    measure_accuracy,
    recorded_gradient,
    train_epoch,
)
from ddspec.engine.training.expert_gradient import cross_entropy_weight, expert_gradient_fn
from ddspec.engine.training.optimisers import (
    AdamOptimiser,
    Optimiser,
    OptimiserState,
    SgdOptimiser,
)


@dataclass(frozen=True)
class ExpertState:
    """An expert after some epochs of training."""

    kept: Mapping[int, Array]
    """Snapshots by epoch, 0 being the initialisation: all of them, or only those needed."""
    parameters: OptimiserState
    log: tuple[EpochLog, ...]
    made: Provenance
    """Cost and routes of the training so far."""

    @property
    def epochs(self) -> int:
        """Return the number of completed epochs."""
        return len(self.log)

    @property
    def last(self) -> Array:
        """Return the latest snapshot."""
        return self.parameters.value.cpu().numpy()

    @property
    def memory(self) -> OptimiserMemory:
        """Return the optimiser's memory as arrays."""
        state = self.parameters
        second = None if state.second is None else state.second.cpu().numpy()
        return OptimiserMemory(state.velocity.cpu().numpy(), second, state.steps)


@dataclass(frozen=True)
class ExpertTraining:
    """How one expert is trained: its recipe and index, and the route."""

    step: str
    """The step whose progress is reported."""
    recipe: ExpertRecipe
    index: int
    route: Route
    net: FlatNetwork
    ranks: torch.Tensor | None = None
    """Place of every image in its class by difficulty, on the CPU, if the recipe has an order."""

    @property
    def experts(self) -> Experts:
        """Return the settings of [experts]."""
        return self.recipe.experts


def train_expert(step: ExpertsStep, expert: ExpertMember, context: StageContext) -> None:
    """Train one expert to its number of epochs, continuing from the store.

    A function of recipe and index alone: stopped at any moment and called again, it ends with
    the same numbers as one that was never stopped.
    """
    recipe, store = step.recipe, context.store
    if expert_epochs(store, expert.digest) >= expert.epochs:
        return
    net = context.network(recipe.network)
    ranks = ranks_of_images(recipe, context)
    training = ExpertTraining(step.id, recipe, expert.number, step.route, net, ranks)
    state = stored_expert(store, "expert", expert.digest, context.device)
    state = state or new_expert(recipe, expert.number, context)
    save = partial(save_expert, store, member_preimage(recipe.preimage, expert.number))
    every_epoch = frozenset(range(expert.epochs + 1))
    states = train_epochs(state, training, expert.epochs, every_epoch, context)
    for state in saving_states(states, save, expert.epochs, context):
        report_epoch(context, step.id, expert.epochs, state)


def score_images(step: ScoresStep, scores: Member, context: StageContext) -> None:
    """Score every training image by one network, trained as an expert that sees all images."""
    if context.store.has("scores", scores.digest):
        return
    net, data = context.network(step.recipe.network), context.data
    training = ExpertTraining(step.id, step.recipe, scores.number, step.route, net)
    state = new_expert(step.recipe, scores.number, context)
    for trained in train_epochs(state, training, step.epochs, frozenset(), context):
        report_epoch(context, step.id, step.epochs, trained)
        state = trained
    norms = error_norms(net, state.parameters.value, data.train_images, data.train_labels)
    preimage = member_preimage(step.preimage, scores.number)
    context.store.put("scores", preimage, {"scores": norms.cpu().numpy()}, state.made)
    context.control.saved()


def ranks_of_images(recipe: ExpertRecipe, context: StageContext) -> torch.Tensor | None:
    """Return the place of every image in its class by its stored scores; None without an order."""
    if recipe.experts.data_order is None:
        return None
    scores = []
    for network in recipe.scores:
        with context.store.open("scores", network.digest) as file:
            scores.append(torch.from_numpy(file["scores"][()]))
    return ranks_in_classes(scores, context.data.train_labels.cpu())


def save_expert(store: Store, preimage: Preimage, state: ExpertState) -> None:
    """Write an expert with all its snapshots."""
    snapshots = [state.kept[epoch] for epoch in range(state.epochs + 1)]
    store.put("expert", preimage, expert_arrays(snapshots, state.memory, state.log), state.made)


def new_expert(recipe: ExpertRecipe, index: int, context: StageContext) -> ExpertState:
    """Return an expert before its first epoch."""
    theta = initial_parameters(
        recipe.network, context.facts, recipe.experts.seed, "expert", index, "initialisation"
    )
    parameters = OptimiserState.without_memory(theta.to(context.device))
    return ExpertState({0: theta.numpy()}, parameters, (), Provenance())


def stored_expert(
    store: Store,
    kind: ArtifactKind,
    digest: str,
    device: torch.device,
    until: int | None = None,
    only: frozenset[int] | None = None,
) -> ExpertState | None:
    """Return the state in an artifact, cut to `until` epochs; None if it is not in the store.

    A cut state has the optimiser's memory of a later epoch, so it must not be trained on. Of an
    expert's snapshots only the epochs in `only` are read.
    """
    if not store.has(kind, digest):
        return None
    with store.open(kind, digest) as file:
        log = read_log(file, until)
        if kind == "expert":
            epochs = [e for e in range(len(log) + 1) if only is None or e in only]
            kept = read_snapshots(file, epochs)
            last = read_snapshots(file, [len(log)])[len(log)]
        else:
            kept, last = read_kept_snapshots(file)
        state = optimiser_state(last, read_memory(file), device)
        return ExpertState(kept, state, log, Provenance.of(file))


def optimiser_state(value: Array, memory: OptimiserMemory, device: torch.device) -> OptimiserState:
    """Return a snapshot with the optimiser's memory, on the device."""
    second = None if memory.second is None else torch.from_numpy(memory.second).to(device)
    velocity = torch.from_numpy(memory.velocity).to(device)
    return OptimiserState(torch.from_numpy(value).to(device), velocity, second, memory.steps)


def refuse_missing_import(recipe: ExpertRecipe, index: int) -> None:
    """Raise StoreError if an expert was imported, because it cannot be trained here."""
    if recipe.experts.imported is not None:
        raise StoreError(
            f"expert {index} of the imported set {recipe.experts.imported} is not in this store "
            "or has too few epochs",
            hint="ddspec import FILES adds it to the store; it cannot be trained here",
        )


def train_epochs(
    state: ExpertState,
    training: ExpertTraining,
    until: int,
    keep: frozenset[int],
    context: StageContext,
) -> Iterator[ExpertState]:
    """Yield the expert after each further epoch; snapshots of the epochs in `keep` are kept.

    Raises Diverged if its loss or parameters become non-finite.
    """
    if state.epochs < until:
        refuse_missing_import(training.recipe, training.index)

    while state.epochs < until:
        stopwatch = Stopwatch(training.route)
        gradient_fn = gradient_of_epoch(training, state.epochs, context)
        watch = partial(report_within_epoch, context, training, state, until)
        result = next_epoch(state, training, gradient_fn, watch, context)
        row = epoch_log(state, result, training, context)
        number = state.epochs + 1
        # Copied to the CPU: a trajectory of many epochs does not fit on a GPU.
        snapshot = {number: result.end.value.cpu().numpy()} if number in keep else {}
        made = state.made.then(stopwatch.work())
        state = ExpertState({**state.kept, **snapshot}, result.end, (*state.log, row), made)
        yield state


def gradient_of_epoch(training: ExpertTraining, epoch: int, context: StageContext) -> GradientFn:
    """Return the gradient function of an epoch, made once for all experts."""
    weight = cross_entropy_weight(training.experts, epoch)
    if weight not in context.expert_gradients:
        plain = expert_gradient_fn(training.net, training.experts, weight)
        context.expert_gradients[weight] = recorded_gradient(plain, training.route.recorded)
    return context.expert_gradients[weight]


def next_epoch(
    state: ExpertState,
    training: ExpertTraining,
    gradient_fn: GradientFn,
    before_batch: Callable[[float], None],
    context: StageContext,
) -> EpochResult:
    """Train an expert for one more epoch."""
    experts, data = training.experts, context.data
    optimiser, start = optimiser_of_epoch(experts, state)
    families = training.recipe.augmentation.families
    among = None
    if experts.data_order is not None and training.ranks is not None:
        labels = data.train_labels.cpu()
        among = images_of_epoch(experts.data_order, state.epochs, training.ranks, labels)
    return train_epoch(
        gradient_fn,
        start,
        LabelledImages(data.train_images, data.train_labels),
        EpochSettings(experts.batch_size, optimiser, families),
        # Addressed by epoch, so that a resumed expert draws what an uninterrupted one does.
        random_stream(experts.seed, "expert", training.index, "epoch", state.epochs),
        before_batch,
        among,
    )


def epoch_log(
    state: ExpertState, result: EpochResult, training: ExpertTraining, context: StageContext
) -> EpochLog:
    """Return the log of an epoch; raise Diverged if its numbers are not finite."""
    end, data = result.end.value, context.data
    lengths = step_length(state.parameters.value, end, training.net.sizes).cpu().numpy()
    if not (math.isfinite(result.loss) and np.isfinite(lengths).all()):
        raise Diverged(
            cause=f"expert {training.index} diverged in epoch {state.epochs}: its loss or "
            "parameters are not finite",
            advice=advice_against_divergence(training.experts),
            at=state.epochs,
            expert=training.index,
        )
    # Only logged: no choice depends on the test set.
    tested = measure_accuracy(training.net, end, data.test_images, data.test_labels)
    return EpochLog(result.loss, result.accuracy, tested, lengths)


def advice_against_divergence(experts: Experts) -> str:
    """Return which settings of a diverged expert to lower."""
    keys = ["experts.optimizer.lr"]
    if not isinstance(experts.optimizer, Adam) and experts.optimizer.momentum:
        keys.append("experts.optimizer.momentum")
    if experts.smoothing.gradient_penalty is not None:
        keys.append("experts.smoothing.gradient_penalty.weight")
    return "lower " + " or ".join(keys)


def optimiser_of_epoch(experts: Experts, state: ExpertState) -> tuple[Optimiser, OptimiserState]:
    """Return the optimiser of the next epoch and the state that it starts from."""
    optimizer, decay, start = experts.optimizer, experts.lr_decay, state.parameters
    lr = optimizer.lr
    if decay is not None and state.epochs >= decay.epoch:
        lr = optimizer.lr * decay.factor
    if decay is not None and decay.restart and state.epochs == decay.epoch:
        # As in public code that makes a new optimiser for the lower learning rate.
        start = OptimiserState.without_memory(start.value)
    return optimiser_of(optimizer, lr), start


def optimiser_of(optimizer: Sgd | Adam | Gsam, lr: float) -> Optimiser:
    """Return an optimiser of the language with a learning rate; of GSAM, the SGD in it."""
    match optimizer:
        case Sgd() | Gsam():
            return SgdOptimiser(lr, optimizer.momentum, optimizer.weight_decay)
        case Adam(beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay):
            return AdamOptimiser(lr, beta1, beta2, epsilon, weight_decay)
        case _:
            assert_never(optimizer)


def saving_states(
    states: Iterator[ExpertState],
    save: Callable[[ExpertState], None],
    until: int,
    context: StageContext,
) -> Iterator[ExpertState]:
    """Pass states on, saving some on the way, the last, and the latest if they end early."""
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


def report_epoch(context: StageContext, step: str, epochs: int, state: ExpertState) -> None:
    """Report the progress of an expert that has `epochs` epochs to run."""
    context.control.report(Progress(step, state.epochs, epochs, figures_of(state)))


def report_within_epoch(
    context: StageContext, training: ExpertTraining, state: ExpertState, epochs: int, share: float
) -> None:
    """Report from time to time the share of the next epoch that is done; stop if told to."""
    done = state.epochs + share
    context.control.report_within(lambda: Progress(training.step, done, epochs, figures_of(state)))


def figures_of(state: ExpertState) -> dict[str, float]:
    """Return the figures of the last epoch; none before the first."""
    if not state.log:
        return {}
    last = state.log[-1]
    return {"train loss": last.train_loss, "test accuracy": last.test_accuracy}
