"""Fresh networks trained on synthetic sets, or on real images, and tested on real data."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from ddspec.dsl.plan.steps import EvaluateStep, ExpertsStep, Member, TrajectoryStep, member_preimage
from ddspec.dsl.spec.experiment import ConvNet
from ddspec.engine.control import Control, Progress
from ddspec.engine.machine.processes import side_by_side
from ddspec.engine.networks.flat_network import FlatNetwork, initial_parameters
from ddspec.engine.networks.stacked import StackedNetworks
from ddspec.engine.numerics.seeds import random_stream
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.initialise import hard_labels, random_real
from ddspec.engine.stages.windows import final_parameters
from ddspec.engine.store.artifacts import TrainedNetwork, networks_of
from ddspec.engine.store.store import Provenance, Store
from ddspec.engine.training.epoch import (
    cross_entropy_gradient,
    forward_in_batches,
    measure_accuracy,
    recorded_gradient,
)
from ddspec.engine.training.evaluation_protocols import (
    MeasuredAccuracy,
    TrainingSet,
    ast_protocol,
    mtt_protocol,
    train_network,
    train_stack,
)
from ddspec.engine.training.stacked_epoch import stacked_gradient_fn


def evaluate(
    step: EvaluateStep,
    sets: dict[int, str],
    source: ExpertsStep | TrajectoryStep,
    context: StageContext,
) -> None:
    """Make every evaluation of the step that has too few networks so far.

    `sets` names the synthetic sets that are there, by iteration. A network is a function of the
    settings, the set and its number alone: more repeats train only the further ones.
    """
    repeats, net = step.evaluation.repeats, context.network(step.network)
    is_there = [m for m in step.members if step.subject != "distilled" or m.number in sets]
    tested = [EvaluatedSet.so_far(member, context.store) for member in is_there]
    todo = [
        NetworkGroup(one, repeat)
        for one in tested
        for repeat in network_groups(len(one.networks), repeats, step.route.networks)
    ]
    total = len(tested) * repeats
    done = total - sum(len(group.repeats) for group in todo)

    def train_group(group: NetworkGroup, control: Control) -> TrainedGroup:
        began, own = time.monotonic(), replace(context, control=control)
        number = group.tested.member.number
        training = [
            training_set(step, number, repeat, sets, source, own) for repeat in group.repeats
        ]
        found = train_and_test(step, number, group.repeats, training, net, own)
        figures = {"accuracy": found[-1].accuracy}
        control.report(Progress(step.id, len(found), len(found), figures))
        return TrainedGroup(found, training[0].student_lr, time.monotonic() - began)

    results = side_by_side(train_group, todo, step.processes, context.control, done, total)
    try:
        with closing(results):
            for group, trained in zip(todo, results, strict=True):
                one = group.tested
                one.networks += trained.networks
                one.rate = trained.rate
                one.made = one.made.then(step.route, trained.seconds)
                if len(one.networks) == repeats:
                    save_evaluation(step, one, context.store)
                    context.control.saved()
    finally:
        # Also where a signal or a fault ends the loop: networks that are done stay done.
        for one in tested:
            if one.unsaved:
                save_evaluation(step, one, context.store)


@dataclass
class EvaluatedSet:
    """A set, and the networks that were trained on it and tested."""

    member: Member
    networks: list[TrainedNetwork]
    saved: int
    """Networks that the store holds."""
    made: Provenance
    rate: float = 0.0

    @classmethod
    def so_far(cls, member: Member, store: Store) -> "EvaluatedSet":
        """What the store holds."""
        networks = list(networks_of(store, member.digest))
        made = store.provenance("evaluation", member.digest) if networks else Provenance()
        return cls(member, networks, len(networks), made)

    @property
    def unsaved(self) -> bool:
        """Whether there are networks that the store does not hold."""
        return len(self.networks) > self.saved


@dataclass(frozen=True)
class NetworkGroup:
    """Networks of one set that are trained at once."""

    tested: EvaluatedSet
    repeats: range


@dataclass(frozen=True)
class TrainedGroup:
    """Networks, at which rate they were trained, and how long it took."""

    networks: list[TrainedNetwork]
    rate: float
    seconds: float


def network_groups(first: int, end: int, at_once: int) -> Iterator[range]:
    """The networks from `first` on, in blocks of so many, the blocks counted from zero."""
    while first < end:
        stop = min(end, (first // at_once + 1) * at_once)
        yield range(first, stop)
        first = stop


def save_evaluation(step: EvaluateStep, tested: EvaluatedSet, store: Store) -> None:
    """Write the accuracies of one set."""
    trained = tested.networks
    arrays = {
        "values": np.array([network.accuracy for network in trained]),
        "finite": np.array([network.finite for network in trained]),
    }
    held_out = [network.validation for network in trained if network.validation is not None]
    if held_out:
        arrays["validation"] = np.array(held_out)
    store.put(
        "evaluation",
        member_preimage(step.preimage, tested.member.number),
        arrays,
        tested.made,
        {"student_lr": tested.rate},
    )
    tested.saved = len(trained)


def training_set(
    step: EvaluateStep,
    number: int,
    repeat: int,
    sets: dict[int, str],
    source: ExpertsStep | TrajectoryStep,
    context: StageContext,
) -> TrainingSet:
    """A synthetic set, or random real images at the rate that distillation begins with.

    Both baselines draw the same images. Expert labels are the softmax of expert 0's last epoch at
    temperature 1, on the images without augmentation.
    """
    rate = step.synthetic.student_lr.init
    match step.subject:
        case "distilled":
            with context.store.open("synthetic", sets[number]) as file:
                return TrainingSet(
                    torch.from_numpy(file["images"][()]).to(context.device),
                    torch.from_numpy(file["labels"][()]).to(context.device),
                    float(file["student_lr"][()]),
                )
        case "random_real":
            images, labels = random_real_set(step, repeat, context)
            return TrainingSet(images, labels, rate)
        case "random_real_expert_labels":
            images, _ = random_real_set(step, repeat, context)
            expert = context.network(source.recipe.network)
            logits = forward_in_batches(expert, final_parameters(source, 0, context), images)
            return TrainingSet(images, logits.softmax(1), rate)
        case "full_data":
            full = step.evaluation.full_data
            assert full is not None  # without it there is no such step
            return TrainingSet(context.data.train_images, context.data.train_labels, full.lr)
        case _:
            assert_never(step.subject)


def random_real_set(
    step: EvaluateStep, repeat: int, context: StageContext
) -> tuple[Tensor, Tensor]:
    """Random real images of each class with their classes, another draw for each network."""
    ipc = step.synthetic.ipc
    images = random_real(context, ipc, random_stream(step.seed, "random real", repeat))
    return images, hard_labels(context.facts.classes, ipc).to(context.device)


def train_and_test(
    step: EvaluateStep,
    number: int,
    repeats: Sequence[int],
    training: Sequence[TrainingSet],
    net: FlatNetwork,
    context: StageContext,
) -> list[TrainedNetwork]:
    """How fresh networks do, one per repeat, each on its own set."""
    # A stack is always full: its size, though not who is in it, may change the last bits.
    form, size = step.network, step.route.networks
    stack = StackedNetworks(net, form) if size > 1 and isinstance(form, ConvNet) else None
    spare = size - len(repeats) if stack else 0
    training = [*training, *[training[0]] * spare]
    filled = [*repeats, *[repeats[0]] * spare]
    places = [("evaluate", step.subject, number, repeat) for repeat in filled]
    thetas = [
        initial_parameters(step.network, context.facts, step.seed, *place, "initialisation")
        for place in places
    ]
    generators = [random_stream(step.seed, *place, "training") for place in places]
    match step.evaluation.protocol:
        case "mtt":
            recipe = mtt_protocol
        case "ast":
            recipe = ast_protocol
        case _:
            assert_never(step.evaluation.protocol)
    data, trainee = context.data, net.in_training(context.device)

    def tests(theta: Tensor) -> MeasuredAccuracy:
        accuracy = measure_accuracy(trainee.tested, theta, data.test_images, data.test_labels)
        if not len(data.validation_labels):
            return MeasuredAccuracy(accuracy, None)
        held_out = measure_accuracy(
            trainee.tested, theta, data.validation_images, data.validation_labels
        )
        return MeasuredAccuracy(accuracy, held_out)

    epochs = recipe(step.evaluation.epochs, training[0].student_lr)
    evaluation, families = step.evaluation, step.augmentation.families
    if stack is not None:
        ends = train_stack(
            epochs,
            torch.stack(thetas).to(context.device),
            training,
            stacked_gradient_fn(stack, step.route.recorded),
            evaluation.batch_size,
            families,
            generators,
            tests,
            context.control.leave_if_stopped,
        )
    else:
        ends = [
            train_network(
                epochs,
                thetas[0].to(context.device),
                training[0],
                # Running statistics are a memory, which a recording must not have.
                recorded_gradient(
                    cross_entropy_gradient(trainee.learning),
                    step.route.recorded and not net.statistics,
                ),
                evaluation.batch_size,
                families,
                generators[0],
                tests,
                context.control.leave_if_stopped,
            )
        ]
    return [
        TrainedNetwork(best.accuracy, bool(theta.isfinite().all()), best.validation)
        for theta, best in ends[: len(repeats)]
    ]
