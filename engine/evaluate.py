"""Fresh networks trained on a synthetic set, or on real images, and tested on real data.

MTT's protocol (arXiv:2203.11932): SGD at the learned student_lr, momentum 0.9, weight decay 5e-4,
augmented; after a little more than half of the epochs the rate drops to a tenth and the momentum
begins anew; one test at the end. Of E epochs the first (E - 1) // 2 + 2 run at the full rate: 502
of 1001, as in the public code. The public code of AST (arXiv:2310.10541) does otherwise:
`ast_recipe`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from ddspec.dsl.plan import EvaluateStep, ExpertsStep, TrajectoryStep, member_preimage
from ddspec.dsl.spec import ConvNet
from ddspec.dsl.terms import AugmentationFamily
from ddspec.engine.artifacts import TrainedNetwork, networks_of
from ddspec.engine.bench import Bench
from ddspec.engine.control import Progress
from ddspec.engine.descent import (
    Descent,
    Iterate,
    cross_entropy_slope,
    in_batches,
    test,
    train_epoch,
)
from ddspec.engine.initialise import hard_labels, random_real
from ddspec.engine.networks import FlatNetwork, Forward, flat_network, initial_parameters
from ddspec.engine.seeds import stream
from ddspec.engine.stack import Stack, train_epoch_together
from ddspec.engine.store import Provenance, Store
from ddspec.engine.trajectories import expert_end

MOMENTUM = 0.9
MTT_WEIGHT_DECAY, MTT_DROP = 5e-4, 0.1
AST_WEIGHT_DECAY, AST_DROP, AST_LATE_MOMENTUM, AST_TESTED_EVERY = 1e-3, 0.5, 0.8, 20


@dataclass(frozen=True)
class TrainingSet:
    """A small set to train on, and at which rate."""

    images: Tensor
    labels: Tensor
    """Classes (n,), or probabilities (n, classes)."""
    student_lr: float


def evaluate(
    step: EvaluateStep,
    sets: dict[int, str],
    source: ExpertsStep | TrajectoryStep,
    bench: Bench,
) -> None:
    """Make every evaluation of the step that has too few networks so far.

    `sets` names the synthetic sets that are there, by iteration. A network is a function of the
    settings, the set and its number alone: more repeats train only the further ones.
    """
    store, net = bench.store, flat_network(step.network, bench.facts)
    repeats = step.evaluation.repeats
    is_there = [m for m in step.members if step.subject != "distilled" or m.number in sets]
    total, done = len(is_there) * repeats, 0
    for member in is_there:
        trained = list(networks_of(store, member.digest))
        made = store.provenance("evaluation", member.digest) if trained else Provenance()
        saved, rate = len(trained), 0.0
        try:
            while len(trained) < repeats:
                began = time.monotonic()
                group = together(len(trained), repeats, step.route.networks)
                training = [
                    training_set(step, member.number, repeat, sets, source, bench)
                    for repeat in group
                ]
                found = train_and_test(step, member.number, group, training, net, bench)
                trained += found
                rate = training[0].student_lr
                made = made.then(step.route, time.monotonic() - began)
                accuracy = found[-1].accuracy
                bench.control.report(
                    Progress(step.id, done + len(trained), total, {"accuracy": accuracy})
                )
        finally:
            # Also where a signal or a fault ends the loop: networks that are done stay done.
            if len(trained) > saved:
                save(step, member.number, trained, rate, made, store)
        bench.control.saved()
        done += repeats


def together(first: int, end: int, at_once: int) -> range:
    """The networks that are trained next, all of them in one block of so many."""
    return range(first, min(end, (first // at_once + 1) * at_once))


def save(
    step: EvaluateStep,
    number: int,
    trained: Sequence[TrainedNetwork],
    rate: float,
    made: Provenance,
    store: Store,
) -> None:
    """Write the accuracies of one set."""
    arrays = {
        "values": np.array([network.accuracy for network in trained]),
        "finite": np.array([network.finite for network in trained]),
    }
    held_out = [network.validation for network in trained if network.validation is not None]
    if held_out:
        arrays["validation"] = np.array(held_out)
    store.put(
        "evaluation",
        member_preimage(step.preimage, number),
        arrays,
        made,
        {"student_lr": rate},
    )


def training_set(
    step: EvaluateStep,
    number: int,
    repeat: int,
    sets: dict[int, str],
    source: ExpertsStep | TrajectoryStep,
    bench: Bench,
) -> TrainingSet:
    """A synthetic set, or random real images at the rate that distillation begins with.

    Both baselines draw the same images. Expert labels are the softmax of expert 0's last epoch at
    temperature 1, on the images without augmentation.
    """
    rate = step.synthetic.student_lr.init
    match step.subject:
        case "distilled":
            with bench.store.open("synthetic", sets[number]) as file:
                return TrainingSet(
                    torch.from_numpy(file["images"][()]).to(bench.device),
                    torch.from_numpy(file["labels"][()]).to(bench.device),
                    float(file["student_lr"][()]),
                )
        case "random_real":
            images, labels = drawn_real(step, repeat, bench)
            return TrainingSet(images, labels, rate)
        case "random_real_expert_labels":
            images, _ = drawn_real(step, repeat, bench)
            expert = flat_network(source.recipe.network, bench.facts)
            logits = in_batches(expert, expert_end(source, 0, bench), images)
            return TrainingSet(images, logits.softmax(1), rate)
        case "full_data":
            full = step.evaluation.full_data
            assert full is not None  # without it there is no such step
            return TrainingSet(bench.data.train_images, bench.data.train_labels, full.lr)
        case _:
            assert_never(step.subject)


def drawn_real(step: EvaluateStep, repeat: int, bench: Bench) -> tuple[Tensor, Tensor]:
    """Random real images of each class with their classes, another draw for each network."""
    ipc = step.synthetic.ipc
    images = random_real(bench, ipc, stream(step.seed, "random real", repeat))
    return images, hard_labels(bench.facts.classes, ipc).to(bench.device)


def train_and_test(
    step: EvaluateStep,
    number: int,
    repeats: Sequence[int],
    training: Sequence[TrainingSet],
    net: FlatNetwork,
    bench: Bench,
) -> list[TrainedNetwork]:
    """How fresh networks do, one per repeat, each on its own set."""
    # A stack is always full: its size, though not who is in it, may change the last bits.
    form, size = step.network, step.route.networks
    stack = Stack(net, form) if size > 1 and isinstance(form, ConvNet) else None
    spare = size - len(repeats) if stack else 0
    training = [*training, *[training[0]] * spare]
    filled = [*repeats, *[repeats[0]] * spare]
    places = [("evaluate", step.subject, number, repeat) for repeat in filled]
    thetas = [
        initial_parameters(step.network, bench.facts, step.seed, *place, "initialisation")
        for place in places
    ]
    generators = [stream(step.seed, *place, "training") for place in places]
    match step.evaluation.protocol:
        case "mtt":
            recipe = mtt_recipe
        case "ast":
            recipe = ast_recipe
        case _:
            assert_never(step.evaluation.protocol)
    data, trainee = bench.data, net.in_training(bench.device)

    def tests(theta: Tensor) -> Scored:
        accuracy = test(trainee.tested, theta, data.test_images, data.test_labels)
        if not len(data.validation_labels):
            return Scored(accuracy, None)
        held_out = test(trainee.tested, theta, data.validation_images, data.validation_labels)
        return Scored(accuracy, held_out)

    epochs = recipe(step.evaluation.epochs, training[0].student_lr)
    evaluation, families = step.evaluation, step.augmentation.families
    if stack is not None:
        ends = train_together(
            epochs,
            torch.stack(thetas).to(bench.device),
            training,
            stack,
            evaluation.batch_size,
            families,
            generators,
            tests,
            bench.control.leave_if_stopped,
        )
    else:
        ends = [
            train(
                epochs,
                thetas[0].to(bench.device),
                training[0],
                trainee.learning,
                evaluation.batch_size,
                families,
                generators[0],
                tests,
                bench.control.leave_if_stopped,
            )
        ]
    return [
        TrainedNetwork(best.accuracy, bool(theta.isfinite().all()), best.validation)
        for theta, best in ends[: len(repeats)]
    ]


@dataclass(frozen=True)
class Scored:
    """Accuracies in percent at one moment of training."""

    accuracy: float
    """On the test set."""
    validation: float | None
    """On the images that are held out, where there are any."""


@dataclass(frozen=True)
class RecipeEpoch:
    """What a protocol does in one epoch."""

    optimiser: Descent
    begins_anew: bool = False
    """Whether the optimiser forgets its memory before it."""
    tested: bool = False
    """Whether the network is tested after it."""


def mtt_recipe(epochs: int, lr: float) -> Iterator[RecipeEpoch]:
    """MTT's protocol: a tenth of the rate in the second half, one test at the end."""
    full_rate = (epochs - 1) // 2 + 2
    for epoch in range(epochs):
        rate = lr * (1.0 if epoch < full_rate else MTT_DROP)
        optimiser = Descent(rate, MOMENTUM, MTT_WEIGHT_DECAY)
        yield RecipeEpoch(optimiser, begins_anew=epoch == full_rate, tested=epoch == epochs - 1)


def ast_recipe(epochs: int, lr: float) -> Iterator[RecipeEpoch]:
    """The protocol of AST's public code: half the rate and momentum 0.8 in the second half.

    It tests every 20 epochs and at the end, and takes the best of these tests.
    """
    for epoch in range(epochs):
        first = epoch < epochs // 2
        rate, momentum = (lr, MOMENTUM) if first else (AST_DROP * lr, AST_LATE_MOMENTUM)
        tested = (epoch + 1) % AST_TESTED_EVERY == 0 or epoch == epochs - 1
        yield RecipeEpoch(Descent(rate, momentum, AST_WEIGHT_DECAY), tested=tested)


def train(
    recipe: Iterable[RecipeEpoch],
    theta: Tensor,
    training: TrainingSet,
    forward: Forward,
    batch_size: int,
    families: tuple[AugmentationFamily, ...],
    generator: torch.Generator,
    tests: Callable[[Tensor], Scored],
    before_batch: Callable[[], None],
) -> tuple[Tensor, Scored]:
    """A network trained by a protocol, and the best of its tests."""
    at, found = Iterate.at_rest(theta), []
    for epoch in recipe:
        if epoch.begins_anew:
            at = Iterate.at_rest(at.value)
        at = train_epoch(
            cross_entropy_slope(forward),
            at,
            training.images,
            training.labels,
            batch_size,
            epoch.optimiser,
            families,
            generator,
            before_batch,
        ).end
        if epoch.tested:
            found.append(tests(at.value))
    return at.value, max(found, key=lambda tested: tested.accuracy)


def train_together(
    recipe: Iterable[RecipeEpoch],
    thetas: Tensor,
    training: Sequence[TrainingSet],
    stack: Stack,
    batch_size: int,
    families: tuple[AugmentationFamily, ...],
    generators: Sequence[torch.Generator],
    tests: Callable[[Tensor], Scored],
    before_epoch: Callable[[], None],
) -> list[tuple[Tensor, Scored]]:
    """Networks trained by a protocol side by side, each with the best of its tests."""
    at = Iterate.at_rest(thetas)
    found: list[list[Scored]] = [[] for _ in training]
    for epoch in recipe:
        before_epoch()
        if epoch.begins_anew:
            at = Iterate.at_rest(at.value)
        at = train_epoch_together(
            stack,
            at,
            [own.images for own in training],
            [own.labels for own in training],
            batch_size,
            epoch.optimiser,
            families,
            generators,
        )
        if epoch.tested:
            for tested, theta in zip(found, at.value, strict=True):
                tested.append(tests(theta))
    best = [max(tested, key=lambda scored: scored.accuracy) for tested in found]
    return list(zip(at.value, best, strict=True))
