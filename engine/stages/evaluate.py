"""Evaluation: fresh networks trained on synthetic sets or real images, tested on real data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from ddspec.dsl.plan.steps import EvaluateStep, ExpertsStep, Member, TrajectoryStep, member_preimage
from ddspec.dsl.spec.network import ConvNet
from ddspec.engine.control import Control, Progress
from ddspec.engine.machine.processes import run_in_processes
from ddspec.engine.machine.stopwatch import Stopwatch
from ddspec.engine.networks.flat_network import FlatNetwork, Trainee, initial_parameters
from ddspec.engine.networks.stacked import StackedNetworks
from ddspec.engine.numerics.seeds import random_stream
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.initialise import hard_labels, random_real
from ddspec.engine.stages.windows import final_parameters
from ddspec.engine.store.artifacts import TrainedNetwork, trained_networks
from ddspec.engine.store.provenance import Provenance, Work
from ddspec.engine.store.store import Store
from ddspec.engine.training.epoch import (
    cross_entropy_gradient,
    forward_in_batches,
    measure_accuracy,
    recorded_gradient,
)
from ddspec.engine.training.evaluation_protocols import (
    MeasuredAccuracy,
    NetworkTraining,
    ProtocolEpoch,
    TrainingSet,
    ast_protocol,
    mtt_protocol,
    train_network,
    train_stack,
)
from ddspec.engine.training.stacked_epoch import stacked_gradient_fn


@dataclass
class EvaluatedSet:
    """One set with the networks that were trained on it and tested so far."""

    member: Member
    networks: list[TrainedNetwork]
    saved: int
    """Networks that the store holds."""
    made: Provenance
    student_lr: float = 0.0

    @classmethod
    def from_store(cls, member: Member, store: Store) -> "EvaluatedSet":
        """Return the set with the networks in the store."""
        networks = list(trained_networks(store, member.digest))
        made = store.provenance("evaluation", member.digest) if networks else Provenance()
        return cls(member, networks, len(networks), made)

    @property
    def unsaved(self) -> bool:
        """Return whether there are networks that the store does not hold."""
        return len(self.networks) > self.saved


@dataclass(frozen=True)
class NetworkGroup:
    """Networks of one set that are trained at once, by their numbers."""

    evaluated: EvaluatedSet
    repeats: range

    @property
    def iteration(self) -> int:
        """Return the iteration of the synthetic set; 0 for real images."""
        return self.evaluated.member.number


@dataclass(frozen=True)
class TrainedGroup:
    """The networks of a group after training, their learning rate, and the work that it took."""

    networks: list[TrainedNetwork]
    student_lr: float
    work: Work


@dataclass(frozen=True)
class EvaluationInputs:
    """Everything that the networks of a step are trained from."""

    step: EvaluateStep
    sets: Mapping[int, str]
    """Digests of the synthetic sets that exist, by iteration."""
    experts: ExpertsStep | TrajectoryStep | None
    """The step of the experts, if the plan has one."""
    net: FlatNetwork


def evaluate(
    step: EvaluateStep,
    sets: Mapping[int, str],
    experts: ExpertsStep | TrajectoryStep | None,
    context: StageContext,
) -> None:
    """Complete every evaluation of the step that has too few networks so far.

    `sets` maps the iterations of existing synthetic sets to their digests. A network is a
    function of the settings, the set and its number alone, so more repeats train only more
    networks.
    """
    repeats = step.evaluation.repeats
    inputs = EvaluationInputs(step, sets, experts, context.network(step.network))
    members = [m for m in step.members if step.subject != "distilled" or m.number in sets]
    evaluated_sets = [EvaluatedSet.from_store(member, context.store) for member in members]
    todo = [
        NetworkGroup(evaluated, numbers)
        for evaluated in evaluated_sets
        for numbers in network_groups(len(evaluated.networks), repeats, step.route.networks)
    ]
    total = len(evaluated_sets) * repeats
    done = total - sum(len(group.repeats) for group in todo)

    def train_group(group: NetworkGroup, control: Control) -> TrainedGroup:
        stopwatch, local = Stopwatch(step.route), replace(context, control=control)
        training = [training_set(inputs, group.iteration, r, local) for r in group.repeats]
        networks = train_and_test(inputs, group, training, local)
        figures = {"accuracy": networks[-1].accuracy}
        control.report(Progress(step.id, len(networks), len(networks), figures))
        return TrainedGroup(networks, training[0].student_lr, stopwatch.work())

    results = run_in_processes(train_group, todo, step.processes, context.control, done, total)
    try:
        with closing(results):
            for group, trained in zip(todo, results, strict=True):
                add_networks(group.evaluated, trained)
                if len(group.evaluated.networks) == repeats:
                    save_evaluation(step, group.evaluated, context.store)
                    context.control.saved()
    finally:
        # Networks that are done are saved even if a signal or a fault ends the loop.
        for evaluated in evaluated_sets:
            if evaluated.unsaved:
                save_evaluation(step, evaluated, context.store)


def add_networks(evaluated: EvaluatedSet, trained: TrainedGroup) -> None:
    """Add the networks of a group to their set."""
    evaluated.networks += trained.networks
    evaluated.student_lr = trained.student_lr
    evaluated.made = evaluated.made.then(trained.work)


def network_groups(first: int, end: int, at_once: int) -> Iterator[range]:
    """Yield the numbers from `first` to `end` in blocks of `at_once`, aligned to zero.

    Aligned blocks make the members of a stack the same whether or not a run was interrupted.
    """
    while first < end:
        stop = min(end, (first // at_once + 1) * at_once)
        yield range(first, stop)
        first = stop


def save_evaluation(step: EvaluateStep, evaluated: EvaluatedSet, store: Store) -> None:
    """Write the accuracies of one set."""
    networks = evaluated.networks
    arrays = {
        "values": np.array([network.accuracy for network in networks]),
        "finite": np.array([network.finite for network in networks]),
    }
    held_out = [network.validation for network in networks if network.validation is not None]
    if held_out:
        arrays["validation"] = np.array(held_out)
    store.put(
        "evaluation",
        member_preimage(step.preimage, evaluated.member.number),
        arrays,
        evaluated.made,
        {"student_lr": evaluated.student_lr},
    )
    evaluated.saved = len(networks)


def training_set(
    inputs: EvaluationInputs, iteration: int, repeat: int, context: StageContext
) -> TrainingSet:
    """Return a synthetic set, or real images at the student_lr that distillation begins with.

    Both baselines draw the same images. Expert labels are the softmax of expert 0's last epoch
    at temperature 1, on the images without augmentation.
    """
    step, device = inputs.step, context.device
    student_lr = step.synthetic.student_lr.init
    match step.subject:
        case "distilled":
            # The learned student_lr belongs to the set: networks are trained with it (MTT).
            with context.store.open("synthetic", inputs.sets[iteration]) as file:
                return TrainingSet(
                    torch.from_numpy(file["images"][()]).to(device),
                    torch.from_numpy(file["labels"][()]).to(device),
                    float(file["student_lr"][()]),
                )
        case "random_real":
            images, labels = random_real_set(step, repeat, context)
            return TrainingSet(images, labels, student_lr)
        case "random_real_expert_labels":
            assert inputs.experts is not None  # planned with every baseline that reads them
            images, _ = random_real_set(step, repeat, context)
            expert = context.network(inputs.experts.recipe.network)
            end = final_parameters(inputs.experts, 0, context)
            logits = forward_in_batches(expert, end, images)
            return TrainingSet(images, logits.softmax(1), student_lr)
        case "full_data":
            full = step.evaluation.full_data
            assert full is not None  # the compiler makes such a step only if it is asked for
            return TrainingSet(context.data.train_images, context.data.train_labels, full.lr)
        case _:
            assert_never(step.subject)


def random_real_set(
    step: EvaluateStep, repeat: int, context: StageContext
) -> tuple[Tensor, Tensor]:
    """Return random real images of each class with their classes; each repeat draws anew."""
    ipc = step.synthetic.ipc
    images = random_real(context, ipc, random_stream(step.seed, "random real", repeat))
    return images, hard_labels(context.facts.classes, ipc).to(context.device)


def train_and_test(
    inputs: EvaluationInputs,
    group: NetworkGroup,
    data: Sequence[TrainingSet],
    context: StageContext,
) -> list[TrainedNetwork]:
    """Train and test fresh networks, one per repeat, each on its own set."""
    step, net, form = inputs.step, inputs.net, inputs.step.network
    size = step.route.networks if isinstance(form, ConvNet) else 1
    # A stack is always full: its size may change the last bits, its other members may not.
    spare = size - len(group.repeats) if size > 1 else 0
    repeats = [*group.repeats, *[group.repeats[0]] * spare]
    addresses = [("evaluate", step.subject, group.iteration, repeat) for repeat in repeats]
    thetas = [
        initial_parameters(form, context.facts, step.seed, *address, "initialisation")
        for address in addresses
    ]
    generators = [random_stream(step.seed, *address, "training") for address in addresses]
    trainee = net.in_training(context.device)
    training = NetworkTraining(
        # All sets of a group have the same learning rate.
        protocol_epochs(step, data[0].student_lr),
        step.evaluation.batch_size,
        step.augmentation.families,
        lambda theta: measure(trainee, theta, context),
        context.control.leave_if_stopped,
    )
    if size > 1 and isinstance(form, ConvNet):
        gradient_fn = stacked_gradient_fn(StackedNetworks(net, form), step.route.recorded)
        stacked = torch.stack(thetas).to(context.device)
        sets = [*data, *[data[0]] * spare]
        ends = train_stack(training, gradient_fn, stacked, sets, generators)
    else:
        # Running statistics are state between steps, which a recording must not have.
        recorded = step.route.recorded and not net.statistics
        gradient = recorded_gradient(cross_entropy_gradient(trainee.learning), recorded)
        theta = thetas[0].to(context.device)
        ends = [train_network(training, gradient, theta, data[0], generators[0])]
    return [
        TrainedNetwork(best.accuracy, bool(theta.isfinite().all()), best.validation)
        for theta, best in ends[: len(group.repeats)]
    ]


def protocol_epochs(step: EvaluateStep, lr: float) -> Iterator[ProtocolEpoch]:
    """Yield the epochs of the step's evaluation protocol."""
    match step.evaluation.protocol:
        case "mtt":
            return mtt_protocol(step.evaluation.epochs, lr)
        case "ast":
            return ast_protocol(step.evaluation.epochs, lr)
        case _:
            assert_never(step.evaluation.protocol)


def measure(trainee: Trainee, theta: Tensor, context: StageContext) -> MeasuredAccuracy:
    """Test a network on the test set, and on the held-out images if there are any."""
    data = context.data
    accuracy = measure_accuracy(trainee.tested, theta, data.test_images, data.test_labels)
    if not len(data.validation_labels):
        return MeasuredAccuracy(accuracy, None)
    images, labels = data.validation_images, data.validation_labels
    return MeasuredAccuracy(accuracy, measure_accuracy(trainee.tested, theta, images, labels))
